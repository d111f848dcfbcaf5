"""Samples some of whose tokens are known: those come back, and the others do as samples do."""

import numpy as np
import pytest

from sedd_jax.conditions import Vocabulary
from sedd_jax.errors import UserError
from sedd_jax.sampling import generate as generate_lib
from sedd_jax.sampling.generate import generate, make_programs
from sedd_jax.sampling.known import make_known
from sedd_jax.sampling.settings import Sampling
from sedd_jax.sampling.tags import make_guide
from tests.sedd_jax.toy import NUM_CODES
from tests.sedd_jax.toy_run import make_run

SAMPLING = Sampling(sampler="euler", steps=12, seed=3, length=16)
N, L = 6, 16
TOKENS_NxL = np.random.default_rng(0).integers(0, NUM_CODES, (N, L))
IS_KNOWN_NxL = np.random.default_rng(1).random((N, L)) < 0.5
IS_KNOWN_NxL[0], IS_KNOWN_NxL[2], IS_KNOWN_NxL[4] = False, True, np.arange(L) < 8


def samples(run, params, known, sampling=SAMPLING, indices=range(N), **kwargs) -> np.ndarray:
    tokens_NxL = np.full((N, L), NUM_CODES)
    for index_b, tokens_bxL in generate(
        run, params, sampling, np.array(indices), known=known, **{"batch_size": 4} | kwargs
    ):
        tokens_NxL[index_b] = tokens_bxL
    return tokens_NxL


def known_positions(**options):
    return make_known(TOKENS_NxL, IS_KNOWN_NxL, N, NUM_CODES, **options)


@pytest.fixture(scope="module", params=["absorbing", "uniform"])
def graph(request):
    return request.param


@pytest.fixture(scope="module")
def single(graph):
    return make_run(graph__type=graph)


@pytest.fixture(scope="module")
def reference(single):
    return samples(*single, known_positions())


def test_known_tokens_come_back_and_change_the_others(single, reference):
    np.testing.assert_array_equal(reference[IS_KNOWN_NxL], TOKENS_NxL[IS_KNOWN_NxL])
    assert reference.max() < NUM_CODES
    free = samples(*single, None)
    np.testing.assert_array_equal(reference[0], free[0])  # nothing of it is known
    assert (reference != free)[~IS_KNOWN_NxL].any()
    # Nor does what stands at unknown positions matter.
    other = np.where(IS_KNOWN_NxL, TOKENS_NxL, NUM_CODES + 7)
    again = samples(*single, make_known(other, IS_KNOWN_NxL, N, NUM_CODES))
    np.testing.assert_array_equal(again, reference)


def test_they_are_the_same_in_any_company(single, graph, reference):
    some = samples(*single, known_positions(), indices=[4, 1], batch_size=64)
    np.testing.assert_array_equal(some[[4, 1]], reference[[4, 1]])
    run, params = make_run(8, graph__type=graph, mesh__data=2, mesh__fsdp=2, mesh__tensor=2)
    np.testing.assert_array_equal(samples(run, params, known_positions()), reference)


def test_one_program_serves_whatever_is_known(single, reference):
    programs = make_programs(single[0], "euler", 12, L)
    before = programs.advance._cache_size(), programs.finish._cache_size()
    samples(*single, make_known(TOKENS_NxL, ~IS_KNOWN_NxL, N, NUM_CODES))
    assert (programs.advance._cache_size(), programs.finish._cache_size()) == before


def test_samples_with_nothing_unknown_cost_nothing(single, monkeypatch):
    done = []
    samples(*single, known_positions(), on_steps=done.append)
    assert sum(done) == N * SAMPLING.evaluations
    monkeypatch.setattr(generate_lib, "make_programs", None)
    whole = make_known(TOKENS_NxL, np.ones(L, bool), N, NUM_CODES)
    np.testing.assert_array_equal(samples(*single, whole), TOKENS_NxL)


def test_time_and_sweeps_are_heeded(single, graph, reference):
    if graph == "absorbing":
        assert (samples(*single, known_positions(time="schedule")) != reference).any()
    swept = samples(*single, known_positions(sweeps=2))
    assert (swept != reference).any()
    np.testing.assert_array_equal(swept[IS_KNOWN_NxL], TOKENS_NxL[IS_KNOWN_NxL])


def test_guidance_holds_beside_them():
    vocabulary = Vocabulary({"g---a": 1, "g---b": 1}, max_tags=1)
    run, params = make_run(vocabulary=vocabulary)
    known = known_positions()
    plain = samples(run, params, known)
    guided = [
        samples(run, params, known, guide=make_guide(vocabulary, [["g---a"]] * N, weight=w))
        for w in (0.0, 3.0)
    ]
    np.testing.assert_array_equal(guided[0], plain)
    assert (guided[1] != plain).any()
    np.testing.assert_array_equal(guided[1][IS_KNOWN_NxL], TOKENS_NxL[IS_KNOWN_NxL])


def test_a_token_that_the_model_lacks_comes_back_and_is_unknown_to_the_network(graph):
    run, params = make_run(graph__type=graph, graph__num_codes=NUM_CODES - 1)
    tokens_L, is_known_L = TOKENS_NxL[5] % (NUM_CODES - 1), np.arange(L) % 2 == 0
    without = is_known_L.copy()
    without[6] = False
    lacking = np.where(np.arange(L) == 6, NUM_CODES - 1, tokens_L)
    given, other = (
        samples(run, params, make_known(tokens, known, N, NUM_CODES))
        for tokens, known in ((lacking, is_known_L), (tokens_L, without))
    )
    assert (given[:, 6] == NUM_CODES - 1).all() and (other < NUM_CODES - 1).all()
    given[:, 6] = other[:, 6]
    np.testing.assert_array_equal(given, other)


@pytest.mark.parametrize(
    "tokens, is_known, text",
    [
        (TOKENS_NxL, None, "need is_known"),
        (TOKENS_NxL[:2], IS_KNOWN_NxL[:2], "(L,) or (6, L), not (2, 16)"),
        (TOKENS_NxL[0], IS_KNOWN_NxL[0, :5], "(16,) and (5,)"),
        (TOKENS_NxL, IS_KNOWN_NxL.astype(int), "is_known bool"),
        (TOKENS_NxL * 1.0, IS_KNOWN_NxL, "float64"),
        ([[1, 2], [3]], IS_KNOWN_NxL, "rows differ"),
        (TOKENS_NxL + NUM_CODES, IS_KNOWN_NxL, f"from 0 to {NUM_CODES - 1}"),
        (np.int64(3), np.bool_(True), "(L,)"),
    ],
)
def test_what_does_not_fit_is_refused(tokens, is_known, text):
    with pytest.raises(UserError) as caught:
        make_known(tokens, is_known, N, NUM_CODES)
    assert text in str(caught.value)
