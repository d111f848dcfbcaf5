"""Devices that are not there: what XLA needs to know of TPU slices and GPU hosts to compile."""

import dataclasses
import importlib
import importlib.util
import os
import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

import jax
from jax.experimental import topologies

from launch.aot.chips import CHIPS, Chip
from sedd_jax.errors import UserError, one_line

# h100.txtpb: XLA's own description of an H100 SXM (openxla/xla, Apache-2.0).
LAUNCH = Path(__file__).parents[1]
GPU_TARGETS = Path(__file__).parent / "gpu_targets"
# Without these libtpu asks a metadata server where it is, complains that it is nowhere, and lets
# one process in at a time.
NO_TPU_HERE = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_STDERR_LOG_LEVEL": "3",
}
KNOWN = (
    "v5e:AxB and v6e:AxB (2x2, 2x4, 4x4 … 16x16), v5p:AxBxC (2x2x1, 2x2x2 … 16x16x24), "
    "h100:HOSTSxGPUS"
)


@dataclasses.dataclass(frozen=True)
class Topology:
    """dims: chips along each dimension of a slice, or (hosts, GPUs a host)."""

    name: str
    chip: Chip
    dims: tuple[int, ...]
    num_slices: int
    devices: Sequence[jax.Device]

    @property
    def description(self) -> str:
        slices = f", {self.num_slices} slices" if self.num_slices > 1 else ""
        return f"{len(self.devices)} {self.chip.name} ({self.name}{slices})"

    @property
    def available_bytes(self) -> int:
        """The bytes of a device's memory; of a GPU's, the share that JAX takes."""
        share = 1.0
        if self.chip.platform == "cuda":
            share = float(os.environ.get("XLA_PYTHON_CLIENT_MEM_FRACTION", 0.75))
        return int(share * self.chip.hbm_bytes)

    def block(self, device: jax.Device) -> int:
        """The slice, or GPU host, of a device: inside it, the inner network reaches all."""
        if self.chip.platform == "tpu":
            return getattr(device, "slice_index", 0) if self.num_slices > 1 else 0
        return device.process_index


def parse(name: str) -> tuple[Chip, tuple[int, ...]]:
    """`v5e:4x8` → (chip, (4, 8)). Raises UserError, with what is known."""
    found = re.fullmatch(r"(\w+):(\d+(?:x\d+)*)", name)
    chip = CHIPS.get(found[1]) if found else None
    dims = tuple(int(size) for size in found[2].split("x")) if found else ()
    if chip is None or len(dims) != chip.dimensions or 0 in dims:
        raise UserError(f"topology {name} is unknown; known are {KNOWN}")
    return chip, dims


def _require(module: str, name: str, extra: str) -> None:
    try:
        missing = importlib.util.find_spec(module) is None
    except ModuleNotFoundError:
        missing = True
    if missing:
        raise UserError(
            f"topology {name} needs the package {module}: pip install -r {LAUNCH / extra}"
        )


def describe(name: str, num_slices: int = 1) -> Topology:
    """The topology `name`; sets environment variables that XLA reads when it is first used, and
    turns JAX's cache of compiled programs off.

    So must be called before JAX compiles anything.
    Raises UserError for one that is unknown or whose compiler is not installed.
    """
    chip, dims = parse(name)
    jax.config.update("jax_platforms", "cpu")  # whatever else may be here is not looked for
    # Where the user keeps compiled programs: JAX could not read these, and would warn of each.
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        if chip.platform == "tpu":
            _require("libtpu", name, "requirements-tpu.txt")
            devices = _tpu_devices(name, num_slices)
        else:
            if num_slices != 1:
                raise UserError("slices are of TPUs; GPUs are given as h100:HOSTSxGPUS")
            _require("jax_plugins.xla_cuda13", name, "requirements-cuda.txt")
            devices = _gpu_devices(name, dims)
    except (jax.errors.JaxRuntimeError, ValueError, NotImplementedError) as error:
        message = one_line(error)
        raise UserError(f"topology {name}: {message}; known are {KNOWN}") from error
    return Topology(name, chip, dims, num_slices, devices)


def _use_launch_settings(platform: str) -> None:
    """The environment of launch/xla_flags.sh: programs are compiled as the launchers run them."""
    command = ["bash", str(LAUNCH / "xla_flags.sh"), platform]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    os.environ.update(word.split("=", 1) for word in shlex.split(printed))


def _tpu_devices(name: str, num_slices: int) -> Sequence[jax.Device]:
    _use_launch_settings("tpu")
    for variable, value in NO_TPU_HERE.items():
        os.environ.setdefault(variable, value)
    slices = {"num_slices": num_slices} if num_slices > 1 else {}
    return topologies.get_topology_desc(platform="tpu", topology_name=name, **slices).devices


def _gpu_devices(name: str, dims: tuple[int, ...]) -> Sequence[jax.Device]:
    _use_launch_settings("gpu")
    importlib.import_module("jax_plugins.xla_cuda13")  # registers the platform

    kind = name.split(":")[0]
    hosts, gpus = dims
    return topologies.get_topology_desc(
        platform="cuda",
        topology_name=kind,
        target_config=(GPU_TARGETS / f"{kind}.txtpb").read_text(),
        topology=f"1x{hosts}x{gpus}",  # NVLink partitions × hosts × GPUs of a host
    ).devices
