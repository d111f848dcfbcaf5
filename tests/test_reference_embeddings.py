"""Our embeddings are those of the published programs, and the check notices when they are not."""

from pathlib import Path

import numpy as np
import pytest

from tests import reference_check, reference_embeddings
from tests.reference_rows import Reference

DATA = Path(__file__).parent / "reference"
FILES = {
    "vggish": ["log_mel", "vectors", "quantised"],
    "cnn14_16k": ["log_mel", "vectors"],
    "cnn14_32k": ["log_mel", "vectors"],
    "musicnn": ["log_mel", "vectors", "tags"],
}


def disturbed(array: np.ndarray) -> np.ndarray:
    """Off by a ten-thousandth of its largest entry, or by 2 in one place of integers."""
    if array.dtype.kind == "f":
        return array + np.float32(3e-4) * np.abs(array).max()
    changed = array.copy()
    changed.flat[0] ^= 2
    return changed


@pytest.mark.parametrize("name", FILES)
def test_every_quantity_holds_and_can_fail(name, tmp_path, capsys):
    path = DATA / f"{name}.npz"
    assert reference_check.main([str(path)]) == 0, capsys.readouterr().out
    num_rows = len(capsys.readouterr().out.splitlines()) - 1
    with np.load(path) as file:
        arrays = dict(file)
    assert set(FILES[name]) <= set(arrays)
    for key in FILES[name]:
        np.savez(tmp_path / "x.npz", **(arrays | {key: disturbed(arrays[key])}))
        assert reference_check.main([str(tmp_path / "x.npz")]) == 1
        out = capsys.readouterr().out
        failed = [line.split()[0] for line in out.splitlines() if "FAILED" in line]
        assert set(failed) == {key} and len(out.splitlines()) == num_rows + 1


@pytest.mark.parametrize("name", FILES)
def test_the_figures_are_not_degenerate(name):
    """Vectors that were all zero, or the same whatever is heard, would hold for any network."""
    reference = Reference(DATA / f"{name}.npz")
    vectors_WxD, audio_T = reference["vectors"], reference["audio"]
    assert 0.3 < (vectors_WxD != 0).mean() and vectors_WxD.std() > 0.1
    if len(vectors_WxD) > 1:
        assert np.linalg.norm(vectors_WxD[0] - vectors_WxD[1]) > 0.1 * np.linalg.norm(vectors_WxD)
    assert np.abs(audio_T).max() > 16_000 and (audio_T == 0).mean() > 0.04


def test_weights_of_batch_normalisation_are_those_of_one():
    variance_C = reference_embeddings.weight("bn1.running_var", (500,), "x")
    assert variance_C.min() >= 1 and variance_C.dtype == np.float32
    mean_C = reference_embeddings.weight("bn1.running_mean", (500,), "x")
    assert 0.05 < mean_C.std() < 0.2
    matrix = reference_embeddings.weight("conv1.weight", (20, 30, 3, 3), "x")
    assert matrix.std() == pytest.approx(np.sqrt(2 / 270), rel=0.05)


def test_a_file_of_another_kind(tmp_path, capsys):
    np.savez(tmp_path / "x.npz", embedding="vggish")
    assert reference_check.main([str(tmp_path / "x.npz")]) == 1
    assert "lacks program, audio, log_mel, vectors" in capsys.readouterr().err
