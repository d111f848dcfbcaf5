"""The SEDD half of the reference check: our diffusion, network and training against the published.

B batch, L length, V vocabulary with mask, S training steps.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict
from numpy.typing import ArrayLike

from configs import music_small
from sedd_jax import config as config_lib
from sedd_jax.diffusion.loss import LogScoreFn, dwdse_loss
from sedd_jax.errors import UserError
from sedd_jax.model import ModelDef, build
from sedd_jax.state import Params, TrainState, clip, init_state, update
from sedd_jax.training.step import Noised, loss_and_grads
from sedd_jax.weights.torch_weights import to_params
from tests import published_rounding, published_sedd
from tests.reference_rows import (
    BadReference,
    Reference,
    Row,
    absolute,
    of_largest,
    of_rows_largest,
    relative,
    relative_l2,
)

GRAPH_NAMES = {"absorb": "absorbing", "uniform": "uniform"}
QUANTITIES = {
    "noise": ["t", "sigma", "dsigma"],
    "forward": ["x", "t", "sigma", "dsigma", "log_score"],
    "loss": ["x0", "xt", "t", "score_entropy", "loss"],
    "step": ["dt", "t_next", "euler", "analytic", "denoise"],
    "train": ["x0", "t", "xt", "loss", "grad_norm"],
}
NOISE_BOUND = 1e-6
ARRAY_BOUND = 1e-4
TRAIN_BOUND = 1e-3


def check(reference: Reference) -> list[Row]:
    """Errors of noise, network, loss, sampler steps, and a short training.

    Raises:
      BadReference: a quantity is missing, or the configuration is not one of SEDD.
    """
    reference.require(f"{group}/{name}" for group, names in QUANTITIES.items() for name in names)
    run = make_run(reference)
    params = read_params(reference, run, "weights/")
    network_fn = jax.jit(functools.partial(run.log_score, params))
    return [
        *check_noise(reference, run),
        *check_network_and_loss(reference, run, network_fn),
        *check_sampler_steps(reference, run, network_fn),
        *check_training(reference, run, params),
    ]


def make_run(reference: Reference) -> ModelDef:
    """Our run of the published configuration that the file carries."""
    published = reference.config
    try:
        config = music_small.get_config().to_dict()
        config["graph"]["type"] = GRAPH_NAMES[published["graph"]["type"]]
        config["noise"] |= published["noise"]
        model, optim = published["model"], published["optim"]
        config["model"] |= {
            "num_blocks": model["n_blocks"],
            "width": model["hidden_size"],
            "num_heads": model["n_heads"],
            "cond_dim": model["cond_dim"],
            "length": model["length"],
            "dropout": model["dropout"],
            "scale_by_sigma": model["scale_by_sigma"],
            "compute_dtype": "float32",
        }
        config["optim"] = {
            "learning_rate": optim["lr"],
            "warmup_steps": optim["warmup"],
            "b1": optim["beta1"],
            "b2": optim["beta2"],
            "eps": optim["eps"],
            "weight_decay": optim["weight_decay"],
            "clip_norm": optim["grad_clip"],
        }
        config["training"]["ema_decay"] = published["training"]["ema"]
        return build(config_lib.from_dict(config), {"codebook_size": published["tokens"]})
    except (KeyError, TypeError, ValueError, UserError) as error:
        raise BadReference(f"no SEDD configuration ({error})") from error


def read_params(reference: Reference, run: ModelDef, prefix: str) -> Params:
    """The weights below `prefix`, in our layout."""
    try:
        params = jax.tree.map(jnp.asarray, to_params(reference.below(prefix)))
    except (KeyError, ValueError, UserError) as error:
        raise BadReference(f"{prefix}… are no SEDD weights ({error})") from error
    if jax.tree.map(jnp.shape, params) != jax.tree.map(jnp.shape, run.state_shapes().params):
        raise BadReference(f"{prefix}… are not of the sizes in config")
    return params


def check_noise(reference: Reference, run: ModelDef) -> list[Row]:
    """σ and σ′, on the grid and at the times of the network's input."""
    rows = []
    for where in ["noise", "forward"]:
        sigma, dsigma = run.noise(jnp.asarray(reference[f"{where}/t"]))
        for name, ours in [("sigma", sigma), ("dsigma", dsigma)]:
            error = relative(ours, reference[f"{where}/{name}"])
            rows.append(Row(f"{where}/{name} (relative)", error, NOISE_BOUND))
    return rows


