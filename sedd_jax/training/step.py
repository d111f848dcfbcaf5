"""The training step: one function for the loop, the benchmark and ahead-of-time compilation.

B rows of the global batch, A microbatches, L length.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sedd_jax.diffusion.loss import dwdse_loss, stratified_t
from sedd_jax.model import ModelDef, Stream
from sedd_jax.parallel import mesh as mesh_lib
from sedd_jax.state import Params, TrainState, update

Metrics = dict[str, jax.Array]


class Noised(NamedTuple):
    """A batch with all the randomness of a step drawn. dropout_key_B: None for no dropout."""

    x0_BxL: jax.Array
    t_B: jax.Array
    xt_BxL: jax.Array
    dropout_key_B: jax.Array | None


def draw(run: ModelDef, key: jax.Array, x0_BxL: jax.Array) -> Noised:
    """Times stratified over the batch, and noise and dropout keys by row: what a row gets depends
    on neither the microbatch it rides in nor the device."""
    t_key, noise_key, dropout_key = jax.random.split(key, 3)
    rows_B = jnp.arange(x0_BxL.shape[0])
    row_keys = jax.vmap(jax.random.fold_in, (None, 0))
    t_B = stratified_t(t_key, x0_BxL.shape[0])
    xt_BxL = run.graph.perturb(row_keys(noise_key, rows_B), x0_BxL, run.noise(t_B)[0])
    return Noised(x0_BxL, t_B, xt_BxL, row_keys(dropout_key, rows_B))


def mean_loss(run: ModelDef, params: Params, batch: Noised) -> jax.Array:
    """The batch mean of the DWDSE loss, summed over positions: [] fp32, in nats."""

    def log_score_fn(x_BxL, sigma_B):
        return run.log_score(params, x_BxL, sigma_B, dropout_key_B=batch.dropout_key_B)

    result = dwdse_loss(log_score_fn, run.graph, run.noise, batch.x0_BxL, batch.t_B, batch.xt_BxL)
    return result.loss_B.mean()


def loss_and_grads(run: ModelDef, params: Params, batch: Noised) -> tuple[jax.Array, Params]:
    """Mean loss and its gradient, over config.training.accumulation microbatches in turn."""
    value_and_grad = jax.value_and_grad(lambda params, part: mean_loss(run, params, part))
    accumulation = run.config.training.accumulation
    if accumulation == 1:
        return value_and_grad(params, batch)

    def split(x):  # (B, …) → (A, B/A, …)
        # Every A-th row, so that each device finds its share of a microbatch among its own rows.
        x = x.reshape(x.shape[0] // accumulation, accumulation, *x.shape[1:]).swapaxes(0, 1)
        return jax.lax.with_sharding_constraint(x, mesh_lib.microbatch_sharding(run.mesh))

    def add(total, part):
        return jax.tree.map(jnp.add, total, value_and_grad(params, part)), None

    zero = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, params))
    total, _ = jax.lax.scan(add, zero, jax.tree.map(split, batch))
    return jax.tree.map(lambda x: x / accumulation, total)


def train_step(run: ModelDef, state: TrainState, x0_BxL: jax.Array) -> tuple[TrainState, Metrics]:
    """One step on a global batch of clean tokens (B, L) int32.

    Metrics, all []: loss (nats a row), nats_per_token, grad_norm, learning_rate, skipped,
    consecutive_skips.
    """
    key = jax.random.fold_in(run.stream_key(Stream.TRAIN), state.step)
    loss, grads = loss_and_grads(run, state.params, draw(run, key, x0_BxL))
    state, metrics = update(state, grads, loss, run.config)
    return state, {"loss": loss, "nats_per_token": loss / x0_BxL.shape[1]} | metrics


def jit_train_step(run: ModelDef) -> Callable[[TrainState, jax.Array], tuple[TrainState, Metrics]]:
    """`train_step` of a run, compiled for its mesh; the state passed in is donated."""
    shapes = run.state_shapes()
    shardings = jax.tree.map(lambda shape: shape.sharding, shapes)
    return jax.jit(
        lambda state, x0_BxL: train_step(run, state, x0_BxL),
        in_shardings=(shardings, mesh_lib.batch_sharding(run.mesh)),
        out_shardings=(shardings, mesh_lib.replicated(run.mesh)),
        donate_argnums=0,
    )


def compile_train_step(
    run: ModelDef,
) -> Callable[[TrainState, jax.Array], tuple[TrainState, Metrics]]:
    """`jit_train_step` compiled now, so that a loop's first step is a step like any other."""
    shape = (run.config.training.batch_size, run.config.model.length)
    batch = jax.ShapeDtypeStruct(shape, jnp.int32, sharding=mesh_lib.batch_sharding(run.mesh))
    return jit_train_step(run).lower(run.state_shapes(), batch).compile()
