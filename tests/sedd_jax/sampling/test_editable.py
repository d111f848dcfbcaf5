import numpy as np
import pytest

from sedd_jax.errors import UserError
from sedd_jax.sampling.editable import Editable


class Painter(Editable):
    """Draws its seed's last digit everywhere."""

    codec = {"codebook_size": 32, "sample_rate": 24000, "hop_length": 2400}  # 10 codes/s

    def __init__(self):
        self.asked = []

    def sample(self, num_samples, *, known, is_known, seed=0, **sampling):
        self.asked.append(sampling)
        assert is_known.shape == (num_samples, len(known))
        return np.where(is_known, known, 20 + seed % 10).astype(np.uint16)


SONG = np.arange(20)


def test_seconds_are_those_of_the_codec():
    rows = Painter().continue_(SONG, 0.5, 2, seed=3)
    assert rows.dtype == np.uint16
    np.testing.assert_array_equal(rows, [[*SONG, *[23] * 5]] * 2)
    rows = Painter().replace(SONG, [(1.0, 1.3), (0.1, 0.2)], seed=3)
    np.testing.assert_array_equal(np.flatnonzero(rows[0] != SONG), [1, 10, 11, 12])
    rows = Painter().keep_every(SONG, 4)
    np.testing.assert_array_equal(rows[0, ::4], SONG[::4])
    rows = Painter().vary(SONG, 0.5, 2, seed=1)
    assert ((rows == SONG).mean(axis=1) > 0.2).all() and (rows[0] != rows[1]).any()
    assert set(rows[rows != np.tile(SONG, (2, 1))]) == {21}


def test_sampling_arguments_are_passed_on():
    painter = Painter()
    painter.vary(SONG, 0.5, 3, steps=7, tags=("genre---jig",))
    assert painter.asked == [{"steps": 7, "tags": ("genre---jig",)}]


@pytest.mark.parametrize("song", [[], [[1, 2]], [0.5, 1.0], [32], [-1]])
def test_what_is_no_song_is_refused(song):
    with pytest.raises(UserError, match="song"):
        Painter().continue_(np.asarray(song), 1.0)
