"""Samples depend on (seed, index) alone, and come as wanted."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from sedd_jax.diffusion.sampler import SAMPLERS
from sedd_jax.errors import UserError
from sedd_jax.sampling import generate as generate_lib
from sedd_jax.sampling.generate import (
    Pace,
    Sampling,
    chunk_size,
    fingerprint,
    generate,
    length_warning,
)
from tests.sedd_jax.toy import NUM_CODES
from tests.sedd_jax.toy_run import make_run

SAMPLING = Sampling(sampler="euler", steps=12, seed=3, length=16)
NUM_SAMPLES = 11


def samples(run, params, sampling=SAMPLING, indices=None, **kwargs) -> dict[int, np.ndarray]:
    indices = np.arange(NUM_SAMPLES) if indices is None else np.asarray(indices)
    batches = generate(run, params, sampling, indices, **{"batch_size": 4} | kwargs)
    return {int(i): row for index_b, rows in batches for i, row in zip(index_b, rows, strict=True)}


def assert_same(first: dict, second: dict) -> None:
    assert first.keys() == second.keys()
    for index in first:
        np.testing.assert_array_equal(first[index], second[index])


@pytest.fixture(scope="module")
def single():
    return make_run()


@pytest.fixture(scope="module")
def reference(single):
    return samples(*single)


def test_every_wanted_sample_comes_once_and_holds_codes_only(reference):
    assert sorted(reference) == list(range(NUM_SAMPLES))
    tokens = np.stack(list(reference.values()))
    assert tokens.dtype == np.uint16 and tokens.shape == (NUM_SAMPLES, 16)
    assert tokens.max() < NUM_CODES
    assert len({row.tobytes() for row in tokens}) == NUM_SAMPLES


def test_nothing_wanted_is_nothing_done(single):
    assert samples(*single, indices=[]) == {}


def test_chunks_change_nothing(single, reference):
    assert_same(reference, samples(*single, chunk=4))


def test_a_sample_is_the_same_in_any_company(single, reference):
    wanted = [7, 2, 9]
    assert_same({i: reference[i] for i in wanted}, samples(*single, indices=wanted, batch_size=64))


@pytest.mark.parametrize("overrides", [{}, dict(mesh__data=2, mesh__fsdp=2, mesh__tensor=2)])
def test_eight_devices_change_nothing(reference, overrides):
    assert len(jax.devices()) == 8
    run, params = make_run(8, **overrides)
    assert_same(reference, samples(run, params))


def test_seed_changes_samples(single, reference):
    other = samples(*single, Sampling("euler", steps=12, seed=4, length=16))
    assert all((other[i] != reference[i]).any() for i in reference)


def test_other_graph_sampler_and_length():
    run, params = make_run(graph__type="uniform", noise__type="geometric")
    params = jax.tree.map(lambda x: 0.1 * x, params)  # at full size they favour a few codes
    tokens = samples(run, params, Sampling("analytic", steps=4, seed=0, length=24), batch_size=16)
    tokens = np.stack(list(tokens.values()))
    assert tokens.shape == (NUM_SAMPLES, 24)  # not the length it was trained with
    assert tokens.max() < NUM_CODES and len(np.unique(tokens)) > NUM_CODES // 2


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("graph", ["absorbing", "uniform"])
def test_scores_that_are_not_finite_are_refused(graph, sampler):
    run, params = make_run(graph__type=graph)
    head = params["output_layer"]["linear"]
    broken = params["output_layer"] | {"linear": head | {"bias": head["bias"] * np.nan}}
    with pytest.raises(UserError, match="not finite"):
        samples(run, params | {"output_layer": broken}, replace(SAMPLING, sampler=sampler))


def test_only_samples_longer_than_the_training_are_warned_of(single):
    assert length_warning(single[0], 16) is None
    assert "17 tokens are longer than the 16 " in length_warning(single[0], 17)


def test_progress_adds_up(single):
    reports = []
    samples(*single, on_steps=reports.append)
    assert sum(reports) == NUM_SAMPLES * SAMPLING.evaluations
    assert len(reports) == 3 * SAMPLING.evaluations  # of 3 batches, a step per dispatch


@pytest.mark.parametrize("steps, chunk", [(1, 1), (12, 1), (128, 4), (1021, 1), (1024, 32)])
def test_chunk_size_divides_steps(steps, chunk):
    assert chunk_size(steps) == chunk


def test_pace_leaves_the_dispatches_that_compile_out(monkeypatch):
    assert Pace().seconds_per_step is None
    clock = iter([0.0, 9.0, 9.4, 9.9, 17.0])  # s: compiling first and last
    monkeypatch.setattr(generate_lib.time, "perf_counter", lambda: next(clock))
    pace = Pace()
    for num_sample_steps in (8, 8, 10, 2):
        pace.add(num_sample_steps)
    assert pace.seconds_per_step == pytest.approx(0.05)


def test_fingerprint_tells_parameters_apart_but_not_meshes(single):
    _, params = single
    assert fingerprint(params) == fingerprint(make_run(8)[1])
    leaves, treedef = jax.tree.flatten(params)
    other = treedef.unflatten([leaves[0] + 1e-3, *leaves[1:]])
    assert fingerprint(params) != fingerprint(other)
