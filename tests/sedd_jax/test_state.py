import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sedd_jax import state as state_lib
from tests.sedd_jax.toy import toy_config

SHAPES = {"kernel": (3, 4), "bias": (4,)}


def random_tree(seed):
    rng = np.random.default_rng(seed)
    return {k: jnp.asarray(rng.normal(size=shape), jnp.float32) for k, shape in SHAPES.items()}


def published_update(p, g, m, v, ema, n, config):
    """Update number n ≥ 1 as PyTorch's AdamW, clip_grad_norm_ and the published EMA do it."""
    optim = config.optim
    norm = np.sqrt(sum((x.astype(np.float64) ** 2).sum() for x in g.values()))
    factor = min(1.0, optim.clip_norm / (norm + 1e-6)) if optim.clip_norm > 0 else 1.0
    lr = optim.learning_rate * (min(n / optim.warmup_steps, 1.0) if optim.warmup_steps else 1.0)
    decay = min(config.training.ema_decay, (1 + n) / (10 + n))
    for k in p:
        grad = g[k] * factor
        p[k] = p[k] * (1 - lr * optim.weight_decay)
        m[k] = optim.b1 * m[k] + (1 - optim.b1) * grad
        v[k] = optim.b2 * v[k] + (1 - optim.b2) * grad**2
        denominator = np.sqrt(v[k] / (1 - optim.b2**n)) + optim.eps
        p[k] = p[k] - lr * (m[k] / (1 - optim.b1**n)) / denominator
        ema[k] = ema[k] - (1 - decay) * (ema[k] - p[k])


@pytest.mark.parametrize(
    "overrides",
    [
        {"optim__clip_norm": 1.0, "optim__warmup_steps": 4},
        {"optim__clip_norm": -1.0, "optim__warmup_steps": 0, "optim__weight_decay": 0.3},
        {"optim__eps": 0.1, "training__ema_decay": 0.2},
    ],
)
def test_updates_are_the_published_ones(overrides):
    config = toy_config(**({"optim__learning_rate": 0.01} | overrides))
    params = random_tree(0)
    state = state_lib.init_state(params, config.optim)
    p, m, v, ema = ({k: np.asarray(x, np.float64) for k, x in params.items()} for _ in range(4))
    m, v = ({k: np.zeros(shape) for k, shape in SHAPES.items()} for _ in range(2))
    step = jax.jit(lambda state, grads: state_lib.update(state, grads, jnp.zeros(()), config))
    for n in range(1, 8):
        grads = random_tree(n)
        state, _ = step(state, grads)
        published_update(p, {k: np.asarray(x) for k, x in grads.items()}, m, v, ema, n, config)
    for k in SHAPES:
        np.testing.assert_allclose(state.params[k], p[k], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(state.ema_params[k], ema[k], rtol=1e-5, atol=1e-7)
    assert not np.allclose(state.params["bias"], state.ema_params["bias"], rtol=1e-4)


def test_what_is_not_trained_stays_and_the_rest_is_updated_as_if_alone():
    config = toy_config(optim__trainable=("bi",), optim__clip_norm=0.1)
    params = random_tree(0)
    state, m, v = state_lib.init_state(params, config.optim), {"bias": 0.0}, {"bias": 0.0}
    assert set(state.opt_state[0].mu) == {"bias"}
    p, ema = ({"bias": np.asarray(params["bias"], np.float64)} for _ in range(2))
    step = jax.jit(lambda state, grads: state_lib.update(state, grads, jnp.zeros(()), config))
    for n in range(1, 4):
        grads = state_lib.trained_part(random_tree(n), config.optim.trainable)
        state, _ = step(state, grads)
        published_update(p, {"bias": np.asarray(grads["bias"])}, m, v, ema, n, config)
    np.testing.assert_allclose(state.params["bias"], p["bias"], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(state.ema_params["bias"], ema["bias"], rtol=1e-5, atol=1e-7)
    for tree in (state.params, state.ema_params):
        np.testing.assert_array_equal(tree["kernel"], params["kernel"])


def test_conditions_take_longer_steps_and_nothing_else_does():
    def moved(rate):
        config = toy_config(optim__condition_rate=rate)
        params = random_tree(0) | {"condition": random_tree(9)}
        grads = random_tree(1) | {"condition": random_tree(10)}
        state = state_lib.init_state(params, config.optim)
        state, _ = state_lib.update(state, grads, jnp.zeros(()), config)
        return jax.tree.map(jnp.subtract, state.params, params)

    plain, longer = moved(1.0), moved(4.0)
    np.testing.assert_array_equal(plain["kernel"], longer["kernel"])
    np.testing.assert_allclose(
        longer["condition"]["bias"], 4 * plain["condition"]["bias"], rtol=1e-3
    )


def test_warm_up_starts_at_one_step_and_ends_at_the_rate():
    optim = toy_config(optim__learning_rate=0.5, optim__warmup_steps=4).optim
    rates = [float(state_lib.learning_rate(optim, jnp.int32(n))) for n in range(6)]
    np.testing.assert_allclose(rates, [0.125, 0.25, 0.375, 0.5, 0.5, 0.5])
    optim.warmup_steps = 0
    assert float(state_lib.learning_rate(optim, jnp.int32(0))) == 0.5


def leaves_equal(a, b):
    return all(
        np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


@pytest.mark.parametrize("bad", ["loss", "nan", "inf"])
def test_an_update_that_is_not_finite_changes_nothing_but_the_counters(bad):
    config = toy_config()
    step = jax.jit(lambda state, grads, loss: state_lib.update(state, grads, loss, config))
    loss = jnp.float32(1.0)
    before, _ = step(state_lib.init_state(random_tree(0), config.optim), random_tree(1), loss)
    grads = random_tree(2)
    if bad == "loss":
        after, metrics = step(before, grads, jnp.float32(jnp.nan))
    else:
        grads["bias"] = grads["bias"].at[2].set(float(bad))
        after, metrics = step(before, grads, loss)

    for name in ("params", "opt_state", "ema_params"):
        assert leaves_equal(getattr(before, name), getattr(after, name))
    assert (after.step, after.skipped, after.consecutive_skips) == (2, 1, 1)
    assert (metrics["skipped"], metrics["consecutive_skips"]) == (1, 1)

    # The next good update is the one that would have followed `before`.
    healed, metrics = step(after, random_tree(3), loss)
    undisturbed, _ = step(before, random_tree(3), loss)
    assert leaves_equal(healed.params, undisturbed.params)
    assert leaves_equal(healed.ema_params, undisturbed.ema_params)
    assert (healed.step, healed.skipped, healed.consecutive_skips) == (3, 1, 0)
    assert not leaves_equal(healed.params, before.params)


def test_clip_bounds_the_norm_and_leaves_small_gradients_alone():
    grads = random_tree(0)
    norm = optax.tree.norm(grads)
    clipped = state_lib.clip(grads, norm, 0.5)
    np.testing.assert_allclose(optax.tree.norm(clipped), 0.5, rtol=1e-5)
    assert leaves_equal(state_lib.clip(grads, norm, 1e6), grads)
    assert leaves_equal(state_lib.clip(grads, norm, 0.0), grads)
