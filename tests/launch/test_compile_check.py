"""Programs compiled for devices that are not there: what they need, and what they exchange."""

import functools
import importlib.util
import json
import sys

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding

from configs import music_small
from launch.aot import compiled, cost, search, show, topology
from launch.aot.collectives import collectives
from launch.aot.hlo import parse
from launch.aot.roofline import analyse
from sedd_jax.errors import UserError
from sedd_jax.model import build
from sedd_jax.monitoring.metrics import train_flops_per_token
from sedd_jax.network.attention import attention
from sedd_jax.parallel import mesh as mesh_lib
from sedd_jax.training.step import compile_train_step, jit_train_step
from tests.sedd_jax.toy import run

CODES = 64


def small_config(**mesh):
    """Lengths and widths that TPU kernels take; everything divides by 8."""
    config = music_small.get_config()
    config.model.update(num_blocks=3, width=64, num_heads=4, cond_dim=16, length=128)
    config.training.update(batch_size=16)
    config.sampling.update(batch_size=4, steps=4)
    config.model.unroll = "off"  # so that what a loop exchanges can be told
    config.mesh.update(mesh)
    return config


def needs(module):
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        found = None
    return pytest.mark.skipif(found is None, reason=f"{module} is not installed: launch/test.sh")


def compile_for(name, config, num_slices=1, sample=False):
    target = topology.describe(name, num_slices)
    return compiled.report(compiled.make_run(config, target, CODES), target, sample=sample)


@functools.cache
def program(data, fsdp):
    """(compiled train step, its run) on data × fsdp simulated CPU devices, two rows on each."""
    config = small_config(data=data, fsdp=fsdp)
    config.model.width = 128
    config.model.attention = "xla"
    config.training.batch_size = 2 * data * fsdp
    mesh = mesh_lib.make_mesh(config.mesh, jax.devices()[: data * fsdp])
    run = build(config, {"codebook_size": CODES}, mesh)
    shape, rows = (config.training.batch_size, config.model.length), mesh_lib.batch_sharding(mesh)
    batch = jax.ShapeDtypeStruct(shape, jnp.int32, sharding=rows)
    lowered = jit_train_step(run).lower(run.state_shapes(), batch)
    return lowered.compile(compiler_options={"xla_backend_optimization_level": 0}), run


def flops_per_device(compiled_step):
    module = parse(compiled_step.as_text())
    return sum(times * cost.flops(module, c, i) for c, i, times in module.executed())


@needs("libtpu")
def test_a_tpu_slice(monkeypatch):
    programs = []
    monkeypatch.setattr(
        compiled, "analyse", lambda text, *more: programs.append(text) or analyse(text, *more)
    )
    config = small_config(data=1, fsdp=2, tensor=2)
    config.training.accumulation = 2
    report = compile_for("v5e:2x2", config)
    # Splash attention's kernels, forward and backward, are in the program.
    assert programs[0].count('custom_call_target="tpu_custom_call"') >= 2
    assert report.fits and report.num_devices == 4
    assert report.roofline.num_unknown_loops == 0
    assert not report.roofline.unknown_kernels
    kinds = {(row.kind, row.axes) for row in report.roofline.traffic}
    assert {("all-gather", ("fsdp",)), ("all-gather", ("tensor",))} <= kinds
    assert {row.network for row in report.roofline.traffic} == {"ICI"}
    # At least what the model is, at most what keeping nothing would add.
    model = report.model_flops / 4
    assert model <= report.roofline.flops <= 1.5 * model
    assert "fits" in show.full("small", report)


@pytest.fixture(scope="module")
def gpu_program():
    """The train step on four hosts of two H100, (data, fsdp, tensor) = (2, 2, 2)."""
    target = topology.describe("h100:4x2")
    run = compiled.make_run(small_config(data=2, fsdp=2, tensor=2), target, CODES)
    return run, target, compile_train_step(run).as_text()


@needs("jax_plugins.xla_cuda13")
def test_gpus_of_several_hosts(gpu_program):
    run, target, text = gpu_program
    roofline = analyse(text, target, run.mesh)
    assert not roofline.unknown_kernels and "__cudnn$fmha" in text
    networks = {(row.axes, row.network) for row in roofline.traffic}
    # A host is a pair along `tensor`, so that all else crosses between hosts.
    assert (("tensor",), "NVLink") in networks and (("tensor",), "IB") not in networks
    assert (("fsdp",), "IB") in networks and (("fsdp",), "NVLink") not in networks
    model = train_flops_per_token(run.network) * 16 * 128 / 8
    assert model <= roofline.flops <= 1.5 * model


