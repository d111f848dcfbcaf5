"""The processes of a job: how they join, and how all of them end when one does.

Which they are is said by the arguments of sedd_jax/parallel/membership.py.
Process 0 coordinates: it prints, and writes what is written once. A job ends as a whole. A process
that meets an error says so on its own stderr, and through the coordinator on everybody else's; a
process that disappears is missed after --peer_timeout at the latest.

Exit codes of all processes: that of the process that ended the job, or LOST where one disappeared.
Where process 0 disappears, JAX may be faster to notice and ends a process by SIGABRT (134). A
launcher starts the job again after LOST, 128 + SIGTERM and any death by signal, but not after 1.
"""

import contextlib
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import NoReturn

import jax
from jax._src import distributed as jax_distributed  # its key-value store has no public name

from sedd_jax.errors import TRY_AGAIN, UserError, chain, explain, one_line
from sedd_jax.parallel.backend import all_devices
from sedd_jax.parallel.consensus import FOREVER_MS
from sedd_jax.parallel.membership import Membership

LOST = TRY_AGAIN

_NEWS = "sedd_jax/news"  # [process, exit code, message], said once: how the job ends
_ALIVE = "sedd_jax/alive/"
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")  # gRPC knows them in lower case alone
_GRACE_S = 3.0  # so long a broken connection may precede the news of what broke it
_LINGER_S = 1.0  # so long process 0 outlives a failure, for the others to read about it

_stopped_by: list[int] = []  # the signal that this process was ended by, as soon as it is heard


@contextlib.contextmanager
def joined(job: Membership) -> Iterator[None]:
    """A context in which the job's other processes are joined; to be entered before JAX is used.

    Leaving waits for the others. An error ends all processes at once: the block's files are not
    closed and its threads are not waited for, since they may wait for the others.
    Raises UserError when the others cannot be found, or JAX finds no device.
    """
    if job.is_alone:
        all_devices()
        yield
        return
    _join(job)
    peers = _Peers(job.peer_timeout_s)
    try:
        all_devices()
        yield
    except BaseException as error:
        peers.fail(error)
    peers.leave()


def _join(job: Membership) -> None:
    logging.getLogger("jax._src.distributed").setLevel(logging.WARNING)
    deadline = time.monotonic() + job.join_timeout_s
    if job.coordinator and job.process_id:
        _wait_for_coordinator(job, deadline)
    # JAX itself would abort with a stack trace, so its own limits are the longer ones.
    impatience = threading.Timer(deadline - time.monotonic(), _give_up_joining, [job])
    impatience.daemon = True
    impatience.start()
    try:
        with _without_proxies(), _heeding_signals():
            jax.distributed.initialize(
                job.coordinator,
                job.num_processes,
                job.process_id,
                cluster_detection_method="deactivate" if job.coordinator else None,
                initialization_timeout=int(job.join_timeout_s) + 60,
                heartbeat_timeout_seconds=int(2 * job.peer_timeout_s) + 30,
            )
    except (ValueError, RuntimeError) as error:
        if job.find and jax_distributed.global_state.coordinator_address is None:
            raise UserError(
                f"found no job here ({one_line(error)}): join it by hand, with coordinator, "
                "num_processes and process_id"
            ) from error
        raise UserError(f"could not join the other processes: {one_line(error)}") from error
    finally:
        impatience.cancel()
    # JAX has put a handler of its own there, under which the signal would go unheard.
    signal.signal(signal.SIGTERM, _terminate)


@contextlib.contextmanager
def _without_proxies() -> Iterator[None]:
    """A context in which gRPC sees no proxy.

    It reads the variables when a connection is first asked for, and would send what is for the
    coordinator, a machine of the same network, to a proxy that cannot reach it.
    """
    hidden = {name: os.environ.pop(name) for name in _PROXIES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


@contextlib.contextmanager
def _heeding_signals() -> Iterator[None]:
    """A context in which SIGTERM and Ctrl-C end a process that waits for the others.

    JAX waits in C++, until the others are there or the time is up: no handler of Python's runs
    before. A thread of ours is told of the signal at once.
    """
    hears, tells = socket.socketpair()
    tells.setblocking(False)

    def heed() -> None:
        while number := hears.recv(1):
            if number[0] in (signal.SIGTERM, signal.SIGINT):
                _exit(128 + number[0], "stopped while it waited for the other processes")

    thread = threading.Thread(target=heed, daemon=True)
    usual = signal.set_wakeup_fd(tells.fileno())
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(usual)
        tells.close()
        thread.join()
        hears.close()


def _wait_for_coordinator(job: Membership, deadline: float) -> None:
    host, _, port = job.coordinator.rpartition(":")
    while True:
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=5.0):
                return
        except OSError as error:
            if time.monotonic() > deadline:
                _exit(
                    LOST,
                    f"process 0 was not found within {job.join_timeout_s:.0f} s: nothing listens "
                    f"at {job.coordinator} ({one_line(error)})",
                )
            time.sleep(0.2)


