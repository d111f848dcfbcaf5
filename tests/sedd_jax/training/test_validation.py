"""Validation while training: what is measured, that it repeats, and the loss by noise level."""

import math

import jax
import numpy as np
import pytest

from sedd_jax.diffusion.bound import bound_terms
from sedd_jax.diffusion.graph import Absorbing
from sedd_jax.diffusion.noise import LogLinear
from sedd_jax.errors import UserError
from sedd_jax.likelihood import elbo
from sedd_jax.likelihood.elbo import SplitBound
from sedd_jax.training.validation import Trend, Validation, levels_per_window, make_validation
from tests.sedd_jax.toy import write_dataset
from tests.sedd_jax.toy_run import make_run
from tokenizer_bridge.token_dataset.records import TokenDataset

BINS = [f"{i / 10:.1f}-{(i + 1) / 10:.1f}" for i in range(10)]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> TokenDataset:
    return TokenDataset(write_dataset(tmp_path_factory.mktemp("tokens")))


@pytest.fixture(scope="module")
def measured(dataset):
    """(run, parameters, validation, its measurement)."""
    run, params = make_run()
    validation = Validation(run, dataset, "validation")
    return run, params, validation, validation.measure(params)


def test_every_noise_level_is_reported(measured):
    metrics = measured[-1].metrics()
    names = [name for name in metrics if name != "validation_bits_per_token"]
    assert names == [f"validation_bits_by_t/{name}" for name in BINS] == sorted(names)
    assert all(math.isfinite(value) for value in metrics.values())


def test_the_bins_weighted_average_to_the_integral_of_the_bound(dataset, measured):
    """The integral as bound_terms gives it, over the same windows and noise."""
    run, params, validation, measurement = measured
    windows = validation._windows
    num_levels = levels_per_window(len(windows))
    keys = jax.vmap(jax.random.fold_in)
    hash_W = np.array([elbo.record_hash(windows.ids[t]) for t in windows.track_W], np.uint32)
    key_W = jax.numpy.broadcast_to(run.stream_key(elbo.Stream.EVALUATE), hash_W.shape)
    key_W = keys(keys(key_W, hash_W), windows.part_W.astype(np.uint32))

    @jax.jit
    def terms(params, x0_WxL):
        def log_score(x, sigma):
            return run.log_score(params, x, sigma)

        return bound_terms(
            log_score, run.graph, run.noise, x0_WxL, key_W, num_t=num_levels, counts_BxL=counts_WxL
        )

    length = run.config.model.length
    counts_WxL = np.arange(length)[None] >= length - windows.counted_W[:, None]
    bound = terms(params, windows.tokens_WxL.astype(np.int32))
    integral = float(bound.diffusion_B.sum()) / windows.counted_W.sum() / math.log(2)

    t_S = np.asarray(bound.t_BxS).ravel()
    tokens_S = np.repeat(windows.counted_W, num_levels)
    weights, _ = np.histogram(t_S, bins=np.arange(11) / 10, weights=tokens_S)
    average = np.average([measurement.bits_by_t[name] for name in BINS], weights=weights)
    assert average == pytest.approx(integral, rel=1e-5)


def test_times_and_integrand_belong_together():
    """A uniform guess of absorbed tokens costs log K / t for each: so a whole number of them."""
    graph = Absorbing(32)
    x0_BxL = jax.numpy.zeros((8, 16), jax.numpy.int32)
    keys = jax.random.split(jax.random.key(0), 8)
    bound = bound_terms(elbo.uniform_guess(graph), graph, LogLinear(), x0_BxL, keys, num_t=3)
    count_BxS = np.asarray(bound.integrand_BxS * bound.t_BxS) / math.log(32)
    np.testing.assert_allclose(count_BxS, count_BxS.round(), atol=2e-3)
    assert len(np.unique(count_BxS.round())) > 4


def test_a_bin_is_the_mean_of_its_samples():
    t_WxS = np.array([[0.05, 0.91], [0.09, 0.65]])
    bound = SplitBound(
        np.zeros(2), np.zeros(2), t_WxS, np.array([[1.0, 8.0], [3.0, 5.0]]) * math.log(2)
    )
    bits = elbo.bits_by_t(bound, np.array([2, 2]))
    assert bits == pytest.approx({"0.0-0.1": 1.0, "0.6-0.7": 2.5, "0.9-1.0": 4.0})
    edge = SplitBound(np.zeros(1), np.zeros(1), np.array([[1.0]]), np.array([[1.0]]))
    assert list(elbo.bits_by_t(edge, np.ones(1))) == ["0.9-1.0"]


def test_levels_are_as_few_as_fill_all_bins():
    assert [levels_per_window(n) for n in (1, 16, 17, 51, 52, 10_000)] == [10, 10, 5, 5, 2, 2]
    # Ten windows at two levels would leave bins empty.
    rng = np.random.default_rng(0)
    t_WxS = (np.arange(2) + rng.random((52, 2))) / 2
    bound = SplitBound(np.zeros(52), np.zeros(52), t_WxS, np.ones((52, 2)))
    assert list(elbo.bits_by_t(bound, np.ones(52))) == BINS


def test_it_repeats_and_follows_the_parameters(measured):
    _, params, validation, measurement = measured
    assert validation.measure(params) == measurement
    other = validation.measure(jax.tree.map(lambda x: 1.1 * x, params))
    assert other.bits_per_token.mean != measurement.bits_per_token.mean
    assert other.bits_by_t["0.4-0.5"] != measurement.bits_by_t["0.4-0.5"]


def test_windows_are_spread_over_the_split(dataset):
    run, _ = make_run(training__batch_size=2)
    tracks = Validation(run, dataset, "validation")._windows.track_W
    np.testing.assert_array_equal(tracks, [0, 1])


def test_a_split_that_cannot_be_measured(tmp_path):
    tokens = TokenDataset(write_dataset(tmp_path / "tokens", {"train": [40], "validation": [3]}))
    run, _ = make_run(evaluation__every=5)
    with pytest.raises(UserError, match="tracks of split 'validation' have 3 tokens"):
        Validation(run, tokens, "validation")
    assert make_validation(run, tokens, "validation") is None
    never, _ = make_run(evaluation__every=0)
    assert make_validation(never, tokens, "train") is None


def test_one_track_is_trained_without_validation(tmp_path, caplog):
    run, _ = make_run(evaluation__every=5)
    alone = TokenDataset(write_dataset(tmp_path / "tokens", {"train": [40]}))
    assert make_validation(run, alone, "validation") is None
    assert "training without validation" in caplog.text
    assert "has no split 'validation', only train" in caplog.text


def test_a_rise_is_said_once_when_it_is_no_chance():
    trend = Trend((4.0, 10))
    said = [trend.add(step, bits) for step, bits in enumerate([4.1, 3.5, 3.6, 3.7, 3.6, 3.8, 3.9])]
    assert [text is not None for text in said] == [False] * 4 + [True, False, False]
    assert "risen from 3.5000 bits per token at step 1 to 3.6000" in said[4]