def attention_program(name: str, implementation: str, causal: bool) -> str:
    """Attention with its gradient, of two rows and two heads a device, as compiled for them."""
    devices = topology.describe(name).devices
    mesh = mesh_lib.make_mesh({"data": 1, "fsdp": 1, "tensor": len(devices)}, devices)
    rows = NamedSharding(mesh, mesh_lib.activation_spec("heads"))
    q = jax.ShapeDtypeStruct((2, 256, 2 * len(devices), 64), jnp.bfloat16, sharding=rows)

    def outputs(q, k, v, do):
        o, gradient = jax.vjp(
            lambda *x: attention(*x, implementation, mesh, causal=causal), q, k, v
        )
        return o, gradient(do)

    return jax.jit(outputs).lower(q, q, q, q).compile().as_text()


@needs("jax_plugins.xla_cuda13")
@pytest.mark.parametrize(("causal", "mask"), [(False, "NO_MASK"), (True, "CAUSAL")])
def test_attention_of_a_gpu_looks_back_alone_when_it_is_to(causal, mask):
    text = attention_program("h100:1x2", "cudnn", causal)
    assert text.count(f'"mask_type": "{mask}"') == text.count('"mask_type"') == 2  # and backward


@needs("libtpu")
def test_causal_attention_compiles_for_a_tpu():
    """What the kernel computes is seen where it is interpreted (test_attention.py)."""
    assert attention_program("v5e:2x2", "splash", True).count('"tpu_custom_call"') == 2


def gathered_bytes(params) -> int:
    """The bytes of the parameters that `fsdp` splits, as used; of those of `tensor` a device's."""
    total = 0
    for path, x in jax.tree_util.tree_leaves_with_path(params):
        if "fsdp" in x.sharding.spec:
            is_fp32 = any(part in mesh_lib.path_name(path) for part in ("adaLN", "vocab_embed"))
            total += x.size * (4 if is_fp32 else 2) // (2 if "tensor" in x.sharding.spec else 1)
    return total


