"""The training step: one function for the loop, the benchmark and ahead-of-time compilation.

B rows of the global batch, A microbatches, L length.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sedd_jax.conditions import Condition
from sedd_jax.diffusion.jump import uniform_rows
from sedd_jax.diffusion.loss import training_t
from sedd_jax.diffusion.parametrisation import training_loss
from sedd_jax.diffusion.span_masks import span_masked
from sedd_jax.model import ModelDef, Stream
from sedd_jax.parallel import mesh as mesh_lib
from sedd_jax.state import Params, TrainState, trained_part, update, with_part

Metrics = dict[str, jax.Array]


class Noised(NamedTuple):
    """A batch with all the randomness of a step drawn. dropout_key_B: None for no dropout;
    condition: what is left of it, None in an unconditional run; t_B, xt_BxL: None of an
    autoregressive model, which knows no noise; teacher_key_B: None but where there is a teacher."""

    x0_BxL: jax.Array
    t_B: jax.Array | None
    xt_BxL: jax.Array | None
    dropout_key_B: jax.Array | None
    condition: Condition | None = None
    teacher_key_B: jax.Array | None = None


def draw(
    run: ModelDef, key: jax.Array, x0_BxL: jax.Array, condition: Condition | None = None
) -> Noised:
    """A batch noised, with times stratified over it, and with noise and dropout keys by row.

    So what a row gets depends on neither the microbatch that it rides in nor the device.
    """
    t_key, noise_key, dropout_key = jax.random.split(key, 3)
    rows_B = jnp.arange(x0_BxL.shape[0])
    row_keys = jax.vmap(jax.random.fold_in, (None, 0))
    if condition is not None:
        # Not a fourth of the split, so that the three are those of an unconditional run.
        condition = drop_conditions(run, row_keys(jax.random.fold_in(key, 3), rows_B), condition)
    if run.is_autoregressive:
        return Noised(x0_BxL, None, None, row_keys(dropout_key, rows_B), condition)
    training = run.config.training
    t_B = training_t(
        t_key, x0_BxL.shape[0], training.high_noise_share, from_t=training.high_noise_from
    )
    noise_key_B, dropout_key_B = row_keys(noise_key, rows_B), row_keys(dropout_key, rows_B)
    if run.distillation:
        xt_BxL = run.distillation.masked(run.graph, noise_key_B, x0_BxL, t_B)
        return Noised(x0_BxL, t_B, xt_BxL, dropout_key_B, condition, teacher_key_B=noise_key_B)
    if training.span_masks:
        xt_BxL, t_B = span_masked(
            run.graph, run.training_noise, noise_key_B, x0_BxL, t_B, training.span_masks
        )
    else:
        xt_BxL = run.graph.perturb(noise_key_B, x0_BxL, run.training_noise(t_B).sigma)
    return Noised(x0_BxL, t_B, xt_BxL, dropout_key_B, condition)


def drop_conditions(run: ModelDef, key_B: jax.Array, condition: Condition) -> Condition:
    """The condition without the tags and vectors that training leaves out by chance.

    All of a row's go with probability config.conditioning.drop_all, which teaches the unconditional
    model, and each by itself with drop_each, which teaches fewer than a track has.
    """
    conditioning, tags_BxN = run.config.conditioning, condition.get("tags")
    vectors = condition.get("vectors", {})
    num_tags = 0 if tags_BxN is None else tags_BxN.shape[1]
    u_Bx1P = uniform_rows(key_B, 1 + num_tags + len(vectors))  # P: tags, then vectors
    dropped_BxP = u_Bx1P[:, 1:] < conditioning.drop_each
    dropped_BxP |= u_Bx1P[:, :1] < conditioning.drop_all
    left = {}
    if tags_BxN is not None:
        left["tags"] = jnp.where(dropped_BxP[:, :num_tags], len(run.vocabulary), tags_BxN)
    if vectors:
        left["vectors"] = {
            kind: jnp.where(dropped_BxP[:, i, None], 0.0, vectors[kind])
            for i, kind in enumerate(sorted(vectors), start=num_tags)
        }
    return left


def mean_loss(
    run: ModelDef, params: Params, batch: Noised, teacher: Params | None = None
) -> jax.Array:
    """The batch mean of the loss of the run's parametrisation: [] fp32, in nats a row.

    Of an autoregressive model, it is that of each token given those before it; of a run that
    distils, the divergence from its teacher.
    """
    options = {"dropout_key_B": batch.dropout_key_B, "condition": batch.condition}
    if run.is_autoregressive:
        return run.token_nats(params, batch.x0_BxL, **options).sum(-1).mean()

    assert batch.t_B is not None and batch.xt_BxL is not None

    def output_fn(x_BxL, sigma_B):
        return run.output(params, x_BxL, sigma_B, **options)

    if distillation := run.distillation:
        graph, noise, t_B, xt_BxL = run.graph, run.noise, batch.t_B, batch.xt_BxL

        def student_fn(x_BxL, sigma_B):
            return run.parametrisation.log_score(output_fn(x_BxL, sigma_B), x_BxL, sigma_B)

        def teacher_fn(x_BxL, sigma_B):
            return run.log_score(teacher, x_BxL, sigma_B, condition=batch.condition)

        lesson = distillation.lesson(teacher_fn, graph, noise, batch.teacher_key_B, xt_BxL, t_B)
        return distillation.loss(student_fn, lesson, graph, noise, xt_BxL, t_B).mean()

    return training_loss(
        run.parametrisation, output_fn, run.training_noise, batch.x0_BxL, batch.t_B, batch.xt_BxL
    ).mean()


def loss_and_grads(
    run: ModelDef, params: Params, batch: Noised, teacher: Params | None = None
) -> tuple[jax.Array, Params]:
    """Mean loss and its gradient, over config.training.accumulation microbatches in turn.

    The gradient is that in the parameters of config.optim.trainable: of the others none is made.
    """
    value_and_grad = jax.value_and_grad(
        lambda trained, part: mean_loss(run, with_part(params, trained), part, teacher)
    )
    trained = trained_part(params, run.config.optim.trainable)
    accumulation = run.config.training.accumulation
    if accumulation == 1:
        return value_and_grad(trained, batch)

    def split(x):  # (B, …) → (A, B/A, …)
        # Every A-th row, so that each device finds its share of a microbatch among its own rows.
        x = x.reshape(x.shape[0] // accumulation, accumulation, *x.shape[1:]).swapaxes(0, 1)
        return jax.lax.with_sharding_constraint(x, mesh_lib.microbatch_sharding(run.mesh))

    def add(total, part):
        return jax.tree.map(jnp.add, total, value_and_grad(trained, part)), None

    zero = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, trained))
    total, _ = jax.lax.scan(add, zero, jax.tree.map(split, batch))
    return jax.tree.map(lambda x: x / accumulation, total)


def train_step(
    run: ModelDef, state: TrainState, x0_BxL: jax.Array, condition: Condition | None = None
) -> tuple[TrainState, Metrics]:
    """One step on a global batch of clean tokens (B, L) int32, and the condition of its rows.

    Metrics, all []: loss (nats a row), nats_per_token, grad_norm, learning_rate, skipped,
    consecutive_skips.
    """
    key = jax.random.fold_in(run.stream_key(Stream.TRAIN), state.step)
    batch = draw(run, key, x0_BxL, condition)
    loss, grads = loss_and_grads(run, state.params, batch, state.teacher)
    state, metrics = update(state, grads, loss, run.config)
    return state, {"loss": loss, "nats_per_token": loss / x0_BxL.shape[1]} | metrics


def batch_shapes(run: ModelDef) -> tuple[Any, ...]:
    """The shapes of a step's arguments beside the state, with shardings.

    They are those of tokens (B, L) and, in a conditional run, of their condition.
    """
    batch_size, sharding = run.config.training.batch_size, mesh_lib.batch_sharding(run.mesh)
    tokens = jax.ShapeDtypeStruct(
        (batch_size, run.config.model.length), jnp.int32, sharding=sharding
    )
    condition = run.vocabulary.condition([()] * batch_size)
    if condition is None:
        return (tokens,)
    return tokens, jax.tree.map(
        lambda rows: jax.ShapeDtypeStruct(rows.shape, rows.dtype, sharding=sharding), condition
    )


def jit_train_step(run: ModelDef) -> Callable[..., tuple[TrainState, Metrics]]:
    """`train_step` of a run, compiled: (state, tokens[, condition]) → (state, metrics).

    It is compiled for the run's mesh; the state passed in is donated.
    """
    shapes = run.state_shapes()
    shardings = jax.tree.map(lambda shape: shape.sharding, shapes)
    return jax.jit(
        lambda state, *batch: train_step(run, state, *batch),
        in_shardings=(shardings, *[mesh_lib.batch_sharding(run.mesh)] * len(batch_shapes(run))),
        out_shardings=(shardings, mesh_lib.replicated(run.mesh)),
        donate_argnums=0,
    )


def compile_train_step(run: ModelDef) -> Callable[..., tuple[TrainState, Metrics]]:
    """`jit_train_step` compiled now, so that a loop's first step is a step like any other."""
    return jit_train_step(run).lower(run.state_shapes(), *batch_shapes(run)).compile()
