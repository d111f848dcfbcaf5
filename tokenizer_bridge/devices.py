"""Networks to a device by its name, and what there is to run on."""

import contextlib
import math
import os
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
_MOST_THREADS = 16  # each holds the activations of a batch of its own


def available_cores() -> int:
    """Cores that this process may use: fewer than there are, where a job has a share of them.

    The least of the affinity and the quota of the control group (what `docker --cpus` and
    Kubernetes' limits set), rounded up; all cores where a system knows neither.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # macOS has none
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _cgroup_quota())))


def map_in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], num_threads: int | None = None
) -> Iterator[Result]:
    """The results of `function`, in order, computed in threads that use one core each.

    PyTorch's own way, several threads for one operation, wastes a busy machine: they wait for each
    other at every step of an LSTM, by spinning. Results are also the same then on any number of
    cores. num_threads: as many as cores, up to 16, by default; a few items are ahead of use.
    """
    num_threads = num_threads or min(available_cores(), _MOST_THREADS)
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


def move_to(network: nn.Module, device: str | torch.device) -> nn.Module:
    """The network on a device. Raises UserError, naming it, if it cannot be used."""
    try:
        if torch.device(device).type == "meta":
            raise RuntimeError("it holds no values")
        return network.to(device)
    except (RuntimeError, AssertionError) as error:  # which of them depends on PyTorch's build
        reason = str(error).splitlines()[0]
        raise UserError(f"device {device} cannot be used: {reason}") from error


def _cgroup_quota(root: Path = _CGROUPS, own: Path = Path("/proc/self/cgroup")) -> float:
    """The cores that this process' control groups allow it, infinity without a limit.

    A group's own folder and all above it count; a container sees its own as the root.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return math.inf
    quota = math.inf
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            top = root
        elif "cpu" in controllers.split(","):
            top = root / "cpu"
        else:
            continue
        group = top / path.lstrip("/")
        while True:
            quota = min(quota, _quota_of(group))
            if group == top:
                break
            group = group.parent
    return quota


def _quota_of(group: Path) -> float:
    """The cores that one control group may use."""
    try:
        if (limit := group / "cpu.max").exists():
            used, period = limit.read_text().split()
        else:
            used = (group / "cpu.cfs_quota_us").read_text().strip()
            period = (group / "cpu.cfs_period_us").read_text()
        return math.inf if used in ("max", "-1") else int(used) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
