"""Several processes of one job on this machine, over gloo."""

import socket
import subprocess
from collections.abc import Sequence

from tests.sedd_jax.toy import ROOT, environment


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(
    command: Sequence[str], num_processes: int, *, devices: int = 2, **extra: str
) -> list[subprocess.Popen]:
    """The processes of a job, each with `devices` devices, process 0 first."""
    job = [f"--coordinator=127.0.0.1:{free_port()}", f"--num_processes={num_processes}"]
    return [
        subprocess.Popen(
            [*command, *(job if num_processes > 1 else []), *_place(i, num_processes)],
            cwd=ROOT,
            env=environment(JAX_NUM_CPU_DEVICES=str(devices), **extra),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(num_processes)
    ]


def _place(process_id: int, num_processes: int) -> list[str]:
    return [f"--process_id={process_id}"] if num_processes > 1 else []


def finish(
    processes: Sequence[subprocess.Popen], timeout: float = 600
) -> list[subprocess.CompletedProcess]:
    """What they returned and said; kills what is left of them after `timeout` seconds."""
    results = []
    try:
        for process in processes:
            stdout, stderr = process.communicate(timeout=timeout)
            code = process.returncode
            results.append(subprocess.CompletedProcess(process.args, code, stdout, stderr))
    finally:
        for process in processes:
            process.kill()
    return results


def run(command: Sequence[str], num_processes: int, **kwargs) -> list[subprocess.CompletedProcess]:
    return finish(start(command, num_processes, **kwargs))