def check_network_and_loss(
    reference: Reference, run: ModelDef, network_fn: LogScoreFn
) -> list[Row]:
    """Network output at the given noise, and the loss of a given perturbation."""
    log_score_BxLxV = network_fn(tokens(reference, "forward/x"), reference["forward/sigma"])
    x0_BxL, xt_BxL = tokens(reference, "loss/x0"), tokens(reference, "loss/xt")
    t_B = jnp.asarray(reference["loss/t"])
    loss_B = dwdse_loss(network_fn, run.graph, run.noise, x0_BxL, t_B, xt_BxL)
    sigma_B, dsigma_B = run.noise(t_B)
    entropy_BxL = run.graph.score_entropy(network_fn(xt_BxL, sigma_B), sigma_B, xt_BxL, x0_BxL)
    excess_BxL = published_rounding.loss_excess(
        run.graph, np.asarray(sigma_B), reference["loss/xt"], reference["loss/x0"]
    )
    excess_B = np.asarray(dsigma_B) * excess_BxL.sum(-1)
    return [
        Row(
            "forward/log_score (absolute)",
            absolute(log_score_BxLxV, reference["forward/log_score"]),
            ARRAY_BOUND,
        ),
        unrounded_row(
            "loss/score_entropy (of largest)",
            lambda excess: of_largest(entropy_BxL, reference["loss/score_entropy"] - excess),
            ARRAY_BOUND,
            excess_BxL,
        ),
        unrounded_row(
            "loss/loss (of largest)",
            lambda excess: of_largest(loss_B, reference["loss/loss"] - excess),
            ARRAY_BOUND,
            excess_B,
        ),
    ]


def unrounded_row(
    quantity: str, error_without: Callable[[ArrayLike], float], bound: float, excess: np.ndarray
) -> Row:
    """The error with `excess` taken out of the published figure; the note tells it left in."""
    note = f"({error_without(0.0):.1e} with the published rounding)" if np.any(excess) else ""
    return Row(quantity, error_without(excess), bound, note)


def check_sampler_steps(reference: Reference, run: ModelDef, network_fn: LogScoreFn) -> list[Row]:
    """Probabilities of one step of each sampler from forward/x at forward/t, and of denoising."""
    graph, x_BxL = run.graph, tokens(reference, "forward/x")
    sigma_B, dsigma_B = run.noise(jnp.asarray(reference["forward/t"]))
    next_sigma_B = run.noise(jnp.asarray(reference["step/t_next"])[:, 0]).sigma
    score_BxLxV = jnp.exp(network_fn(x_BxL, sigma_B))
    dt = jnp.asarray(reference["step/dt"])
    removed_B = sigma_B - next_sigma_B
    euler_BxLxV = published_sedd.euler_probs(graph, score_BxLxV, x_BxL, dsigma_B, dt)
    analytic_BxLxV = published_sedd.analytic_probs(graph, score_BxLxV, x_BxL, removed_B)
    denoise = published_sedd.denoise_probs(graph, score_BxLxV, x_BxL, sigma_B)  # (B, L, codes)
    excess_BxLxV = published_rounding.step_excess(
        graph, np.asarray(score_BxLxV), np.asarray(removed_B), reference["forward/x"]
    )
    return [
        Row(
            "step/euler (of row's)",
            of_rows_largest(euler_BxLxV, reference["step/euler"]),
            ARRAY_BOUND,
        ),
        unrounded_row(
            "step/analytic (of row's)",
            lambda excess: of_rows_largest(analytic_BxLxV, reference["step/analytic"] - excess),
            ARRAY_BOUND,
            excess_BxLxV,
        ),
        Row(
            "step/denoise (of row's)",
            of_rows_largest(denoise, reference["step/denoise"]),
            ARRAY_BOUND,
        ),
    ]


