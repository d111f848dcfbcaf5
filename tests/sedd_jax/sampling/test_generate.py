"""Samples depend on (seed, index) alone, and come as wanted."""

import json
import re
from dataclasses import replace

import jax
import numpy as np
import pytest

from sedd_jax.conditions import Vocabulary
from sedd_jax.diffusion.known import Known
from sedd_jax.errors import UserError
from sedd_jax.model import Stream
from sedd_jax.sampling import generate as generate_lib
from sedd_jax.sampling.generate import (
    Pace,
    chunk_size,
    fingerprint,
    generate,
    make_programs,
    sample_keys,
)
from sedd_jax.sampling.settings import Sampling, read_costs, settle
from sedd_jax.sampling.tags import make_guide
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


def test_another_seed_compiles_nothing(single):
    """Keys are those of `jax.random.key` for all seeds, up to the largest."""
    run, _ = single
    index_2, compiled = np.arange(2), set()
    for seed in (0, 7, 2**31, 2**32 - 1):
        key = jax.random.fold_in(jax.random.key(seed), Stream.SAMPLE)
        expected = [jax.random.key_data(jax.random.fold_in(key, i)) for i in index_2]
        keys = jax.random.key_data(sample_keys(run, seed, index_2))
        np.testing.assert_array_equal(keys, expected)
        compiled.add(generate_lib._key_program(run)._cache_size())
    assert len(compiled) == 1


def test_other_graph_sampler_and_length():
    run, params = make_run(graph__type="uniform", noise__type="geometric")
    params = jax.tree.map(lambda x: 0.1 * x, params)  # at full size they favour a few codes
    tokens = samples(run, params, Sampling("analytic", steps=4, seed=0, length=24), batch_size=16)
    tokens = np.stack(list(tokens.values()))
    assert tokens.shape == (NUM_SAMPLES, 24)  # not the length it was trained with
    assert tokens.max() < NUM_CODES and len(np.unique(tokens)) > NUM_CODES // 2


@pytest.mark.parametrize("sampler", ["euler", "analytic"])
@pytest.mark.parametrize("graph", ["absorbing", "uniform"])
def test_scores_that_are_not_finite_are_refused(graph, sampler):
    run, params = make_run(graph__type=graph)
    head = params["output_layer"]["linear"]
    broken = params["output_layer"] | {"linear": head | {"bias": head["bias"] * np.nan}}
    with pytest.raises(UserError, match="not finite"):
        samples(run, params | {"output_layer": broken}, replace(SAMPLING, sampler=sampler))


def test_progress_adds_up(single):
    reports = []
    samples(*single, on_steps=reports.append)
    assert sum(reports) == NUM_SAMPLES * SAMPLING.evaluations
    assert len(reports) == 3 * SAMPLING.evaluations  # of 3 batches, a step per dispatch


def test_samplers_that_leave_nothing_to_denoise_take_an_evaluation_a_step(single):
    run, params = single
    sampling = settle(run, seed=3, sampler="spread", steps=4)
    assert sampling.evaluations == 4 and sampling.schedule is None
    reports = []
    alone = samples(run, params, sampling, on_steps=reports.append)
    assert sum(reports) == NUM_SAMPLES * 4
    tokens = np.stack(list(alone.values()))
    assert tokens.max() < NUM_CODES
    run, params = make_run(8, mesh__data=2, mesh__fsdp=2, mesh__tensor=2)
    assert_same(alone, samples(run, params, sampling, chunk=2))


def test_a_sampler_that_ends_early_tells_what_each_sample_took(single):
    """Of 16 tokens, one at least in each of 16 steps; a large budget draws all at once."""
    reports, spent = [], []
    for strength, expected in ((0.0, 16), (100.0, 1)):
        sampling = settle(
            single[0], seed=3, sampler="entropy", steps=16, schedule="uniform", strength=strength
        )
        tokens = samples(*single, sampling, on_steps=reports.append, on_spent=spent.extend)
        assert max(row.max() for row in tokens.values()) < NUM_CODES
        assert spent == [expected] * NUM_SAMPLES
        assert sum(reports) == NUM_SAMPLES * 16  # so that a bar ends where it is to
        reports.clear(), spent.clear()


