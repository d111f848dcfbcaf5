"""What several processes do together, and say once."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sedd_jax.checkpoints import save_retries
from sedd_jax.checkpoints.meta import Meta
from sedd_jax.errors import RestartNeeded, UserError, explain
from sedd_jax.likelihood import elbo
from sedd_jax.likelihood.held_out import cut_windows
from sedd_jax.parallel import consensus
from sedd_jax.parallel.consensus import compile_for_all
from sedd_jax.sampling import generate as generate_lib
from sedd_jax.sampling.generate import generate
from sedd_jax.sampling.settings import Sampling
from sedd_jax.training import validation
from tests.sedd_jax import gang
from tests.sedd_jax.checkpoints.test_save_retries import Disk
from tests.sedd_jax.toy import FAST_COMPILE, train_command, write_dataset
from tests.sedd_jax.toy_run import make_run
from tokenizer_bridge.token_dataset.records import TokenDataset


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "tokens")


@pytest.fixture
def two(monkeypatch):
    """Pretends that there is another process, which is always there already."""
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(consensus, "wait_for_all", lambda: None)


def test_a_program_compiled_for_all_compiles_no_more_when_it_runs(two, caplog):
    program = jax.jit(lambda x: jnp.sin(x) + 3)
    x = np.ones(7, np.float32)
    compiled = []
    for does in (lambda: compile_for_all(program, x), lambda: program(x)):
        caplog.clear()
        with jax.log_compiles(), caplog.at_level(logging.WARNING):
            does()
        compiled.append(any("Finished XLA compilation" in text for text in caplog.messages))
    assert compiled == [True, False]


class Compiling(Exception):
    """In the place of a compilation."""


def test_the_bound_and_samples_wait_for_all_to_have_compiled(tokens, monkeypatch):
    def compile_for_all(program, *args):
        raise Compiling(program)

    run, params = make_run()
    for module in (generate_lib, elbo):
        monkeypatch.setattr(module, "compile_for_all", compile_for_all)
    sampling = Sampling(sampler="euler", steps=4, seed=0, length=16)
    with pytest.raises(Compiling) as caught:
        next(generate(run, params, sampling, np.arange(4), batch_size=2))
    programs = generate_lib.make_programs(run, "euler", 4, 16, None, None)
    assert caught.value.args[0] is programs.advance
    windows = cut_windows(TokenDataset(tokens), "validation", 16)
    with pytest.raises(Compiling) as caught:
        elbo.split_bound(run, params, windows, num_levels=2, batch_size=2)
    assert caught.value.args[0] is elbo._make_measure(run, 2)


def test_no_process_validates_where_one_cannot(tokens, monkeypatch, caplog):
    run, _ = make_run(evaluation__every=5)
    dataset = TokenDataset(tokens)
    assert validation.make_validation(run, dataset, "validation") is not None
    monkeypatch.setattr(validation, "any_process", lambda flag: True)
    assert validation.make_validation(run, dataset, "validation") is None
    assert "another process cannot have it" in caplog.text


def test_a_save_that_cannot_start_ends_several_processes_as_one_to_start_again(two, monkeypatch):
    monkeypatch.setattr(save_retries, "any_process", lambda flag: flag)
    saver = save_retries.Saver(Disk("no"), retries=3, retry_wait=0.0)
    with pytest.raises(RestartNeeded, match="No space left") as caught:
        saver.save(None, Meta(1, {}, {}, "toy"))
    assert explain(caught.value) == (75, "No space left")
    assert explain(UserError("a mistake")) == (1, "a mistake")


def test_two_processes_say_what_they_measured_once(tokens, tmp_path):
    command = train_command(tokens, tmp_path / "run", training__num_steps=2, evaluation__every=1)
    results = gang.run(command, 2, devices=1, XLA_FLAGS=FAST_COMPILE)
    assert [result.returncode for result in results] == [0, 0], results[0].stderr
    said = [(result.stdout + result.stderr).count("bits per token") for result in results]
    assert said == [2, 0]
