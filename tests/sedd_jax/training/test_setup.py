import pytest

from sedd_jax.errors import UserError
from sedd_jax.training.setup import prepare, sole_trainer
from tests.sedd_jax.toy import NUM_CODES, toy_config, write_dataset


def test_two_trainings_in_one_directory_are_refused(tmp_path):
    with sole_trainer(tmp_path):
        with pytest.raises(UserError, match="another process is training there"):
            with sole_trainer(tmp_path, patience_s=0.3):
                raise AssertionError("both were let in")
    with sole_trainer(tmp_path):  # the first is done
        pass


def test_a_model_is_not_trained_on_codes_that_it_does_not_know(tmp_path):
    config = toy_config(
        data__path=str(write_dataset(tmp_path / "tokens")), graph__num_codes=NUM_CODES - 1
    )
    with pytest.raises(UserError, match="config.graph.num_codes is 31, .*tokens has 32 codes"):
        prepare(config, tmp_path / "run")
    config.graph.num_codes = NUM_CODES
    assert prepare(config, tmp_path / "run").run.graph.num_codes == NUM_CODES
