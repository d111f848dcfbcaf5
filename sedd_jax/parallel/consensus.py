"""Agreement among the processes of a job, so that each takes the same turn at the same step."""

from collections.abc import Callable
from typing import TypeVar

import jax
import numpy as np
from jax._src import distributed as jax_distributed  # its barrier has no public name
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

FOREVER_MS = 2**31 - 1  # 24 days

Votes = TypeVar("Votes")


def is_first() -> bool:
    """True at process 0, which prints and writes for all."""
    return jax.process_index() == 0


def wait_for_all() -> None:
    """Returns when all processes have come here.

    Before the first run of a program, because compiling may take one much longer than another:
    gloo gives up after 30 s when a process is not there to make a connection.
    """
    if jax.process_count() > 1:
        jax_distributed.global_state.client.wait_at_barrier("sedd_jax/all", FOREVER_MS)


def compile_for_all(program: Callable, *args) -> None:
    """Compiles a jitted program for these arguments, and returns when all processes have.

    Before the first run of it, which then compiles nothing.
    """
    if jax.process_count() > 1:
        program.lower(*args).compile()
        wait_for_all()


def any_process(flag: bool) -> bool:
    """True where the flag is set on any process; all must call it, and wait for each other."""
    return flag if jax.process_count() == 1 else bool(_gather(flag).any())


def from_first(value: int) -> int:
    """The value, below 2**31, that process 0 has; all must call it, and wait for each other."""
    return value if jax.process_count() == 1 else int(_gather(value)[0])


def array_from_first(values: np.ndarray) -> np.ndarray:
    """The array that process 0 has; all must call it with arrays of one shape, as `from_first`."""
    return values if jax.process_count() == 1 else _gather(values)[0]


def _gather(values: int | np.ndarray) -> np.ndarray:
    wait_for_all()
    return multihost_utils.process_allgather(np.asarray(values, np.int32))


class Agreement:
    """The largest of the processes' votes after each step, without waiting for each other.

    Several processes get to know it a step later, as they get to know the step's metrics. All must
    ask after every step, with votes of the same structure.
    """

    def __init__(self):
        devices = np.array(jax.devices())
        mesh = Mesh(devices, ("all",))
        self._each = NamedSharding(mesh, PartitionSpec("all"))
        whole = NamedSharding(mesh, PartitionSpec())
        self._max = jax.jit(lambda vote_DxN: vote_DxN.max(axis=0), out_shardings=whole)
        self._in_flight: jax.Array | None = None  # of the last step (N,)

    def largest(self, votes: Votes) -> Votes:
        """The largest of each vote over all processes, of D devices together.

        votes: a pytree of N integers ≥ 0. The result is as of now for one process, of last time for
        more than one, at first 0.
        """
        if jax.process_count() == 1:
            return votes
        leaves, structure = jax.tree.flatten(votes)
        agreed = [0] * len(leaves) if self._in_flight is None else np.asarray(self._in_flight)
        vote_1xN = np.array([leaves], np.int32)
        shape = (self._each.mesh.size, len(leaves))
        vote_DxN = jax.make_array_from_callback(shape, self._each, lambda index: vote_1xN)
        self._in_flight = self._max(vote_DxN)
        return jax.tree.unflatten(structure, [int(vote) for vote in agreed])
