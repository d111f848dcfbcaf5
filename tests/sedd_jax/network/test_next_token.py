"""The network as a model of the next token: it looks back alone, and its probabilities add up."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sedd_jax.network import next_token
from tests.sedd_jax.network.small import CONFIG, noisy_params

CAUSAL = dataclasses.replace(CONFIG, causal=True)
NUM_CODES = CAUSAL.vocab_size - 1
jit_log_probs = jax.jit(next_token.log_probs, static_argnums=0)
jit_nats = jax.jit(next_token.nats, static_argnums=0)


@pytest.mark.parametrize(("attention", "length"), [("xla", 12), ("loop", 12), ("splash", 128)])
def test_a_token_changes_what_comes_behind_it_and_nothing_else(attention, length):
    config = dataclasses.replace(CAUSAL, attention=attention, length=length)
    params = noisy_params(config)
    tokens_BxL = np.random.default_rng(0).integers(0, NUM_CODES, (4, length)).astype(np.int32)
    before_BxLxK = np.asarray(jit_log_probs(config, params, tokens_BxL))
    for j in (0, length // 2, length - 1):
        changed_BxL = tokens_BxL.copy()
        changed_BxL[:, j] = (changed_BxL[:, j] + 1) % NUM_CODES
        after_BxLxK = np.asarray(jit_log_probs(config, params, changed_BxL))
        np.testing.assert_array_equal(after_BxLxK[:, : j + 1], before_BxLxK[:, : j + 1])
        differs_BxL = (after_BxLxK != before_BxLxK).any(-1)
        assert differs_BxL[:, j + 1 :].all()


def test_the_probabilities_of_all_sequences_add_up_to_one():
    config = dataclasses.replace(CAUSAL, vocab_size=4, length=3)
    sequences_NxL = np.array(list(itertools.product(range(3), repeat=3)), np.int32)
    params = jax.tree.map(lambda p: 3 * p, noisy_params(config))
    nats_N = np.asarray(jit_nats(config, params, sequences_NxL), np.float64).sum(1)
    assert np.exp(-nats_N).sum() == pytest.approx(1, abs=1e-6)
    assert nats_N.std() > 0.3  # a network that prefers some


def test_a_cost_is_that_of_the_token_and_of_the_mask_none():
    params = noisy_params(CAUSAL)
    tokens_BxL = np.random.default_rng(0).integers(0, NUM_CODES, (3, 12)).astype(np.int32)
    tokens_BxL[1, 4] = NUM_CODES
    log_prob_BxLxK = jit_log_probs(CAUSAL, params, tokens_BxL)
    nats_BxL = np.asarray(jit_nats(CAUSAL, params, tokens_BxL))
    padded_BxLxV = jnp.pad(log_prob_BxLxK, ((0, 0), (0, 0), (0, 1)))
    wanted_BxL = -jnp.take_along_axis(padded_BxLxV, tokens_BxL[..., None], axis=-1)[..., 0]
    np.testing.assert_array_equal(nats_BxL, wanted_BxL)
    assert nats_BxL[1, 4] == 0 and (nats_BxL > 0).sum() == nats_BxL.size - 1


def test_the_first_token_is_given_a_condition_alone():
    config = dataclasses.replace(CAUSAL, num_tags=3)
    params = noisy_params(config)
    tokens_BxL = np.random.default_rng(0).integers(0, NUM_CODES, (2, 12)).astype(np.int32)
    log_probs = functools.partial(jit_log_probs, config, params, tokens_BxL)
    none, one = (log_probs(condition={"tags": np.full((2, 1), i, np.int32)}) for i in (3, 0))
    np.testing.assert_array_equal(none[0, 0], none[1, 0])
    assert np.abs(none - one).max(axis=-1).min() > 1e-3  # it moves every position
