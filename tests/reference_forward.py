"""The half of the reference check that compares one forward pass of a whole network.

A file holds `program` (what was run), `config` (the published one, JSON), `salt`, `state_dict`
(JSON, the program's names → shapes in its order) and what the network gave: `forward/x` (B, L),
`forward/sigma` (B,) and `forward/log_score` (B, L, C) of the vocabulary's entries
`forward/columns` (C,). Weights follow from salt and names (`weight`).
"""

import json
import zlib

import jax
import numpy as np

from configs import music_small
from sedd_jax.errors import UserError
from sedd_jax.model import ModelDef, build
from sedd_jax.state import Params
from sedd_jax.weights import published_config
from sedd_jax.weights.torch_run import complete_config, require_told
from sedd_jax.weights.torch_weights import BUFFER, Weights, to_params
from tests.reference_rows import BadReference, Reference, Row, absolute

FORWARD = ["x", "sigma", "columns", "log_score"]
BOUND = 1e-4


def check(reference: Reference) -> list[Row]:
    """The error of our network. Raises BadReference for a file of another format."""
    reference.require(["program", "salt", "state_dict", *(f"forward/{name}" for name in FORWARD)])
    run, params = make_run(reference)
    ours = jax.jit(run.log_score)(params, reference["forward/x"], reference["forward/sigma"])
    return [row(reference, ours)]


def make_run(reference: Reference) -> tuple[ModelDef, Params]:
    """Our run of the published configuration, with the program's weights."""
    try:
        published = published_config.from_tree(reference.path, reference.config)
        arrays = Weights(to_params(weights(reference)), None, 0)
        told = {"model.compute_dtype": "float32"}
        require_told(reference.path, published, told)
        config, num_codes = complete_config(arrays, published, music_small.get_config(), told)
    except (KeyError, TypeError, ValueError, AttributeError, UserError) as error:
        raise BadReference(f"no SEDD configuration or weights ({error})") from error
    return build(config, {"codebook_size": num_codes}), arrays.params


def row(reference: Reference, log_score_BxLxV: np.ndarray | jax.Array) -> Row:
    """The error of a network's output for the file's input."""
    ours = np.asarray(log_score_BxLxV)[..., reference["forward/columns"]]
    error = absolute(ours, reference["forward/log_score"])
    return Row("forward/log_score (absolute)", error, BOUND)


def weights(reference: Reference, salt: str | None = None) -> dict[str, np.ndarray]:
    """The state dict that the program computed with, in its order; `salt`: another than its."""
    salt = str(reference["salt"]) if salt is None else salt
    shapes = json.loads(str(reference["state_dict"]))
    return {
        name: weight(name, tuple(shape), salt)
        for name, shape in shapes.items()
        if not name.endswith(BUFFER)
    }


def weight(name: str, shape: tuple[int, ...], salt: str) -> np.ndarray:
    """The float32 weight called `name`; the first rule that applies wins.

    Nothing is left at what the network starts with, and activations keep their scale.
    """
    rng = np.random.default_rng(zlib.crc32((salt + name).encode()))
    z = rng.standard_normal(shape).astype(np.float32)
    if len(shape) >= 2:
        return z / np.sqrt(np.float32(shape[1]))
    if "norm" in name:
        return np.float32(1) + np.float32(0.1) * z
    return np.float32(0.1) * z
