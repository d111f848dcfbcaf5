"""Networks to a device by its name, and what there is to run on."""

import contextlib
import math
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from tokenizer_bridge.token_dataset.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

_CGROUPS = Path("/sys/fs/cgroup")
_MOST_THREADS = 16
_BYTES_A_THREAD = 1.5e9  # 30 s in a codec of full size take 0.9 GB, measured


def available_cores() -> int:
    """Cores that this process may use: fewer than there are, where a job has a share of them.

    The least of the affinity and the quota of the control group (what `docker --cpus` and
    Kubernetes' limits set), rounded up; all cores where a system knows neither.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # macOS has none
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, math.ceil(min([cores, *map(_quota_of, _own_groups("cpu"))])))


def default_threads(num_processes: int = 1) -> int:
    """Threads in which one of several processes runs a codec.

    As many as its share of the cores, up to 16, and as its share of memory has room for.
    """
    room = min([_available_bytes(), *map(_memory_limit_of, _own_groups("memory"))])
    by_memory = math.inf if room == math.inf else int(room / num_processes / _BYTES_A_THREAD)
    return max(1, min(available_cores() // num_processes, _MOST_THREADS, by_memory))


def map_in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], num_threads: int | None = None
) -> Iterator[Result]:
    """The results of `function`, in order, computed in threads that use one core each.

    PyTorch's own way, several threads for one operation, wastes a busy machine: they wait for each
    other at every step of an LSTM, by spinning. Results are also the same then on any number of
    cores. num_threads: `default_threads` by default; a few items are ahead of use.
    """
    num_threads = num_threads or default_threads()
    with one_core_an_operation():
        if num_threads == 1:
            yield from map(function, items)
            return
        with ThreadPoolExecutor(
            num_threads, initializer=torch.set_num_threads, initargs=(1,)
        ) as pool:
            waiting: deque[Future[Result]] = deque()
            try:
                for item in items:
                    waiting.append(pool.submit(function, item))
                    if len(waiting) > 2 * num_threads:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()


@contextlib.contextmanager
def one_core_an_operation() -> Iterator[None]:
    """Lets PyTorch use one thread for an operation, in this thread and in those begun within."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def device_of_worker(device: str, worker: int) -> str:
    """The device of one of several processes: of "cuda", a GPU of its own while there are as many.

    The GPUs are those that CUDA_VISIBLE_DEVICES leaves; workers beyond their number share them, by
    turns. A device with a number is everybody's.
    """
    if device != "cuda" or (count := torch.cuda.device_count()) == 0:
        return device
    return f"cuda:{worker % count}"


def move_to(network: nn.Module, device: str | torch.device) -> nn.Module:
    """The network on a device. Raises UserError, naming it, if it cannot be used."""
    try:
        if torch.device(device).type == "meta":
            raise RuntimeError("it holds no values")
        return network.to(device)
    except (RuntimeError, AssertionError) as error:  # which of them depends on PyTorch's build
        reason = str(error).splitlines()[0]
        raise UserError(f"device {device} cannot be used: {reason}") from error


def _own_groups(
    controller: str, root: Path = _CGROUPS, own: Path = Path("/proc/self/cgroup")
) -> Iterator[Path]:
    """The control groups that limit this process: its own folder and all above it.

    A container sees its own as the root.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            top = root
        elif controller in controllers.split(","):
            top = root / controller
        else:
            continue
        group = top / path.lstrip("/")
        while True:
            yield group
            if group == top:
                break
            group = group.parent


def _quota_of(group: Path) -> float:
    """The cores that one control group may use, infinity without a limit."""
    try:
        if (limit := group / "cpu.max").exists():
            used, period = limit.read_text().split()
        else:
            used = (group / "cpu.cfs_quota_us").read_text().strip()
            period = (group / "cpu.cfs_period_us").read_text()
        return math.inf if used in ("max", "-1") else int(used) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def _memory_limit_of(group: Path) -> float:
    """The bytes that one control group may use, infinity without a limit."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        try:
            return int((group / name).read_text())
        except (OSError, ValueError):  # "max" is no number
            continue
    return math.inf


def _available_bytes() -> float:
    """Memory that the system can give, infinity where it does not say."""
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return math.inf
    match = re.search(r"MemAvailable: *(\d+) kB", text)
    return 1024 * int(match[1]) if match else math.inf
