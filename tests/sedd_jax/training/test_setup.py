import pytest

from sedd_jax.errors import UserError
from sedd_jax.training.setup import sole_trainer


def test_two_trainings_in_one_directory_are_refused(tmp_path):
    with sole_trainer(tmp_path):
        with pytest.raises(UserError, match="another process is training there"):
            with sole_trainer(tmp_path, patience_s=0.3):
                raise AssertionError("both were let in")
    with sole_trainer(tmp_path):  # the first is done
        pass
