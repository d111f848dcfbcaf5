"""The arguments by which a process finds the others of its job.

    --distributed                                              on SLURM, GKE and TPU VMs
    --coordinator=HOST:PORT --num_processes=N --process_id=I   by hand, I from 0 to N − 1

What comes of it is told in sedd_jax/parallel/distributed.py.
"""

import argparse
import dataclasses

from sedd_jax.errors import UserError
from tokenizer_bridge.token_dataset.command import Parser, integer, number


@dataclasses.dataclass(frozen=True)
class Membership:
    """The way in which this process finds the others of its job; by default there are none.

    find: as SLURM, GKE or TPU VMs tell it.
    coordinator, num_processes, process_id: by hand instead, HOST:PORT of process 0 and which of how
      many this one is.
    join_timeout_s: to wait for all to join; peer_timeout_s: of silence until one is missed.

    Raises UserError when it does not say enough, or more than fits together.
    """

    find: bool = False
    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None
    join_timeout_s: float = 300.0
    peer_timeout_s: float = 100.0

    def __post_init__(self):
        by_hand = ("coordinator", "num_processes", "process_id")
        missing = [name for name in by_hand if getattr(self, name) is None]
        if len(missing) == len(by_hand):
            return
        if missing:
            raise UserError(
                f"{' and '.join(missing)} missing: to join a job by hand takes {', '.join(by_hand)}"
            )
        if self.find:
            raise UserError(
                "a job is either found or joined by hand: with a coordinator there is nothing to "
                "find"
            )
        if self.process_id >= self.num_processes:
            raise UserError(f"process_id {self.process_id} of {self.num_processes} processes")
        if not self.coordinator.rpartition(":")[2].isdigit() or ":" not in self.coordinator:
            raise UserError(f"the coordinator {self.coordinator} must be HOST:PORT")

    @property
    def is_alone(self) -> bool:
        return not self.find and self.coordinator is None


def add_arguments(parser: Parser) -> None:
    """Adds the arguments that `asked_for` reads."""
    group = parser.add_argument_group("several processes")
    group.add_argument(
        "--distributed",
        action="store_true",
        help="Join the job's other processes: SLURM, GKE or TPU VMs.",
    )
    group.add_argument(
        "--coordinator", metavar="HOST:PORT", help="Join by hand: where process 0 is."
    )
    group.add_argument(
        "--num_processes", type=integer(1), metavar="N", help="With --coordinator: how many."
    )
    group.add_argument(
        "--process_id", type=integer(0), metavar="I", help="With --coordinator: which one this is."
    )
    group.add_argument(
        "--join_timeout",
        type=number(1.0),
        default=300.0,
        metavar="SECONDS",
        help="Time for all processes to join.",
    )
    group.add_argument(
        "--peer_timeout",
        type=number(1.0),
        default=100.0,
        metavar="SECONDS",
        help="Silence until a process is missed.",
    )


def asked_for(arguments: argparse.Namespace) -> Membership:
    """The membership that the arguments of `add_arguments` ask for. Raises UserError."""
    return Membership(
        find=arguments.distributed,
        coordinator=arguments.coordinator,
        num_processes=arguments.num_processes,
        process_id=arguments.process_id,
        join_timeout_s=arguments.join_timeout,
        peer_timeout_s=arguments.peer_timeout,
    )
