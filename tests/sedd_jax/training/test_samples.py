"""Samples of a run while it trains: drawn, shown, decoded, and never the run's undoing."""

import contextlib
import errno
import functools
import importlib.util
import logging
import os
import shutil
import signal
from unittest.mock import Mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sedd_jax.conditions import Vocabulary
from sedd_jax.monitoring.goodput import Moment
from sedd_jax.monitoring.metrics import read_lines
from sedd_jax.monitoring.recorder import Watch
from sedd_jax.sampling.generate import generate
from sedd_jax.sampling.settings import Sampling
from sedd_jax.sampling.tags import make_guide
from sedd_jax.training import decoder as decoder_lib
from sedd_jax.training.samples import Samples
from sedd_jax.training.setup import Job
from tests.programs import wait_until
from tests.sedd_jax import toy_decoder
from tests.sedd_jax.events import read_media
from tests.sedd_jax.toy import write_dataset
from tests.sedd_jax.toy_run import make_run
from tokenizer_bridge.token_dataset.records import TokenDataset

SETTINGS = {
    "evaluation__samples_every": 5, "evaluation__num_samples": 3, "sampling__steps": 2,
    "sampling__batch_size": 2,
}  # fmt: skip


@pytest.fixture
def program(monkeypatch):
    """Puts a script in the place of the program that decodes."""
    toy_decoder.put(monkeypatch)
    return functools.partial(toy_decoder.put, monkeypatch)


@pytest.fixture(scope="module")
def toy():
    return make_run(8, **SETTINGS)


@contextlib.contextmanager
def life(run, workdir, start_step=0, stopping=False):
    """The samples of a life of a run, without its training."""
    workdir.mkdir(exist_ok=True)
    tokens = workdir.parent / "tokens"
    job = Job(run, workdir, TokenDataset(tokens) if tokens.exists() else None, None, "")
    with (
        Watch(run, workdir, start_step, Moment.now()) as watch,
        Samples(job, watch, start_step, "validation", lambda: stopping) as samples,
    ):
        yield samples


def tokens_of(folder) -> np.ndarray:
    records = TokenDataset(folder / "tokens").records("generated")
    return np.stack([record.tokens for record in records])


def files(folder) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def shown(workdir) -> list[tuple[int, str]]:
    return sorted((value.step, value.tag) for value in read_media(workdir / "tensorboard"))


def test_the_same_samples_are_drawn_shown_and_decoded(toy, tmp_path, program, caplog):
    run, params = toy
    workdir = tmp_path / "run"
    compiled = []
    with life(run, workdir) as samples:
        for step in (0, 5):
            caplog.clear()
            with jax.log_compiles(), caplog.at_level(logging.WARNING):
                assert samples.make(params, step) == workdir / f"samples/{step}"
            compiled.append(any("Finished XLA compilation" in text for text in caplog.messages))
            samples.show()
        samples.finish()
    assert compiled == [True, False]
    first, second = workdir / "samples/0", workdir / "samples/5"
    np.testing.assert_array_equal(tokens_of(first), tokens_of(second))
    sampling = Sampling("spread", 2, 0, 16)  # as `sample` draws by default
    drawn = generate(run, params, sampling, np.arange(3), batch_size=3)
    np.testing.assert_array_equal(tokens_of(first), np.concatenate([b for _, b in drawn]))

    names = [f"sample-0000{i}" for i in range(3)]
    assert files(second) == {
        "tokens/dataset.json", "tokens/generated-00000-of-00001.array_record",
        *(f"pictures/{name}.png" for name in names), *(f"audio/{name}.wav" for name in names),
    }  # fmt: skip
    origin = TokenDataset(second / "tokens").origin
    assert origin["checkpoint_step"] == 5 and origin["seed"] == 0 and origin["num_samples"] == 3
    assert shown(workdir) == sorted(
        (step, f"{kind}/{i}") for step in (0, 5) for kind in ("audio", "tokens") for i in range(3)
    )
    spent = read_lines(workdir / "goodput.jsonl")[-1]["spent"]
    assert 0 < spent["samples"]


def test_a_later_life_repeats_and_loses_nothing(toy, tmp_path, program):
    run, params = toy
    workdir = tmp_path / "run"
    left = workdir / "samples"
    program(toy_decoder.ENDLESS)
    with life(run, workdir) as samples:
        for step in (5, 10, 15):
            samples.make(params, step)
            samples.show()
        wait_until((left / "5/.audio.partial").exists)
    shutil.copytree(left / "15", left / ".20.partial")
    (left / "notes").mkdir()  # of the user's
    assert not (left / "5/audio").exists() and (left / "5/.audio.partial").exists()
    program(toy_decoder.DECODES)
    with life(run, workdir, start_step=10) as samples:
        assert sorted(path.name for path in left.iterdir()) == ["10", "5", "notes"]
        assert samples.catch_up(params, 10) is None
        samples.make(params, 15)
        samples.finish()
    kinds = [f"{kind}/{i}" for kind in ("audio", "tokens") for i in range(3)]
    assert shown(workdir) == [(step, kind) for step in (5, 10, 15) for kind in kinds]
    shutil.rmtree(left / "10")
    with life(run, workdir, start_step=10) as samples:
        assert samples.catch_up(params, 10) == left / "10"