def check_training(reference: Reference, run: ModelDef, params: Params) -> list[Row]:
    """S steps of our loss, optimizer and EMA on the given perturbations."""
    step = make_step(reference, run)
    x0_SxBxL, xt_SxBxL = tokens(reference, "train/x0"), tokens(reference, "train/xt")
    t_SxB = jnp.asarray(reference["train/t"])
    state = init_state(params, run.config.optim)
    losses, grad_norms = [], []
    for x0_BxL, t_B, xt_BxL in zip(x0_SxBxL, t_SxB, xt_SxBxL, strict=True):
        state, loss, grad_norm = step(state, Noised(x0_BxL, t_B, xt_BxL, dropout_key_B=None))
        losses.append(loss)
        grad_norms.append(grad_norm)
    sigma_SxB, dsigma_SxB = map(np.asarray, run.noise(t_SxB))
    excess_S = np.array(
        [
            (
                dsigma_B
                * published_rounding.loss_excess(run.graph, sigma_B, xt_BxL, x0_BxL).sum(-1)
            ).mean()
            for sigma_B, dsigma_B, xt_BxL, x0_BxL in zip(
                sigma_SxB, dsigma_SxB, reference["train/xt"], reference["train/x0"], strict=True
            )
        ]
    )
    return [
        unrounded_row(
            "train/loss (relative)",
            lambda excess: relative(losses, reference["train/loss"] - excess),
            TRAIN_BOUND,
            excess_S,
        ),
        Row(
            "train/grad_norm (relative)",
            relative(grad_norms, reference["train/grad_norm"]),
            TRAIN_BOUND,
        ),
        Row(
            "train/weights (L2)", worst_tensor(reference, run, state.params, "weights"), TRAIN_BOUND
        ),
        Row("train/ema (L2)", worst_tensor(reference, run, state.ema_params, "ema"), TRAIN_BOUND),
    ]


def make_step(
    reference: Reference, run: ModelDef
) -> Callable[[TrainState, Noised], tuple[TrainState, jax.Array, jax.Array]]:
    """(state, batch) → (state, loss, gradient norm before clipping), by the project's own parts."""
    optim = run.config.optim
    if not adds_decay_to_gradient(reference):

        @jax.jit
        def step(state, batch):
            loss, grads = loss_and_grads(run, state.params, batch)
            state, metrics = update(state, grads, loss, run.config)
            return state, loss, metrics["grad_norm"]

        return step

    # PyTorch's Adam decays by adding to the clipped gradient, which AdamW, ours, never does.
    bare = ConfigDict(run.config.to_dict())
    bare.optim.update(weight_decay=0.0, clip_norm=-1.0)

    @jax.jit
    def step(state, batch):
        loss, grads = loss_and_grads(run, state.params, batch)
        grad_norm = optax.global_norm(grads)
        grads = jax.tree.map(
            lambda g, p: g + optim.weight_decay * p,
            clip(grads, grad_norm, optim.clip_norm),
            state.params,
        )
        return update(state, grads, loss, bare)[0], loss, grad_norm

    return step


def adds_decay_to_gradient(reference: Reference) -> bool:
    optim = reference.config["optim"]
    if optim["optimizer"] not in ("Adam", "AdamW"):
        raise BadReference(f"no optimizer called {optim['optimizer']}")
    return optim["optimizer"] == "Adam" and optim["weight_decay"] > 0


def worst_tensor(reference: Reference, run: ModelDef, params: Params, which: str) -> float:
    """The largest relative L2 error over the published tensors; ours stack those of the blocks."""
    theirs = read_params(reference, run, f"train/{which}/")
    errors = [0.0]
    for name, tree in params.items():
        pairs = zip(jax.tree.leaves(tree), jax.tree.leaves(theirs[name]), strict=True)
        for ours_leaf, theirs_leaf in pairs:
            stacked = name == "blocks"
            ours_parts = ours_leaf if stacked else ours_leaf[None]
            theirs_parts = theirs_leaf if stacked else theirs_leaf[None]
            errors += map(relative_l2, np.asarray(ours_parts), np.asarray(theirs_parts))
    return float(np.max(errors))


def tokens(reference: Reference, key: str) -> jax.Array:
    return jnp.asarray(reference[key], jnp.int32)
