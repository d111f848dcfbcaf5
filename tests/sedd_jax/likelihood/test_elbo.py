"""The bound over a split: what it covers and what it depends on."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sedd_jax.diffusion.bound import bound_terms
from sedd_jax.diffusion.graph import Absorbing, Uniform
from sedd_jax.diffusion.noise import Geometric, LogLinear
from sedd_jax.likelihood import elbo
from sedd_jax.likelihood.control_variate import without_shared_error
from sedd_jax.likelihood.held_out import SplitWindows, cut_windows
from tests.sedd_jax.toy import NUM_CODES, write_dataset
from tests.sedd_jax.toy_run import make_run
from tokenizer_bridge.token_dataset.records import TokenDataset

LENGTHS = {"train": [40], "validation": [50, 7, 32, 16], "test": [15]}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> TokenDataset:
    return TokenDataset(write_dataset(tmp_path_factory.mktemp("tokens"), LENGTHS))


@pytest.fixture(scope="module")
def windows(dataset) -> SplitWindows:
    return cut_windows(dataset, "validation", 16)


@pytest.fixture(scope="module")
def single():
    return make_run()


@pytest.fixture(scope="module")
def reference(single, windows) -> elbo.SplitBound:
    return elbo.split_bound(*single, windows, num_levels=2, batch_size=4)


def bound_with_constant_output(single, windows, output: float) -> np.ndarray:
    """Nats a token (W,) of a network that puts out one number for every code."""
    run, params = single
    head = jax.tree.map(lambda x: 0 * x, params["output_layer"])
    linear = head["linear"] | {"bias": head["linear"]["bias"] + output}
    params = params | {"output_layer": head | {"linear": linear}}
    bound = elbo.split_bound(run, params, windows, num_levels=64, batch_size=4)
    return bound.nats_W / windows.counted_W


def test_an_untrained_network_knows_nothing(single, windows):
    """Its head is at zero, its scores those of a uniform guess: no noise is left to show."""
    nats_W = bound_with_constant_output(single, windows, 0.0)
    np.testing.assert_allclose(nats_W, np.log(NUM_CODES), rtol=1e-5)


def test_scores_too_large_by_a_factor_cost_what_they_must(single, windows):
    """Scores e^c times too large add e^c − c − 1 nats a token to the bound."""
    nats_W = bound_with_constant_output(single, windows, 1.0)
    assert nats_W.mean() == pytest.approx(np.log(NUM_CODES) + np.e - 2, abs=0.1)


def test_the_error_is_taken_off_by_a_slope_and_what_came_is_kept(single, windows, monkeypatch):
    many = replace(
        windows,
        tokens_WxL=windows.tokens_WxL.repeat(4, axis=0),
        track_W=windows.track_W.repeat(4),
        part_W=np.arange(4 * len(windows)),
        new_W=windows.new_W.repeat(4),
    )
    given = []
    monkeypatch.setattr(
        elbo,
        "without_shared_error",
        lambda *arguments: given.extend(arguments) or without_shared_error(*arguments),
    )
    bound = elbo.split_bound(*single, many, num_levels=2, batch_size=9)
    nats_W, error_W, counted_W, key_W = given
    np.testing.assert_array_equal(counted_W, many.counted_W)
    np.testing.assert_array_equal(bound.plain_nats_W, nats_W)
    np.testing.assert_array_equal(bound.nats_W, without_shared_error(*given))
    assert len(np.unique(key_W)) == len(many)
    assert np.corrcoef(nats_W, error_W)[0, 1] > 0.5
    assert bound.nats_W.std() < min(nats_W.std(), (nats_W - error_W).std())


@pytest.mark.parametrize("graph", [Absorbing(NUM_CODES), Uniform(NUM_CODES)])
def test_the_bound_of_a_uniform_guess_is_what_it_is_credited_with(graph):
    """Or the correction would bias every figure."""
    x0_BxL = jax.random.randint(jax.random.key(0), (4096, 16), 0, NUM_CODES)

    @jax.jit
    def measure(key_B):
        log_score_fn = elbo.uniform_guess(graph)
        return bound_terms(log_score_fn, graph, LogLinear(), x0_BxL, key_B, num_t=4).total_B

    nats_B = np.asarray(measure(jax.random.split(jax.random.key(1), 4096)), np.float64) / 16
    standard_error = nats_B.std() / 64
    assert 1e-3 < standard_error < 0.04
    assert abs(nats_B.mean() - np.log(NUM_CODES)) < 3 * standard_error


def test_batch_size_changes_nothing(single, windows, reference):
    nats_W = elbo.split_bound(*single, windows, num_levels=2, batch_size=64).nats_W
    np.testing.assert_allclose(nats_W, reference.nats_W, rtol=1e-5)


def test_devices_change_nothing(windows, reference):
    nats_W = elbo.split_bound(*make_run(8), windows, num_levels=2, batch_size=1).nats_W
    np.testing.assert_allclose(nats_W, reference.nats_W, rtol=1e-5)


def test_noise_belongs_to_the_record_not_to_its_place(single, windows, reference):
    assert windows.ids[2] == "validation-2" and windows.track_W[5:7].tolist() == [2, 2]
    alone = replace(windows.take(np.array([5, 6])), track_W=np.array([0, 0]), ids=("validation-2",))
    counted = []
    nats_W = elbo.split_bound(
        *single, alone, num_levels=2, batch_size=4, on_windows=counted.append
    ).plain_nats_W
    np.testing.assert_allclose(nats_W, reference.plain_nats_W[5:7], rtol=1e-5)
    assert counted == [2]
    # Two windows of a track get noise of their own, even with the same tokens in them.
    twice = replace(alone, tokens_WxL=alone.tokens_WxL[[0, 0]])
    same_W = elbo.split_bound(*single, twice, num_levels=2, batch_size=4).plain_nats_W
    assert abs(same_W[0] - same_W[1]) > 1e-3


def test_an_unknown_code_is_a_mask_and_free(windows):
    """A model that lacks the last code is measured alike whatever stands where it does."""
    run, params = make_run(graph__num_codes=NUM_CODES - 1)
    is_last_WxL = windows.tokens_WxL == NUM_CODES - 1
    assert is_last_WxL.any()

    def measure(params, tokens_WxL):
        known = replace(windows, tokens_WxL=tokens_WxL).knowing(run.graph.num_codes)
        assert known.counted_W.sum() == (windows.counts_WxL & ~is_last_WxL).sum()
        bound = elbo.split_bound(run, params, known, num_levels=2, batch_size=4)
        return bound.nats_W / known.counted_W

    nats_W = measure(params, windows.tokens_WxL)
    assert np.isfinite(nats_W).all()
    other_WxL = np.where(is_last_WxL, NUM_CODES + 7, windows.tokens_WxL).astype(np.uint16)
    np.testing.assert_array_equal(measure(params, other_WxL), nats_W)
    guessing = params | {"output_layer": jax.tree.map(jnp.zeros_like, params["output_layer"])}
    guess_W = measure(guessing, windows.tokens_WxL)
    np.testing.assert_allclose(guess_W, np.log(NUM_CODES - 1), rtol=1e-5)


def test_record_hash_is_stable():
    assert elbo.record_hash("track_0000948") == 3600044643


@pytest.mark.parametrize("noise", [LogLinear(), Geometric(1e-3, 8.0)])
def test_what_a_masked_token_costs_is_told_by_the_share_that_is_masked(noise):
    """A cost of 1 + share bits, as the integrand over t that it makes."""
    t_WxS = ((np.arange(4000) + 0.5) / 4000).reshape(1000, 4)
    sigma_WxS, rate_WxS = map(np.asarray, noise(jnp.array(t_WxS, jnp.float32)))
    all_masked = -np.expm1(-float(noise(jnp.float32(1)).sigma))
    share_WxS = -np.expm1(-sigma_WxS) / all_masked
    counted_W = np.full(1000, 7)
    growth_WxS = rate_WxS * np.exp(-sigma_WxS) / all_masked
    integrand_WxS = 7 * growth_WxS * (1 + share_WxS) * np.log(2)
    bound = elbo.SplitBound(np.zeros(1000), np.zeros(1000), t_WxS, integrand_WxS)
    bits = elbo.bits_by_masked_share(bound, counted_W, noise)
    expected = 1 + (np.arange(elbo.NUM_SHARES) + 0.5) / elbo.NUM_SHARES
    np.testing.assert_allclose(bits[1:], expected[1:], rtol=2e-3)
    few = elbo.SplitBound(np.zeros(1), np.zeros(1), t_WxS[-1:], integrand_WxS[-1:])
    assert elbo.bits_by_masked_share(few, counted_W[:1], noise)[:-1] == [None] * 31
