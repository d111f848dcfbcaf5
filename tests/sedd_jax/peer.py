"""A process of a small job, for tests of what its processes do to each other.

python -m tests.sedd_jax.peer --task=TASK --coordinator=… --num_processes=… --process_id=…
"""

import time
from pathlib import Path

import jax
import numpy as np

from sedd_jax.errors import UserError
from sedd_jax.parallel import distributed, membership
from sedd_jax.parallel.consensus import Agreement, any_process, from_first, is_first
from sedd_jax.parallel.distributed import joined
from tokenizer_bridge.token_dataset.command import Parser, number, run_command


def make_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("--task", required=True, help="Which of the functions below to run.")
    parser.add_argument("--argument", help="What the task needs to know.")
    parser.add_argument("--grace_s", type=number(), help="Instead of distributed's own.")
    membership.add_arguments(parser)
    return parser


def agree(argument: str | None) -> None:
    """Each process says its own number; what they agree on is a call old."""
    agreement, me = Agreement(), jax.process_index()
    heard = [agreement.largest([step, 10 * me]) for step in range(3)]
    print("heard", heard, any_process(me == 1), from_first(7 + me), flush=True)


def compute(argument: str | None) -> None:
    """Steps with a collective each, for ever."""
    agreement = Agreement()
    agreement.largest(0)
    ready(argument)
    while True:
        agreement.largest(0)
        time.sleep(0.01)


def idle(argument: str | None) -> None:
    """Nothing that another process takes part in, for ever."""
    ready(argument)
    time.sleep(1000)


def mistake(argument: str | None) -> None:
    """A mistake that process 1 alone finds out about, while the others wait for it."""
    if jax.process_index() == 1:
        raise UserError("record 7 is damaged")
    any_process(False)


def slow_end(argument: str | None) -> None:
    """Process 0 has more to do than the others, for so many seconds."""
    if is_first():
        time.sleep(float(argument))


def ready(argument: str | None) -> None:
    any_process(False)
    Path(argument, f"ready-{jax.process_index()}").touch()


def read_epoch(argument: str | None) -> None:
    """This host's rows of every batch of an epoch; writes the windows' first tokens."""
    from sedd_jax import data
    from sedd_jax.parallel import mesh
    from tokenizer_bridge.token_dataset.records import TokenDataset

    dataset = TokenDataset(Path(argument) / "tokens")
    sharding = mesh.batch_sharding(mesh.make_mesh({"data": -1, "fsdp": 1, "tensor": 1}))
    rows_R = mesh.host_rows(sharding, 8)
    batches = data.training_batches(dataset, "train", length=8, batch_size=8, seed=0, rows_R=rows_R)
    first_SxR = np.stack([next(batches)[:, 0] for _ in range(3)])
    np.save(Path(argument) / f"read-{jax.process_index()}.npy", first_SxR)


def main() -> None:
    arguments = make_parser().parse_args()
    if arguments.grace_s is not None:
        distributed._GRACE_S = arguments.grace_s
    with joined(membership.asked_for(arguments)):
        globals()[arguments.task](arguments.argument)


if __name__ == "__main__":
    run_command(main)
