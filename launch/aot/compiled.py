"""Compiles the programs of a run for devices that are not there, and says what they need."""

import dataclasses
import re
import time

import jax
import numpy as np
from ml_collections import ConfigDict

from launch.aot import explain
from launch.aot.hlo import parse
from launch.aot.roofline import Roofline, analyse, work
from launch.aot.topology import Topology
from sedd_jax import config as config_lib
from sedd_jax.model import ModelDef, build
from sedd_jax.monitoring.metrics import forward_flops_per_token, train_flops_per_token
from sedd_jax.network.attention import best_implementation
from sedd_jax.parallel import mesh as mesh_lib
from sedd_jax.sampling.generate import chunk_size, make_programs
from sedd_jax.sampling.settings import settle, traits_of
from sedd_jax.training.step import compile_train_step

# XLA's complaint when a TPU program needs more than the chip has.
_TPU_FULL = re.compile(r"Used ([\d.]+)([GMK]) of ([\d.]+)([GMK]) hbm")
_UNITS = {"G": 2**30, "M": 2**20, "K": 2**10}


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes per device. arguments: the train state among them; aliased: outputs that take the place
    of arguments; needed: the most that is in use at once; available: of the device's memory."""

    arguments: int
    outputs: int
    aliased: int
    temporaries: int
    program: int
    needed: int
    available: int


@dataclasses.dataclass(frozen=True)
class Report:
    """A program compiled for a topology.

    batch: rows, tokens: rows × positions that one execution works on; model_flops: of those, on all
    devices, recomputation not counted; memory and roofline: None where it cannot be compiled since
    it does not fit; refusal: what XLA said then; lines: of code that the instructions come from,
    where they were asked for.
    """

    program: str
    topology: str
    num_devices: int
    mesh: dict[str, int]
    attention: str
    compute_dtype: str
    remat: str
    accumulation: int
    batch: int
    tokens: float
    num_parameters: int
    model_flops: float
    peak_flops: float
    compile_s: float
    memory: Memory | None = None
    roofline: Roofline | None = None
    refusal: str = ""
    lines: tuple[explain.Line, ...] = ()

    @property
    def fits(self) -> bool:
        return self.memory is not None and self.memory.needed <= self.memory.available

    @property
    def mfu_bound(self) -> float:
        """Model FLOPs over what all devices could do in the least time that the step takes."""
        return self.model_flops / (self.roofline.overlapped_s * self.num_devices * self.peak_flops)

    @property
    def tokens_per_s(self) -> float:
        """The most tokens per second that all devices together can reach."""
        return self.tokens / self.roofline.overlapped_s

    def to_dict(self) -> dict:
        values = dataclasses.asdict(self) | {"fits": self.fits}
        if self.roofline is not None:
            values["roofline"] |= {
                "overlapped_s": self.roofline.overlapped_s,
                "serial_s": self.roofline.serial_s,
            }
            values |= {"mfu_bound": self.mfu_bound, "tokens_per_s": self.tokens_per_s}
        return values


def make_run(config: ConfigDict, topology: Topology, codebook_size: int) -> ModelDef:
    """The run that train would build there. Raises UserError as train does."""
    config_lib.check(config)
    mesh = mesh_lib.make_mesh(config.mesh, topology.devices)
    run = build(config, {"name": "none", "codebook_size": codebook_size}, mesh)
    mesh_lib.check_batch(mesh, config.training.batch_size, config.training.accumulation)
    return run


def _compile_sampler(run: ModelDef, batch: int, chunk: int):
    """The sampler's advance by `chunk` steps, for parameters as they are laid out in training."""
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), batch))
    rows = mesh_lib.batch_sharding(run.mesh)
    key_B = jax.ShapeDtypeStruct(keys.shape, keys.dtype, sharding=rows)
    sampling = settle(run, seed=0)
    programs = make_programs(run, sampling.sampler, sampling.steps, sampling.length)
    start = jax.tree.map(  # tokens; of an autoregressive model the cache, too
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
        programs.start.eval_shape(key_B),
    )
    params = run.state_shapes().ema_params
    return programs.advance.lower(params, key_B, start, np.int32(0), chunk).compile()


def _memory(stats, available: int) -> Memory:
    arguments, outputs, aliased, temporaries, program = (
        getattr(stats, f"{kind}_size_in_bytes")
        for kind in ("argument", "output", "alias", "temp", "generated_code")
    )
    needed = arguments + outputs - aliased + temporaries + program
    return Memory(arguments, outputs, aliased, temporaries, program, needed, available)


def _attention(run: ModelDef, sample: bool) -> str:
    """The implementation that the program has: that which `auto` stands for on the run's devices,
    or that of one query to the cache."""
    network = run.network
    if sample and run.is_autoregressive:
        return "cached"
    if network.attention != "auto":
        return network.attention
    platform = run.mesh.devices.flat[0].platform
    return best_implementation(platform, run.mesh.size, network.compute_dtype, network.length)


def report(
    run: ModelDef, topology: Topology, *, sample: bool = False, by_line: bool = False
) -> Report:
    """Compiles the train step, or with `sample` a chunk of the sampler, and counts.

    by_line: by lines of code, too.
    """
    config, network = run.config, run.network
    length = config.model.length
    if sample:
        sampling = settle(run, seed=0)
        chunk = chunk_size(sampling.steps)
        batch = mesh_lib.divisible(run.mesh, config.sampling.batch_size)
        program = f"sampler, {chunk} of {sampling.steps} steps"
        evaluations = chunk * traits_of(sampling.sampler).evaluations
        positions = 1 if run.is_autoregressive else length  # that an evaluation puts out
        model_flops = forward_flops_per_token(network) * batch * positions * evaluations
        tokens = batch * length * evaluations / sampling.evaluations
    else:
        batch = config.training.batch_size
        program = "train step"
        model_flops = train_flops_per_token(network) * batch * length
        tokens = batch * length
    partial = Report(
        program=program,
        topology=topology.description,
        num_devices=run.mesh.size,
        mesh=dict(run.mesh.shape),
        attention=_attention(run, sample),
        compute_dtype=network.compute_dtype,
        remat=network.remat,
        accumulation=config.training.accumulation,
        batch=batch,
        tokens=tokens,
        num_parameters=sum(x.size for x in jax.tree.leaves(run.state_shapes().params)),
        model_flops=model_flops,
        peak_flops=topology.chip.flops,
        compile_s=0.0,
    )
    start = time.perf_counter()
    try:
        compiled = _compile_sampler(run, batch, chunk) if sample else compile_train_step(run)
    except jax.errors.JaxRuntimeError as error:
        if not _TPU_FULL.search(str(error)):
            raise
        seconds = time.perf_counter() - start
        return dataclasses.replace(partial, compile_s=seconds, refusal=_refusal(error))
    seconds, text = time.perf_counter() - start, compiled.as_text()
    return dataclasses.replace(
        partial,
        compile_s=seconds,
        memory=_memory(compiled.memory_analysis(), topology.available_bytes),
        roofline=analyse(text, topology, run.mesh),
        lines=explain.lines(text, work(parse(text), topology.chip)) if by_line else (),
    )


def _refusal(error: Exception) -> str:
    needed, unit, available, unit_2 = _TPU_FULL.search(str(error)).groups()
    sizes = (float(needed) * _UNITS[unit], float(available) * _UNITS[unit_2])
    return "needs {:.1f} GB of the {:.1f} GB that programs may use".format(
        *(x / 1e9 for x in sizes)
    )
