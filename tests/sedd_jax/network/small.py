"""A network of a size for tests, and the published one's reference figures."""

import json
from pathlib import Path

import jax
import numpy as np

from sedd_jax.network.transformer import NetworkConfig, init_params

REFERENCE = Path(__file__).parents[2] / "reference"
CONFIG = NetworkConfig(
    vocab_size=11, length=12, width=16, num_blocks=3, num_heads=2, cond_dim=8, dropout=0.0
)


def noisy_params(config: NetworkConfig, seed: int = 0):
    """Parameters as trained ones: nothing left at zero."""
    leaves, tree = jax.tree.flatten(init_params(config, jax.random.key(seed)))
    keys = jax.random.split(jax.random.key(seed + 1), len(leaves))
    moved = [x + 0.1 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(tree, moved)


def inputs(config: NetworkConfig, batch: int = 3):
    """x (B, L) and sigma (B,)."""
    rng = np.random.default_rng(0)
    x_BxL = rng.integers(0, config.vocab_size, (batch, config.length)).astype(np.int32)
    return x_BxL, np.linspace(0.2, 3.0, batch).astype(np.float32)


def reference(name: str):
    """(figures by name, published config, weights by published name)."""
    with np.load(REFERENCE / name) as file:
        figures = dict(file)
    prefix = "weights/"
    weights = {k.removeprefix(prefix): v for k, v in figures.items() if k.startswith(prefix)}
    return figures, json.loads(bytes(figures["config"])), weights


def network_config(published: dict, weights: dict) -> NetworkConfig:
    """Our config of a reference's published one."""
    model = published["model"]
    return NetworkConfig(
        vocab_size=len(weights["vocab_embed.embedding"]),
        length=model["length"],
        width=model["hidden_size"],
        num_blocks=model["n_blocks"],
        num_heads=model["n_heads"],
        cond_dim=model["cond_dim"],
        dropout=model["dropout"],
    )