def _give_up_joining(job: Membership) -> None:
    missing = "some of the processes"
    if job.num_processes:
        missing = f"some of the {job.num_processes} processes"
    _exit(LOST, f"{missing} did not join within {job.join_timeout_s:.0f} s; see their own output")


def _terminate(signal_number: int, frame) -> NoReturn:
    _stopped_by.append(signal_number)
    sys.exit(128 + signal_number)


def _exit(code: int, message: str) -> NoReturn:
    """Ends the process now, whatever its other threads wait for."""
    print(f"error: {message}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class _Peers:
    """Watches over the other processes, from threads of its own."""

    def __init__(self, peer_timeout_s: float):
        self._peer_timeout_s = peer_timeout_s
        state = jax_distributed.global_state
        self._client, self._id = state.client, state.process_id
        self._leaving = threading.Event()
        self._ending = threading.Lock()  # taken once, by whoever ends this process
        self._threads = [
            threading.Thread(target=watch, name=f"peers{watch.__name__}", daemon=True)
            for watch in (self._follow, self._beat)
        ]
        for thread in self._threads:
            thread.start()

    def leave(self) -> None:
        """Waits until all the others have come to their end, too, and parts from them."""
        try:
            self._client.wait_at_barrier("sedd_jax/end", FOREVER_MS)
            if self._id == 0:
                self._client.key_value_set(_NEWS, json.dumps([0, 0, "done"]))
        except jax.errors.JaxRuntimeError as error:
            self.fail(error)
        self._leaving.set()
        for thread in self._threads:  # else one may wake up in an interpreter that is gone
            thread.join()
        jax.distributed.shutdown()

    def fail(self, error: BaseException) -> NoReturn:
        """Ends this process, and through the coordinator the others, because of an error."""
        if _stopped_by:  # an extension in C that was being imported may have made an error of it
            error = SystemExit(128 + _stopped_by[0])
        lost = next((e for e in chain(error) if tells_of_a_loss(e)), None)
        if lost:
            time.sleep(_GRACE_S)  # the one who caused it may say why: `_follow` then ends us
            code, message = LOST, f"another process was lost ({one_line(lost, limit=200)})"
        elif isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else 1
            message = f"stopped with exit code {code}"
        elif isinstance(error, KeyboardInterrupt):
            code, message = 128 + signal.SIGINT, "stopped by Ctrl-C"
        elif (explained := explain(error)) is not None:
            code, message = explained
        else:
            traceback.print_exception(error)
            code, message = 1, f"{type(error).__name__}: {one_line(error)}"
        with contextlib.suppress(jax.errors.JaxRuntimeError):  # somebody else was first, or gone
            self._client.key_value_set(_NEWS, json.dumps([self._id, code, message]))
        self._end(code, message)

    def _follow(self) -> None:
        """Waits for the news of how the job ends."""
        while True:
            try:
                news = self._client.blocking_key_value_get(_NEWS, FOREVER_MS)
                break
            except jax.errors.JaxRuntimeError as error:
                if "DEADLINE_EXCEEDED" not in str(error):
                    self._end(LOST, "process 0, the coordinator, was lost")
        teller, code, message = json.loads(news)
        if code and teller != self._id:
            self._end(code, f"process {teller}: {message}")

    def _beat(self) -> None:
        """Shows that this process is alive; process 0 checks that the others are."""
        interval_s = min(self._peer_timeout_s / 10, 5.0)
        now = time.monotonic()
        # process: its last beat, and when that was new
        seen = {str(i): ("", now) for i in range(1, jax_distributed.global_state.num_processes)}
        beat = 0
        while not self._leaving.wait(interval_s):
            beat += 1
            with contextlib.suppress(jax.errors.JaxRuntimeError):  # `_follow` sees to it
                self._client.key_value_set(f"{_ALIVE}{self._id}", str(beat), allow_overwrite=True)
                if self._id == 0:
                    self._check(seen)

    def _check(self, seen: dict[str, tuple[str, float]]) -> None:
        now = time.monotonic()
        beats = {key.rpartition("/")[2]: b for key, b in self._client.key_value_dir_get(_ALIVE)}
        for process, (beat, since) in seen.items():
            if beats.get(process, "") != beat:
                seen[process] = (beats[process], now)
            elif now - since > self._peer_timeout_s:
                silence = f"not heard of for {self._peer_timeout_s:g} s"
                message = f"process {process} was lost: {silence}"
                with contextlib.suppress(jax.errors.JaxRuntimeError):
                    self._client.key_value_set(_NEWS, json.dumps([self._id, LOST, message]))
                self._end(LOST, message)

    def _end(self, code: int, message: str) -> NoReturn:
        self._ending.acquire()
        if self._id == 0:
            time.sleep(_LINGER_S)
        _exit(code, message)


def tells_of_a_loss(error: BaseException) -> bool:
    """True for an error which means that another process is gone."""
    # Where a dispatch meets the broken connection, JAX raises ValueError; else JaxRuntimeError.
    if isinstance(error, ValueError | RuntimeError) and "Gloo" in str(error):
        return True
    signs = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "Connection", "heartbeat", "barrier")
    return isinstance(error, jax.errors.JaxRuntimeError) and any(s in str(error) for s in signs)
