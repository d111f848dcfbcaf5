"""The reference figures hold, and the check notices when they do not."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import torch

from sedd_jax.diffusion.graph import Absorbing, Uniform
from tests import published_rounding, reference_check, reference_wavtokenizer
from tests.reference_rows import Row, of_largest, of_rows_largest, relative, relative_l2

DATA = Path(__file__).parent / "reference"
ABSORB, UNIFORM = DATA / "sedd_absorb_loglinear.npz", DATA / "sedd_uniform_geometric.npz"
CODEC = DATA / "wavtokenizer_75.npz"
FORWARD = (DATA / "aidd.npz", DATA / "sedd_exported.npz")
RESULTS = (
    "noise/sigma", "noise/dsigma", "forward/sigma", "forward/dsigma", "forward/log_score",
    "loss/score_entropy", "loss/loss", "step/euler", "step/analytic", "step/denoise", "train/loss",
    "train/grad_norm", "train/weights/", "train/ema/", "encoder_output", "codes", "audio_out",
    "random_audio_out",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory):
    """Keeps compiled programs: a disturbed copy runs those of its original."""
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("compiled")))
    yield
    jax.config.update("jax_compilation_cache_dir", None)


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)


def disturb(array: np.ndarray) -> np.ndarray:
    """Off by 1% of the largest entry; codes, of which every fortieth is another."""
    if array.dtype.kind == "f":
        return array + np.float32(0.01) * np.abs(array).max()
    return np.where(np.arange(len(array)) % 40 == 0, (array + 1) % 4096, array)


@pytest.mark.parametrize("path", [ABSORB, UNIFORM, CODEC, *FORWARD], ids=lambda path: path.stem)
def test_the_reference_figures_hold(path, capsys):
    assert reference_check.main([str(path)]) == 0, capsys.readouterr().out
    assert "FAILED" not in capsys.readouterr().out


@pytest.mark.parametrize("path", [UNIFORM, CODEC], ids=lambda path: path.stem)
def test_every_quantity_can_fail(path, tmp_path, capsys):
    arrays = arrays_of(path)
    arrays |= {k: disturb(array) for k, array in arrays.items() if k.startswith(RESULTS)}
    np.savez(tmp_path / "x.npz", **arrays)
    assert reference_check.main([str(tmp_path / "x.npz")]) == 1
    lines = capsys.readouterr().out.splitlines()[1:]
    assert len(lines) >= 5
    assert [line for line in lines if "FAILED" not in line] == []


@pytest.mark.parametrize("path", FORWARD, ids=lambda path: path.stem)
def test_another_forward_pass_fails(path, tmp_path, capsys):
    arrays = arrays_of(path)
    for name, other in (
        ("forward/log_score", arrays["forward/log_score"] + np.float32(2e-4)),
        ("salt", np.array("another:")),
        ("forward/sigma", 1.01 * arrays["forward/sigma"]),
    ):
        np.savez(tmp_path / "x.npz", **(arrays | {name: other}))
        assert reference_check.main([str(tmp_path / "x.npz")]) == 1
        assert "FAILED" in capsys.readouterr().out


def test_our_names_and_shapes_are_the_published_ones(tmp_path):
    """But for the unused decoder, exactly; any other difference is counted."""
    reference = reference_check.Reference(CODEC)
    codec = reference_wavtokenizer.build(reference)
    published = DATA / "wavtokenizer_75_state_dict.json"
    assert reference_wavtokenizer.mismatched_names(codec, published) == []
    shapes = json.loads(published.read_text())
    shapes["backbone.extra"] = [1]
    shapes["head.out.bias"] = [1281]
    del shapes["backbone.norm.scale.weight"]
    (tmp_path / "x.json").write_text(json.dumps(shapes))
    assert reference_wavtokenizer.mismatched_names(codec, tmp_path / "x.json") == [
        "backbone.extra", "backbone.norm.scale.weight", "head.out.bias",
    ]  # fmt: skip


def test_measures():
    theirs = np.array([[1.0, -4.0], [0.0, 2.0]], np.float32)
    ours = theirs + np.array([[0.0, 0.4], [0.0, 0.1]])
    assert relative(ours, theirs) == pytest.approx(0.1)
    assert of_largest(ours, theirs) == pytest.approx(0.1)
    assert of_rows_largest(ours[1:], theirs[1:]) == pytest.approx(0.05)
    assert relative_l2(ours, theirs) == pytest.approx(np.sqrt(0.17 / 21))
    assert relative(theirs, theirs) == 0
    assert relative(theirs + np.array([[0, 0], [1e-9, 0]]), theirs) == np.inf
    for error, ok in [(0.9, True), (1.0, True), (1.1, False), (np.inf, False), (np.nan, False)]:
        assert Row("x", error, bound=1.0).ok == ok
    assert not Row("x", relative_l2(theirs * np.nan, theirs), 1.0).ok


def resized_config() -> str:
    return json.dumps(reference_check.Reference(ABSORB).config | {"tokens": 41})


def test_the_rounding_taken_out_is_pytorchs():
    """Both formulas as fp32 tensors in PyTorch, against float64."""
    vocab, sigma_B = 200, np.geomspace(1e-3, 0.4, 60, dtype=np.float32)
    sigma = torch.from_numpy(sigma_B)
    exact = torch.from_numpy(sigma_B.astype(np.float64)).expm1()

    def constant(ratio):
        return (-ratio.log() - 1) / ratio / vocab

    rounded = (1 - vocab / (sigma.expm1() + vocab)).double()
    expected_B = (constant(rounded) - constant(exact / (exact + vocab))).numpy()
    moved_Bx2 = np.array([[0, 1]] * 60)
    found_Bx2 = published_rounding.loss_excess(
        Uniform(vocab), sigma_B, moved_Bx2, np.zeros_like(moved_Bx2)
    )
    assert (found_Bx2[:, 0] == 0).all()
    np.testing.assert_allclose(found_Bx2[:, 1], expected_B, rtol=1e-9)
    assert np.abs(expected_B).max() > 1e-3

    score_Bx2x4 = np.ones((60, 2, 4))
    found_Bx2x4 = published_rounding.step_excess(
        Absorbing(3), score_Bx2x4, sigma_B, np.array([[3, 1]] * 60)
    )
    expected_B = 4 * ((1 - sigma.exp()).double() + exact).numpy()
    np.testing.assert_allclose(found_Bx2x4[:, 0, 3], expected_B, rtol=1e-9)
    assert np.count_nonzero(found_Bx2x4) == np.count_nonzero(expected_B)


def write(path: Path, original: Path, *, without: str = "", **changes) -> Path:
    arrays = {
        k: v for k, v in arrays_of(original).items() if not (without and k.startswith(without))
    }
    np.savez(path, **(arrays | changes))
    return path


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda path: path, "no such file"),
        (lambda path: path.write_text("no archive"), "not a readable .npz file"),
        (lambda path: path.write_bytes(CODEC.read_bytes()[:100_000]), "not a readable .npz file"),
        (lambda path: np.savez(path, x=np.zeros(3)), "no reference file of SEDD, a WavTokenizer"),
        (lambda path: write(path, CODEC, without="code_margin"), "lacks code_margin"),
        (lambda path: write(path, CODEC, config="{}"), "no WavTokenizer configuration"),
        (lambda path: write(path, CODEC, config="no JSON"), "config is not JSON"),
        (lambda path: write(path, ABSORB, without="step/"), "lacks step/dt, step/t_next, step/eu"),
        (lambda path: write(path, ABSORB, without="weights/blocks.0.norm1"), "no SEDD weights"),
        (
            lambda path: write(path, ABSORB, config=resized_config()),
            "not of the sizes in config",
        ),
        (lambda path: write(path, ABSORB, without="config"), "lacks config"),
        (lambda path: write(path, ABSORB, config='{"tokens": 40}'), "no SEDD configuration"),
        (lambda path: write(path, FORWARD[0], without="forward/x"), "lacks forward/x"),
        (lambda path: write(path, FORWARD[0], config='{"tokens": 4095}'), "no SEDD configuration"),
    ],
)
def test_a_file_that_is_not_of_the_format_is_one_line(make, message, tmp_path, capsys):
    make(tmp_path / "x.npz")
    assert reference_check.main([str(tmp_path / "x.npz")]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path / 'x.npz'}: ") and error.count("\n") == 1
    assert message in error


def test_the_command():
    command = [sys.executable, "-m", "tests.reference_check"]
    done = subprocess.run([*command, "missing.npz"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "error: missing.npz: no such file\n")
    assert subprocess.run(command, capture_output=True).returncode == 2