def test_what_is_not_asked_for_suits_the_graph_and_the_sampler():
    def chosen(run, **asked) -> tuple[str, int]:
        sampling = settle(run, seed=0, **asked)
        return sampling.sampler, sampling.steps

    run, _ = make_run()
    assert chosen(run) == ("spread", 32)
    assert chosen(run, sampler="euler") == ("euler", 128)  # the paper's
    assert chosen(run, sampler="trapezoidal") == ("trapezoidal", 64)
    assert chosen(run, steps=5) == ("spread", 5)
    assert chosen(make_run(graph__type="uniform")[0]) == ("euler", 128)
    run, _ = make_run(sampling__sampler="euler", sampling__steps=7)
    assert chosen(run) == ("euler", 7)
    assert chosen(run, sampler="spread") == ("spread", 7)


def test_samplers_are_refused_what_makes_no_sense():
    run, params = make_run(graph__type="uniform")
    with pytest.raises(UserError, match="no mask: choose euler, analytic or trapezoidal"):
        settle(run, seed=0, sampler="spread")
    run, params = make_run()
    with pytest.raises(UserError, match="spread has no strength; confidence, entropy, remask have"):
        settle(run, seed=0, strength=1.0)
    with pytest.raises(UserError, match="strength is 1.5: for remask it is from 0 to 1"):
        settle(run, seed=0, sampler="remask", strength=1.5)
    with pytest.raises(ValueError, match="sampler is 'heun'"):
        settle(run, seed=0, sampler="heun")
    with pytest.raises(ValueError, match="schedule is 'sine': it can be uniform, cosine"):
        settle(run, seed=0, schedule="sine")
    known = Known(np.zeros((1, 16), int), np.arange(16)[None] > 8, sweeps=2)
    with pytest.raises(UserError, match="sweeps are 2: the sampler spread has none"):
        samples(run, params, settle(run, seed=0, sampler="spread"), indices=[0], known=known)


