"""The model as an object does what the commands do."""

import re
import subprocess
import sys

import numpy as np
import pytest

import sedd_jax
from sedd_jax import Model
from sedd_jax.conditions import Vocabulary
from sedd_jax.diffusion.choices import LEAST_SIGMA, MAX_SIGMA
from sedd_jax.errors import UserError
from tests.programs import ROOT
from tests.sedd_jax.toy import NUM_CODES, environment, write_dataset
from tests.sedd_jax.toy_run import make_run, write_run
from tokenizer_bridge.token_dataset.records import TokenDataset


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("api")
    write_run(directory / "run", write_dataset(directory / "tokens"))
    return directory / "run"


def test_a_sample_is_the_command_s(workdir, tmp_path):
    model = Model.load(workdir)
    done = []
    tokens_NxL = model.sample(3, seed=5, steps=4, batch_size=2, progress=done.append)
    command = f"-m sedd_jax.sample --workdir={workdir} --num_samples=3 --seed=5 --steps=4".split()
    output = tmp_path / "new"
    subprocess.run(
        [sys.executable, *command, f"--output={output}"], env=environment(), check=True, cwd=ROOT
    )
    dataset = TokenDataset(output)
    (split,) = dataset.splits
    records = [record.tokens for record in dataset.records(split)]
    np.testing.assert_array_equal(np.stack(records), tokens_NxL)
    assert tokens_NxL.dtype == np.uint16 and sum(done) == 3 * 4


def test_known_tokens_come_back(workdir):
    model = Model.load(workdir)
    known_L, is_known_L = np.arange(24) % NUM_CODES, np.arange(24) < 8
    tokens_NxL = model.sample(2, steps=2, known=known_L, is_known=is_known_L)
    assert tokens_NxL.shape == (2, 24)  # the length is theirs
    np.testing.assert_array_equal(tokens_NxL[:, :8], [known_L[:8]] * 2)
    assert (tokens_NxL[0] != tokens_NxL[1]).any()
    with pytest.raises(UserError, match="length is 16, the known tokens have 24"):
        model.sample(2, length=16, known=known_L, is_known=is_known_L)
    with pytest.raises(UserError, match="need is_known"):
        model.sample(2, known=known_L)


def test_draws_can_be_narrower(workdir):
    model = Model.load(workdir)
    plain = model.sample(2, steps=4)
    np.testing.assert_array_equal(plain, model.sample(2, steps=4, top_k=NUM_CODES, top_p=1.0))
    greedy = model.sample(2, steps=4, top_k=1)
    np.testing.assert_array_equal(greedy, model.sample(2, steps=4, temperature=1e-3))
    assert (greedy != plain).any()
    for wrong in (dict(temperature=0.0), dict(top_p=1.5), dict(top_k=0), dict(overlap=-1)):
        with pytest.raises(ValueError, match=f"{[*wrong][0]} is"):
            model.sample(2, **wrong)


def test_it_says_what_it_is(workdir):
    model = Model.load(workdir, step=0)
    assert (model.length, model.num_codes, model.step) == (16, NUM_CODES, 0)
    assert model.codec["name"] == "toy"
    assert sedd_jax.__version__.count(".") == 2


@pytest.mark.parametrize("devices", [1, 4])
def test_log_scores_are_the_network_s(devices):
    definition, params = make_run(devices)
    model = Model(definition, params, 0)
    tokens_NxL = np.array([[3] * 16, [NUM_CODES] * 16, [*range(16)]])  # 3 rows fill no 4 devices
    scores = np.asarray(model.log_score(tokens_NxL, 0.5))
    assert scores.shape == (3, 16, NUM_CODES + 1) and scores.dtype == np.float32
    assert (scores[0, :, 3] == 0).all() and (scores[1, :, NUM_CODES] == 0).all()
    by_row = [model.log_score(row, np.array([0.5])) for row in tokens_NxL]
    np.testing.assert_allclose(np.concatenate(by_row), scores, rtol=1e-4, atol=1e-5)
    assert np.abs(scores - np.asarray(model.log_score(tokens_NxL, 2.0))).max() > 0.1
    for sigma in (LEAST_SIGMA, MAX_SIGMA):
        assert np.isfinite(model.log_score(tokens_NxL, sigma)).all()


