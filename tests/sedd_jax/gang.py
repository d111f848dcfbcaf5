"""Several processes of one job on this machine, over gloo."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Sequence

import pytest

from launch.soaking.lives import free_port
from sedd_jax.parallel.distributed import LOST
from tests.programs import Program, wait_until
from tests.sedd_jax.toy import environment


def start(
    command: Sequence[str], num_processes: int, *, devices: int = 2, **extra: str
) -> list[Program]:
    """The processes of a job, each with `devices` devices, process 0 first."""
    job = [f"--coordinator=127.0.0.1:{free_port()}", f"--num_processes={num_processes}"]
    return [
        Program(
            [*command, *(job if num_processes > 1 else []), *_place(i, num_processes)],
            env=environment(JAX_NUM_CPU_DEVICES=str(devices), **extra),
        )
        for i in range(num_processes)
    ]


def _place(process_id: int, num_processes: int) -> list[str]:
    return [f"--process_id={process_id}"] if num_processes > 1 else []


def finish(programs: Sequence[Program], seconds: float = 900) -> list[subprocess.CompletedProcess]:
    """Their exit codes and output; fails when they have not ended after `seconds`."""
    deadline = time.monotonic() + seconds
    with contextlib.ExitStack() as stack:
        for program in programs:
            stack.enter_context(program)
        return [program.result(max(deadline - time.monotonic(), 1)) for program in programs]


def run(command: Sequence[str], num_processes: int, **kwargs) -> list[subprocess.CompletedProcess]:
    """Their results; those of a second attempt where they lost each other."""
    programs = start(command, num_processes, **kwargs)
    results = finish(programs)
    if _lost_each_other(programs):
        results = finish(start(command, num_processes, **kwargs))
    return results


def start_until(
    condition: Callable[[], bool], command: Sequence[str], num_processes: int, **kwargs
) -> list[Program]:
    """Starts a job and waits for the condition; tries it again where they lost each other."""
    programs = start(command, num_processes, **kwargs)
    try:
        wait_until(condition, programs)
    except pytest.fail.Exception:
        if not _lost_each_other(programs):
            raise
        programs = start(command, num_processes, **kwargs)
        wait_until(condition, programs)
    return programs


def _lost_each_other(programs: Sequence[Program]) -> bool:
    """True when processes lost each other though none was killed.

    That happens on a very busy machine, where gloo's 30 s for each other are little; a launcher
    would start the job again, too.
    """
    codes = {program.returncode for program in programs}
    lost = {LOST, -signal.SIGABRT}
    return bool(codes & lost) and codes <= lost | {-signal.SIGKILL}  # by which wait_until ends them
