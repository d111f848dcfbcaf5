"""The lives of a training run that is killed again and again, each a job of 1 to 4 processes."""

import contextlib
import itertools
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sedd_jax.parallel.distributed import LOST

ROOT = Path(__file__).parents[2]
EVERY = 10  # steps between checkpoints
ENDLESS = 1_000_000
LIFE_TIMEOUT_S = 1800.0  # for a machine that has much else to do
# A network this small computes for milliseconds and compiles for seconds.
FAST_COMPILE = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
SIZE = (
    "model.num_blocks=1", "model.width=16", "model.num_heads=2", "model.cond_dim=8",
    "model.length=16", "model.dropout=0.1", "training.batch_size=8", "training.log_every=1",
    "optim.warmup_steps=10", "evaluation.every=0", "evaluation.samples_every=0",
    f"checkpoint.every={EVERY}",
)  # fmt: skip


class SoakError(Exception):
    """Something that a kill must not lead to."""


class Unprovoked(Exception):
    """Processes that lost each other with nobody killed: gloo waits 30 s for another, which is
    little on a machine that is very busy. A launcher would start the job again."""


@dataclass(frozen=True)
class Topology:
    """Processes × devices of each, as a (data, fsdp, tensor) mesh."""

    processes: int
    devices: int
    mesh: tuple[int, int, int]

    def __str__(self) -> str:
        return f"{self.processes}×{self.devices} {self.mesh}"


STEADY = Topology(1, 2, (2, 1, 1))
CHANGING = (
    Topology(1, 1, (1, 1, 1)),
    Topology(2, 1, (1, 2, 1)),
    Topology(1, 8, (2, 2, 2)),
    Topology(4, 1, (2, 2, 1)),
    Topology(1, 4, (4, 1, 1)),
    Topology(2, 4, (4, 2, 1)),
    Topology(2, 2, (1, 2, 2)),
    Topology(4, 2, (2, 4, 1)),
)


@dataclass
class Life:
    """One life of the run, and what became of it."""

    topology: Topology
    signal: str
    victims: str
    from_step: int | None = None  # None: it did not come that far
    reached: int = 0
    saved: int = 0  # newest checkpoint when it was over
    seconds_to_end: float = 0.0
    codes: list[int] = field(default_factory=list)