@needs("jax_plugins.xla_cuda13")
def test_what_devices_exchange_is_what_the_design_says(gpu_program):
    run, _, text = gpu_program
    shape = dict(run.mesh.shape)
    found = [(c, c.axes(shape)) for c in collectives(parse(text), 8)]
    gathers = [(c, axes) for c, axes in found if c.kind == "all-gather"]
    assert {axes for _, axes in gathers} == {("fsdp",), ("tensor",)}
    # Over fsdp weights are gathered, nearly all once, in the dtype that they are used in, …
    weights = sum(c.times * c.num_bytes * 2 for c, axes in gathers if axes == ("fsdp",))
    once = gathered_bytes(run.state_shapes().params)
    assert once <= weights <= 1.1 * once
    # … over tensor activations in the compute dtype, a device's rows of them, before attention and
    # before the MLP, forward, anew backward, and of their gradients, and no weights, …
    activations = (16 // 4) * run.network.length * run.network.width * 2
    moved = sum(c.times * c.num_bytes * 2 for c, axes in gathers if axes == ("tensor",))
    assert moved == 6 * run.network.num_blocks * activations
    # … and over data sums alone.
    assert all(c.kind == "all-reduce" for c, axes in found if "data" in axes)


@needs("jax_plugins.xla_cuda13")
def test_the_loss_holds_one_array_of_scores():
    """(B, L, V) in fp32, half of that for its gradient in bf16, and little beside them."""
    config = small_config(data=2)
    config.model.update(num_blocks=1, width=128, length=1024)
    target = topology.describe("h100:1x2")
    run = compiled.make_run(config, target, 4096)
    scores = (config.training.batch_size // 2) * config.model.length * run.network.vocab_size * 4
    temporaries = compiled.report(run, target).memory.temporaries
    assert scores < temporaries < 2.0 * scores


@needs("jax_plugins.xla_cuda13")
def test_the_sampler_and_a_gpu_that_is_too_small(tmp_path):
    config_file = tmp_path / "small.py"
    config_file.write_text("from tests.launch.test_compile_check import small_config as get_config")
    command = [
        sys.executable, "-m", "launch.compile_check", f"--config={config_file}",
        "--topology=h100:1x2", "--sample", f"--codebook_size={CODES}",
        f"--output={tmp_path / 'figures.json'}",
    ]  # fmt: skip
    cache = tmp_path / "compiled"
    outcome = run(
        command, XLA_PYTHON_CLIENT_MEM_FRACTION="1e-6", JAX_COMPILATION_CACHE_DIR=str(cache)
    )
    assert outcome.returncode == 1, outcome.stderr
    assert not cache.exists()  # JAX could not read a GPU's program back
    assert "DOES NOT FIT" in outcome.stdout and "sampler, 1 of 4 steps" in outcome.stdout
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert not figures["fits"] and figures["memory"]["available"] == 84_978


@needs("jax_plugins.xla_cuda13")
def test_the_sampler_of_an_autoregressive_model_draws_a_position_a_step():
    config = small_config(data=2)
    config.model.type = "autoregressive"
    report = compile_for("h100:1x2", config, sample=True)
    assert report.program == "sampler, 4 of 128 steps" and report.attention == "cached"
    assert report.batch == 4 and report.tokens == 4 * 4
    # The cache, bf16 keys and values of 3 blocks for 128 positions of a device's 2 rows, stays in
    # its place.
    assert report.memory.aliased >= 2 * 2 * 3 * 128 * 2 * config.model.width
    assert report.roofline.num_unknown_loops == 0
    # XLA makes no matrix product of one query's attention, a quarter of these; adaLN's come on top.
    assert 0.75 <= report.roofline.flops / (report.model_flops / 2) <= 1.5


@pytest.mark.parametrize("name", ["v5e", "v5e:4", "v9:4x4", "h100:8", "v5p:4x4", "h100:0x8"])
def test_unknown_topologies_are_refused_with_those_known(name):
    with pytest.raises(UserError, match="is unknown; known are v5e:AxB"):
        topology.describe(name)


@pytest.mark.parametrize(("name", "extra"), [("v5e:2x2", "tpu"), ("h100:1x2", "cuda")])
def test_a_missing_compiler_is_named(name, extra, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None)
    with pytest.raises(UserError, match=f"pip install -r .*launch/requirements-{extra}.txt"):
        topology.describe(name)


def test_data_parallelism_does_not_grow_a_device():
    one, eight = (program(data, 1)[0] for data in (1, 8))
    assert flops_per_device(eight) == flops_per_device(one)
    memory = [step.memory_analysis() for step in (one, eight)]
    sizes = [m.argument_size_in_bytes + m.temp_size_in_bytes for m in memory]
    assert sizes[1] <= 1.05 * sizes[0]


def test_flops_are_those_of_the_formula():
    step, run = program(1, 1)
    model = train_flops_per_token(run.network) * 2 * run.network.length
    # Above it: what attention computes anew, and the condition's layers.
    assert 1.0 <= flops_per_device(step) / model <= 1.5


def test_fsdp_divides_the_state():
    """The compiled programs say so: their arguments are the train state and two rows of tokens."""
    (one, _), (eight, run) = program(1, 1), program(1, 8)
    leaves = jax.tree.leaves(run.state_shapes())
    split = sum(4 * x.size for x in leaves if "fsdp" in jax.tree.leaves(tuple(x.sharding.spec)))
    whole, part = (step.memory_analysis().argument_size_in_bytes for step in (one, eight))
    assert split > 0.9 * whole
    assert whole - part == pytest.approx(split * 7 / 8, rel=1e-3)


def test_the_search_skips_what_can_only_be_slower(monkeypatch):
    tried = []

    def report(run, target, *, sample):
        config = run.config
        tried.append((dict(run.mesh.shape)["fsdp"], config.model.remat))
        fits = config.model.remat != "none"
        return type("Report", (), {"fits": fits, "mesh": dict(run.mesh.shape)})()

    monkeypatch.setattr(compiled, "report", report)
    target = topology.Topology("cpu", topology.CHIPS["h100"], (1, 2), 1, jax.devices()[:2])
    space = search.Space(["none", "dots", "block"], [1, 2], [], [1])
    reports = search.search(small_config(), target, CODES, space)
    # `none` does not fit whole, `dots` does: neither `block` nor smaller microbatches of `dots`.
    # `none` may fit with smaller ones.
    once = ["none", "dots", "none"]
    assert tried == [(1, remat) for remat in once] + [(2, remat) for remat in once]
    assert len(reports) == 6
