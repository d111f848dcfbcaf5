"""The train state and its update: AdamW, clipping, warm-up and EMA as the published program has.

An update that is not finite is refused.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from sedd_jax.errors import UserError

Params = Any  # nested dict of fp32 arrays


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything that training changes.

    step counts batches seen: it places the next batch in the data and keys its randomness.
    teacher: the parameters that a run which distils started from; None in any other.
    skipped counts those whose update was not finite and so was left out; warm-up, Adam's bias
    correction and the EMA count the others, `num_updates`.
    """

    step: jax.Array  # [] int32
    params: Params
    opt_state: optax.OptState
    ema_params: Params
    skipped: jax.Array  # [] int32
    consecutive_skips: jax.Array  # [] int32
    teacher: Params | None = None

    @property
    def num_updates(self) -> jax.Array:
        return self.step - self.skipped


def learning_rate(optim: ConfigDict, num_updates: jax.Array) -> jax.Array:
    """The rate of the update after `num_updates` of them: linear warm-up, then constant."""
    warmup = max(optim.warmup_steps, 1)
    return optim.learning_rate * jnp.minimum((num_updates + 1) / warmup, 1.0)


def make_optimizer(optim: ConfigDict) -> optax.GradientTransformation:
    """AdamW as PyTorch's: decay lr·weight_decay·p beside the update, eps outside the root."""
    return optax.adamw(
        lambda num_updates: learning_rate(optim, num_updates),
        b1=optim.b1,
        b2=optim.b2,
        eps=optim.eps,
        weight_decay=optim.weight_decay,
    )


def trained_part(params: Params, fragments: Sequence[str]) -> Params:
    """The parameters whose path, as "blocks/adaLN/kernel", contains one of the fragments.

    All of them where there are no fragments. Raises UserError for a fragment that no path contains.
    """
    paths = flatten_dict(params, sep="/")
    for fragment in fragments:
        if not any(fragment in path for path in paths):
            raise UserError(
                f"config.optim.trainable {fragment!r} is part of no parameter's path; there are "
                + ", ".join(sorted(paths))
            )
    if not fragments:
        return params
    kept = {path: x for path, x in paths.items() if any(part in path for part in fragments)}
    return unflatten_dict(kept, sep="/")


def with_part(params: Params, part: Params) -> Params:
    """The parameters with those of `part`, a subtree as of `trained_part`, in their places."""
    return unflatten_dict(flatten_dict(params) | flatten_dict(part))


def init_state(params: Params, optim: ConfigDict, *, keeps_teacher: bool = False) -> TrainState:
    """The state before the first step; the optimizer holds moments of what is trained alone.

    keeps_teacher: whether the parameters are those of a teacher as well, which stays as it is.
    """
    # Separate arrays throughout: a buffer that the state held twice could not be donated.
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=make_optimizer(optim).init(trained_part(params, optim.trainable)),
        ema_params=jax.tree.map(jnp.copy, params),
        skipped=jnp.zeros((), jnp.int32),
        consecutive_skips=jnp.zeros((), jnp.int32),
        teacher=jax.tree.map(jnp.copy, params) if keeps_teacher else None,
    )


def ema_update(ema_params: Params, params: Params, num_updates: jax.Array, decay: float) -> Params:
    """ema ← ema − (1 − d)(ema − params) with d = min(decay, (1+n)/(10+n)), n updates so far."""
    rate = 1.0 - jnp.minimum(decay, (1.0 + num_updates) / (10.0 + num_updates))
    return jax.tree.map(lambda ema, p: ema - rate * (ema - p), ema_params, params)


def clip(grads: Params, grad_norm: jax.Array, max_norm: float) -> Params:
    """Gradients of global norm at most `max_norm`, as torch's clip_grad_norm_; ≤ 0: untouched."""
    if max_norm <= 0:
        return grads
    factor = jnp.minimum(max_norm / (grad_norm + 1e-6), 1.0)
    return jax.tree.map(lambda g: g * factor, grads)


def update(
    state: TrainState, grads: Params, loss: jax.Array, config: ConfigDict
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One optimizer step: clip, AdamW, EMA; nothing of them when loss or gradient is not finite.

    What conditions are embedded with takes steps config.optim.condition_rate times as long, decay
    included: it starts at zero and is added to the embedding of σ, whose norm grows to tens, while
    Adam moves an entry by the learning rate at most.

    grads: of the batch's mean loss in the parameters that are trained; loss: []. Returns the new
    state and grad_norm (before clipping), learning_rate, skipped, consecutive_skips, all [].
    """
    grad_norm = optax.tree.norm(grads)
    finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
    old_params, old_ema_params = (
        trained_part(whole, config.optim.trainable) for whole in (state.params, state.ema_params)
    )

    updates, opt_state = make_optimizer(config.optim).update(
        clip(grads, grad_norm, config.optim.clip_norm), state.opt_state, old_params
    )
    if "condition" in updates:
        rate = config.optim.condition_rate
        updates = updates | {"condition": jax.tree.map(lambda u: rate * u, updates["condition"])}
    params = optax.apply_updates(old_params, updates)
    ema_params = ema_update(
        old_ema_params, params, state.num_updates + 1, config.training.ema_decay
    )

    def keep_if_finite(new, old):
        return jax.tree.map(lambda n, o: jnp.where(finite, n, o), new, old)

    new_state = TrainState(
        step=state.step + 1,
        params=with_part(state.params, keep_if_finite(params, old_params)),
        opt_state=keep_if_finite(opt_state, state.opt_state),
        ema_params=with_part(state.ema_params, keep_if_finite(ema_params, old_ema_params)),
        skipped=state.skipped + ~finite,
        consecutive_skips=jnp.where(finite, 0, state.consecutive_skips + 1),
        teacher=state.teacher,
    )
    return new_state, {
        "grad_norm": grad_norm,
        "learning_rate": learning_rate(config.optim, state.num_updates),
        "skipped": new_state.skipped,
        "consecutive_skips": new_state.consecutive_skips,
    }