def test_a_schedule_is_fitted_to_the_file_of_an_evaluation(tmp_path):
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps({"model_bits_by_masked_share": [None, 1.0, None, 3.0]}))
    costs = read_costs(path)
    assert costs == (1.0, 1.0, 2.0, 3.0)
    run, _ = make_run()
    sampling = settle(run, seed=0, schedule=costs)
    assert sampling.as_json()["schedule"] == [1.0, 1.0, 2.0, 3.0]
    assert settle(run, seed=0, schedule=[None, 1.0, None, 3.0]) == sampling
    with pytest.raises(UserError, match="needs numbers"):
        settle(run, seed=0, schedule=())
    for text, message in (
        ("{}", "has no model_bits_by_masked_share: evaluate an absorbing model"),
        ("[1]", "has no model_bits_by_masked_share"),
        ("x", "is not JSON"),
        ('{"model_bits_by_masked_share": [null]}', "evaluation.json: no schedule .* needs numbers"),
        ('{"model_bits_by_masked_share": ["a"]}', "evaluation.json: no schedule can be fitted"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=message):
            read_costs(path)
    with pytest.raises(UserError, match="No such file"):
        read_costs(tmp_path / "none.json")


@pytest.mark.parametrize("steps, chunk", [(1, 1), (12, 1), (128, 4), (1021, 1), (1024, 32)])
def test_chunk_size_divides_steps(steps, chunk):
    assert chunk_size(steps) == chunk


def test_pace_leaves_the_dispatches_that_compile_out(monkeypatch):
    assert Pace().seconds_per_step is None
    clock = iter([0.0, 9.0, 9.4, 9.9, 17.0])  # s: compiling first and last
    monkeypatch.setattr(generate_lib.time, "perf_counter", lambda: next(clock))
    pace = Pace()
    for num_sample_steps in (8, 8, 0, 10, 2):
        pace.add(num_sample_steps)
    assert pace.seconds_per_step == pytest.approx(0.05)


def test_fingerprint_tells_parameters_apart_but_not_meshes(single):
    _, params = single
    assert fingerprint(params) == fingerprint(make_run(8)[1])
    leaves, treedef = jax.tree.flatten(params)
    other = treedef.unflatten([leaves[0] + 1e-3, *leaves[1:]])
    assert fingerprint(params) != fingerprint(other)


VOCABULARY = Vocabulary({"g---a": 1, "g---b": 1, "h---c": 1}, max_tags=2)
TAGS_N = [["g---a"], ["g---b", "h---c"], [], ["h---c"]] * 3


@pytest.fixture(scope="module")
def conditional():
    return make_run(vocabulary=VOCABULARY)


def guided(run, params, tags_N=TAGS_N, **options) -> dict[int, np.ndarray]:
    shape = {key: options.pop(key) for key in ("indices", "batch_size") if key in options}
    return samples(run, params, guide=make_guide(VOCABULARY, tags_N, **options), **shape)


@pytest.fixture(scope="module")
def guided_reference(conditional):
    return guided(*conditional, weight=2.0, avoid=["g---b"], schedule="rising")


def test_tags_and_guidance_change_samples_and_none_do_not(conditional, guided_reference):
    untagged = samples(*conditional)
    tagged = guided(*conditional)
    assert_same({i: untagged[i] for i in (2, 6, 10)}, {i: tagged[i] for i in (2, 6, 10)})
    assert all((tagged[i] != untagged[i]).any() for i in (0, 1, 3, 4, 5))
    assert any((tagged[i] != guided_reference[i]).any() for i in tagged)
    # Told nothing against nothing, a guided model is itself, and so it is at weight 0.
    assert_same(untagged, guided(*conditional, tags_N=[[]] * 12, weight=3.0))
    assert_same(untagged, guided(*conditional, weight=0.0))


def test_a_weight_of_one_is_one_evaluation(conditional):
    assert make_guide(VOCABULARY, TAGS_N, avoid=["g---a"]).other is None
    run, params = conditional
    programs = make_programs(run, "euler", 12, 16)
    sizes = []
    for weight in (1.0, 2.0):
        guide = make_guide(VOCABULARY, TAGS_N, weight=weight)
        guide = guide.rows(np.arange(4), jax.numpy.asarray)
        args = (params, sample_keys(run, 0, np.arange(4)), np.zeros((4, 16), np.int32))
        text = programs.advance.lower(*args, np.int32(0), 1, guide).as_text()
        sizes.append([int(n) for n in re.findall(r"tensor<(\d+)x16x64xf32>", text)])
    assert [max(rows) for rows in sizes] == [4, 8]  # of the hidden layer


def test_a_guided_sample_is_the_same_in_any_company(conditional, guided_reference):
    options = dict(weight=2.0, avoid=["g---b"], schedule="rising")
    wanted = [7, 2, 9]
    some = guided(*conditional, indices=wanted, batch_size=64, **options)
    assert_same({i: guided_reference[i] for i in wanted}, some)
    run, params = make_run(8, vocabulary=VOCABULARY, mesh__data=2, mesh__fsdp=2, mesh__tensor=2)
    assert_same(guided_reference, guided(run, params, **options))


def test_uniform_graph_and_analytic_sampler_are_guided_too():
    run, params = make_run(graph__type="uniform", vocabulary=VOCABULARY)
    sampling = Sampling("analytic", steps=4, seed=0, length=16)
    guides = [make_guide(VOCABULARY, TAGS_N, weight=weight) for weight in (1.0, 0.0, 3.0)]
    tokens = [
        np.stack(list(samples(run, params, sampling, guide=guide).values())) for guide in guides
    ]
    assert (tokens[0] != tokens[2]).any()
    np.testing.assert_array_equal(
        tokens[1], np.stack(list(samples(run, params, sampling).values()))
    )