class SoakRun:
    """A run in `workdir` on the tokens; its compiled programs are kept in `cache`."""

    def __init__(self, workdir: Path, tokens: Path, cache: Path):
        self.workdir, self._tokens, self._cache = workdir, tokens, cache
        workdir.mkdir(parents=True, exist_ok=True)

    def saved_steps(self) -> list[int]:
        """Steps of the checkpoints that are on the disk under their final names."""
        places = (self.workdir / "checkpoints").glob("*")
        return sorted(int(place.name) for place in places if place.name.isdigit())

    def newest(self) -> int:
        return max(self.saved_steps(), default=0)

    def logged_step(self) -> int:
        """The last step in metrics.jsonl; 0 when there is none."""
        path = self.workdir / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        for line in reversed(lines):
            try:
                return json.loads(line)["step"]
            except ValueError:  # cut short by a kill
                continue
        return 0

    def finish(self, topology: Topology, num_steps: int) -> None:
        """A life that nobody disturbs, to the end. Raises SoakError when it fails."""
        before = self.newest()
        with self._job(topology, num_steps) as job:
            job.wait()
        if any(job.codes) or f"from step {before:,} to" not in job.stdout():
            raise SoakError(
                f"an undisturbed life after step {before} ended with {job.codes}:\n"
                f"{job.stdout()[-200:]}\n{job.stderr()}"
            )

    def live(self, topology: Topology, rng: random.Random) -> Life:
        """A life until it is killed, at a moment and by a signal that `rng` draws.

        Raises SoakError when it does not end as it should.
        """
        kill = rng.choice((signal.SIGKILL, signal.SIGTERM))
        early = rng.random() < 0.2
        # Before all have joined, those that are left would wait for the others in vain.
        everybody = early or rng.random() < 0.3
        victims = range(topology.processes) if everybody else [rng.randrange(topology.processes)]
        life = Life(topology, kill.name, "all" if everybody else f"process {victims[0]}")
        before = self.newest()

        logged_before = self.logged_step()
        with self._job(topology, ENDLESS) as job:
            if early:
                job.sleep(rng.uniform(0.0, 15.0))
            else:
                # A new life drops what was logged beyond its checkpoint: wait for both to be seen.
                job.wait_until(lambda: f"from step {before:,} " in job.stdout())
                job.wait_until(
                    lambda: self.logged_step() != logged_before or logged_before == before
                )
                if rng.random() < 0.3:  # in steps, which are faster than saving
                    target = before + 1 + rng.randrange(2 * EVERY)
                    job.wait_until(lambda: self.logged_step() >= target)
                else:  # around a save
                    saved = rng.randrange(1, 3)
                    job.wait_until(
                        lambda: sum(step > before for step in self.saved_steps()) >= saved
                    )
                job.sleep(rng.uniform(0.0, 0.5))
            began = time.monotonic()
            job.kill(kill, victims)
            job.wait()
        life.seconds_to_end = time.monotonic() - began
        life.codes = job.codes
        came_from = re.search(r"from step ([\d,]+) to", job.stdout())
        life.from_step = int(came_from[1].replace(",", "")) if came_from else None
        life.saved = self.newest()
        logged = self.logged_step()
        life.reached = life.saved if logged == logged_before else max(logged, life.saved)
        self._check(life, kill, job, before, early)
        return life

    def _check(self, life: Life, kill: signal.Signals, job: "_Job", before: int, early: bool):
        if life.from_step is not None and life.from_step != before:
            raise SoakError(f"steps lost: checkpoint {before} was there, not {life.from_step}")
        if life.saved < before:
            raise SoakError(f"checkpoint {before} has gone, {life.saved} is the newest")
        if list((self.workdir / "checkpoints").glob("damaged-*")) or "damaged" in job.stderr():
            raise SoakError(f"a checkpoint could not be restored:\n{job.stderr()}")
        died = -int(kill)
        allowed = {128 + signal.SIGTERM} if kill == signal.SIGTERM else {died, LOST, -6}
        if early:
            allowed |= {died, LOST, -6}
        if not set(job.codes) <= allowed:
            raise SoakError(f"{kill.name} led to the exit codes {job.codes}:\n{job.stderr()}")
        if kill == signal.SIGTERM and not early and life.saved != life.reached:
            raise SoakError(f"stopped at step {life.reached}, but saved {life.saved}")

    def _job(self, topology: Topology, num_steps: int) -> "_Job":
        return _Job(self._command(topology, num_steps), topology, self._environment(topology))

    def _command(self, topology: Topology, num_steps: int) -> list[str]:
        mesh = zip(("data", "fsdp", "tensor"), topology.mesh, strict=True)
        keys = [*SIZE, f"training.num_steps={num_steps}", f"data.path={self._tokens}"]
        keys += [f"mesh.{axis}={size}" for axis, size in mesh]
        return [
            sys.executable, "-m", "sedd_jax.train", f"--config={ROOT / 'configs' / 'demo.py'}",
            f"--workdir={self.workdir}", *(f"--config.{key}" for key in keys),
        ]  # fmt: skip

    def _environment(self, topology: Topology) -> dict[str, str]:
        ours = {
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": str(topology.devices),
            "JAX_COMPILATION_CACHE_DIR": str(self._cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "XLA_FLAGS": FAST_COMPILE,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
        }
        return os.environ | ours


class _Job:
    """The processes of one life; what they say goes to files.

    As a context manager, kills those that are left, as when the soak itself is stopped.
    """

    def __init__(self, command: Sequence[str], topology: Topology, environment: dict[str, str]):
        self._logs = Path(command[4].partition("=")[2]).parent / "logs"
        self._logs.mkdir(exist_ok=True)
        self.codes: list[int] = []
        self._deadline = time.monotonic() + LIFE_TIMEOUT_S
        place: list[str] = []
        if topology.processes > 1:
            place = [
                f"--coordinator=127.0.0.1:{free_port()}",
                f"--num_processes={topology.processes}",
                "--join_timeout=900", "--peer_timeout=40",
            ]  # fmt: skip
        self._processes = []
        for i in range(topology.processes):
            flags = [*place, f"--process_id={i}"] if place else []
            with open(self._out(i), "w") as out, open(self._err(i), "w") as err:
                self._processes.append(
                    subprocess.Popen(
                        [*command, *flags], cwd=ROOT, env=environment, stdout=out, stderr=err
                    )
                )

    def __enter__(self) -> "_Job":
        return self

    def __exit__(self, *error) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    def _out(self, i: int) -> Path:
        return self._logs / f"stdout-{i}"

    def _err(self, i: int) -> Path:
        return self._logs / f"stderr-{i}"

    def stdout(self) -> str:
        """The output of process 0 so far."""
        return self._out(0).read_text()

    def stderr(self) -> str:
        """The last complaints of all processes."""
        return "\n".join(self._err(i).read_text()[-2000:] for i in range(len(self._processes)))

    def sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.wait_until(lambda: time.monotonic() >= end)

    def wait_until(self, condition) -> None:
        """Raises SoakError when a process ends before, or nothing happens for long."""
        while not condition():
            if any(process.poll() is not None for process in self._processes):
                self.wait()
                if set(self.codes) <= {LOST, -signal.SIGABRT}:
                    raise Unprovoked
                raise SoakError(f"nobody killed it, but {self.codes}:\n{self.stderr()}")
            if time.monotonic() > self._deadline:
                self._give_up("came to nothing")
            time.sleep(0.01)

    def kill(self, number: signal.Signals, victims: Sequence[int]) -> None:
        for i in victims:
            self._processes[i].send_signal(number)

    def wait(self) -> None:
        """Until all have ended. Raises SoakError when one does not."""
        self.codes = []
        for process in self._processes:
            try:
                self.codes.append(process.wait(max(self._deadline - time.monotonic(), 1.0)))
            except subprocess.TimeoutExpired:
                self._give_up("did not end")

    def _give_up(self, what: str) -> None:
        for process in self._processes:
            process.kill()
        raise SoakError(f"a life {what} within {LIFE_TIMEOUT_S:.0f} s:\n{self.stderr()}")


# Below the ports that a system gives to whoever wants any, so that a free one stays free until
# process 0 listens there.
_PORTS = range(10_000, 32_000)
_calls = itertools.count(13_597 * os.getpid())  # far apart for programs with neighbouring ids


def free_port() -> int:
    """A port at which nobody listens; another one with each call."""
    for call in _calls:
        port = _PORTS[call % len(_PORTS)]
        with contextlib.suppress(OSError), socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
            return port