@pytest.mark.parametrize(
    "tokens, sigma, text",
    [
        (np.zeros((1, 2, 16), int), 0.5, "(1, 2, 16)"),
        (np.zeros((1, 16)), 0.5, "float64"),
        (np.full((1, 16), NUM_CODES + 1), 0.5, f"from 0 to {NUM_CODES}"),
        (np.zeros((1, 16), int), 0.0, "from 1e-30 to 87"),
        (np.zeros((1, 16), int), np.nan, "from 1e-30 to 87"),
        (np.zeros((1, 16), int), 1e-40, "from 1e-30 to 87"),
        (np.zeros((1, 16), int), 100.0, "from 1e-30 to 87"),
    ],
)
def test_what_the_network_cannot_take_is_refused(tokens, sigma, text):
    model = Model(*make_run(), 0)
    with pytest.raises(UserError) as refusal:
        model.log_score(tokens, sigma)
    assert text in str(refusal.value)


def test_no_run_is_one_line(tmp_path):
    with pytest.raises(UserError, match="no trained run"):
        Model.load(tmp_path)


def test_importing_the_packages_starts_nothing():
    program = "import sys, sedd_jax, tokenizer_bridge; print({'jax', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "set()\n", done.stderr


def test_the_bound_of_more_likely_sequences_is_lower(workdir):
    model = Model.load(workdir)
    own_NxL = model.sample(24, steps=16)
    noise_NxL = np.random.default_rng(0).integers(0, NUM_CODES, own_NxL.shape)
    own, noise = model.bits_per_token(own_NxL), model.bits_per_token(noise_NxL)
    assert own.mean + own.half_width < noise.mean - noise.half_width
    assert model.bits_per_token(own_NxL[0]).half_width is None
    with pytest.raises(UserError, match="from 0 to 31"):  # a mask has no likelihood
        model.bits_per_token(np.full((1, 16), NUM_CODES))


def test_tags_of_a_model_without_are_refused(workdir):
    model = Model.load(workdir)
    assert model.tags == {}
    for steering in ({"tags": ["genre---jig"]}, {"guidance": 2.0}):
        with pytest.raises(UserError, match="knows no tags"):
            model.sample(1, **steering)


def test_the_example_of_the_readme_runs(tmp_path, capsys):
    text = (ROOT / "sedd_jax/README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (code,) = [block for block in blocks if '"demo"' in block]
    vocabulary = Vocabulary({"instrument---flute": 3}, max_tags=1)
    write_run(tmp_path / "run", write_dataset(tmp_path / "tokens"), vocabulary=vocabulary)
    assert code.count('"demo"') == 1
    names: dict = {}
    exec(code.replace('"demo"', repr(str(tmp_path / "run"))), names)
    assert names["tokens"].shape == (4, 16) and names["tokens"].dtype == np.uint16
    assert names["scores"].shape == (4, 16, NUM_CODES + 1)
    assert "instrument---flute" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_samples": -1}, {"num_samples": 1.5}, {"seed": -1}, {"steps": 0}, {"length": 0},
        {"sweeps": 0}, {"sweeps": 1.5}, {"batch_size": -1}, {"sampler": "Euler"},
        {"guidance": np.nan}, {"guidance": -1.0},
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_named(wrong):
    model = Model(*make_run(), 0)
    (name,) = wrong
    with pytest.raises(ValueError, match=f"^{name} is "):
        model.sample(**{"num_samples": 1, "steps": 1} | wrong)


def test_bounds_and_scores_of_what_does_not_fit_are_refused():
    model = Model(*make_run(), 0)
    tokens = np.zeros((2, 16), int)
    for wrong in ({"num_levels": 0}, {"batch_size": -1}):
        with pytest.raises(ValueError, match=f"^{next(iter(wrong))} is "):
            model.bits_per_token(tokens, **wrong)
    with pytest.raises(UserError, match="the rows differ"):
        model.bits_per_token([[1, 2], [3]])
    with pytest.raises(UserError, match="the model knows no tags"):
        model.bits_per_token(tokens, tags=["x"])
    for sigma in ([1.0, 2.0, 3.0], "x"):
        with pytest.raises(UserError, match="sigma must be a number or one a sequence"):
            model.log_score(tokens, sigma)