def test_without_pytorch_there_are_tokens_and_pictures(toy, tmp_path, monkeypatch, caplog):
    run, params = toy
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n == "torch" else find(n))
    with life(run, tmp_path / "run") as samples:
        for step in (5, 10):
            folder = samples.make(params, step)
            samples.show()
        samples.finish()
    assert caplog.messages == ["samples will not be heard: PyTorch is not installed here"]
    assert len(files(folder)) == 5 and not (folder / "audio").exists()


def test_what_fails_is_one_warning(toy, tmp_path, monkeypatch, caplog, program):
    run, params = toy
    program(toy_decoder.FAILS)
    with life(run, tmp_path / "run") as samples:
        for step in (5, 10):
            samples.make(params, step)
        samples.finish()
        assert caplog.messages == ["no audio of samples: no such codec"]

        caplog.clear()
        monkeypatch.setattr(decoder_lib, "PROGRAM", ("/no/such/program",))
        monkeypatch.setattr(shutil, "which", lambda name: None)
        samples.make(params, 15)
        samples.finish()
        assert "no audio of samples: [Errno 2]" in caplog.messages[0] and len(caplog.messages) == 1

        caplog.clear()
        assert samples.make(jax.tree.map(lambda x: x * jnp.nan, params), 20) is None
        assert "no samples of step 20: the network's scores cannot be sampled" in caplog.text

        caplog.clear()
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        monkeypatch.setattr(os, "replace", Mock(side_effect=full))
        assert samples.make(params, 25) is None
        assert caplog.messages == ["no samples of step 25: [Errno 28] No space left on device"]
    assert sorted(path.name for path in (tmp_path / "run/samples").iterdir()) == ["10", "15", "5"]


def test_an_error_of_one_process_alone_ends_several(toy, tmp_path, monkeypatch, program):
    """The others would wait for it at the next step."""
    run, params = toy
    with life(run, tmp_path / "run") as samples:
        monkeypatch.setattr(jax, "process_count", lambda: 2)
        monkeypatch.setattr(samples, "_draw", Mock(side_effect=RuntimeError("out of memory")))
        with pytest.raises(RuntimeError, match="out of memory"):
            samples.make(params, 5)


def test_a_stop_waits_for_no_samples(toy, tmp_path, monkeypatch, program, caplog):
    run, params = toy
    program(toy_decoder.ENDLESS)
    monkeypatch.setattr(decoder_lib, "_GRACE_S", 600.0)  # however late it hears
    with life(run, tmp_path / "run") as samples:
        samples.make(params, 5)
        samples.show()
        process = samples._decoder._work.process
        samples.finish(patience_s=0.2)
        assert caplog.messages == ["no audio of the last 1 sets of samples yet"]
    assert process.returncode == -signal.SIGTERM
    with life(run, tmp_path / "run", start_step=5, stopping=True) as samples:
        assert samples.make(params, 10) is None
        samples.finish()
    assert [path.name for path in (tmp_path / "run/samples").iterdir()] == ["5"]


def test_a_model_of_tags_is_told_those_of_held_out_tracks(tmp_path, program):
    tags = {"train": [["a---x"]] * 6, "validation": [["a---x", "b---z"], ["a---y", "a---x"]]}
    write_dataset(tmp_path / "tokens", tags=tags)
    vocabulary = Vocabulary({"a---x": 7, "a---y": 1}, max_tags=2)
    run, params = make_run(8, vocabulary, **SETTINGS | {"evaluation__num_samples": 2})
    with life(run, tmp_path / "run") as samples:
        folder = samples.make(params, 5)
    told = [record.tags for record in TokenDataset(folder / "tokens").records("generated")]
    assert told == [("a---x",), ("a---y", "a---x")]
    guide, sampling = make_guide(vocabulary, told), Sampling("spread", 2, 0, 16)
    drawn = generate(run, params, sampling, np.arange(2), batch_size=2, guide=guide)
    np.testing.assert_array_equal(tokens_of(folder), np.concatenate([b for _, b in drawn]))
    texts = {value.tag: value.text for value in read_media(tmp_path / "run/tensorboard")}
    assert texts == {"tokens/0": "a---x", "tokens/1": "a---y, a---x"}
