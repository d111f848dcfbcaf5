"""Products of fp32 factors keep all their digits on accelerators, whatever a run computes in."""

import functools
import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sedd_jax.errors import UserError
from sedd_jax.likelihood import elbo
from sedd_jax.model import build
from sedd_jax.parallel import mesh as mesh_lib
from sedd_jax.sampling.generate import make_programs
from sedd_jax.training.step import jit_train_step
from tests.sedd_jax.toy import CODEC, toy_config
from tests.sedd_jax.toy_run import make_run

BATCH, STEPS = 4, 2
PRODUCT = re.compile(r"stablehlo\.dot_general .*: \(tensor<(.*?)>, tensor<(.*?)>\) -> ")
CASES = [("float32", "xla"), ("float32", "loop"), ("bfloat16", "xla")]


def programs(model):
    """name → (jitted program, shapes of its arguments)."""
    rows = mesh_lib.batch_sharding(model.mesh)
    shape = functools.partial(jax.ShapeDtypeStruct, sharding=rows)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), BATCH))
    key_B, length = shape(keys.shape, keys.dtype), model.config.model.length
    x_BxL, number_B = shape((BATCH, length), jnp.int32), shape((BATCH,), jnp.uint32)
    state = model.state_shapes()
    sampling = make_programs(model, "euler", STEPS, length)
    return {
        "train": (jit_train_step(model), (state, x_BxL)),
        "advance": (sampling.advance, (state.ema_params, key_B, x_BxL, np.int32(0), 1)),
        "denoise": (sampling.finish, (state.ema_params, key_B, x_BxL)),
        "bound": (
            elbo._make_measure(model, 2),
            (state.ema_params, x_BxL, number_B, number_B, x_BxL, None),
        ),
    }


@pytest.mark.parametrize(("compute_dtype", "attention"), CASES)
def test_products_of_fp32_factors_have_the_highest_precision(compute_dtype, attention):
    model, _ = make_run(model__compute_dtype=compute_dtype, model__attention=attention)
    for name, (program, arguments) in programs(model).items():
        traced = program.trace(*arguments)
        for platform in ("cpu", "tpu"):  # a GPU takes the TPU's branches
            text = traced.lower(lowering_platforms=(platform,)).as_text()
            whole, rounded = set(), set()  # of fp32 factors alone, and with one of bf16
            for product in PRODUCT.finditer(text):
                kinds = {factor.rpartition("x")[2] for factor in product.groups()}
                is_highest = "precision = [HIGHEST, HIGHEST]" in product[0]
                (whole if kinds == {"f32"} else rounded).add(is_highest)
            # adaLN and the layers of sigma are fp32 in any case.
            assert whole == {True}, f"{name} on {platform}"
            assert rounded == ({False} if compute_dtype == "bfloat16" else set()), name


def test_splash_is_refused_where_fp32_is_promised():
    tpu = SimpleNamespace(devices=np.array([SimpleNamespace(platform="tpu")]))
    config = toy_config(model__attention="splash", model__compute_dtype="float32")
    with pytest.raises(UserError, match="splash rounds to bfloat16"):
        build(config, CODEC, tpu)
