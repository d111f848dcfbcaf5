"""Kills a small training run at random moments, again and again, and checks that nothing is lost.

    bash launch/soak.sh [--kills=30 | --hours=8] [--seed=0] [--workdir=DIR] [--tokens=TOKENS]

One run keeps its devices through all its lives; another changes processes, devices and mesh from
life to life. Both are killed by SIGKILL and SIGTERM, at all processes or at one of them, while they
start, train or save: so many times, or until so many hours are over. At the end each is compared
with a run of the same length that nobody disturbed, and every checkpoint that is left is read back.

Exit code 1 when a step beyond the last checkpoint was lost, a checkpoint could not be restored, a
process ended otherwise than it should, the first run's state is not bit-equal to the undisturbed
one, or the second's parameters differ by more than BOUND.
"""

from collections.abc import Sequence
from pathlib import Path

from sedd_jax.errors import UserError
from tokenizer_bridge.token_dataset.command import Parser, integer, local_path, number, run_command


def make_parser() -> Parser:
    parser = Parser(__doc__)
    how_long = parser.add_mutually_exclusive_group()
    how_long.add_argument("--kills", type=integer(2), default=30, help="How many, over both runs.")
    how_long.add_argument(
        "--hours",
        type=number(0),
        help="Kill until they are over instead, a third of them the first run; then compare.",
    )
    parser.add_argument(
        "--seed",
        type=integer(0),
        default=0,
        help="Seed of moments, signals, victims and topologies.",
    )
    parser.add_argument(
        "--workdir",
        type=local_path,
        default="runs/soak",
        help="Directory of the runs; emptied first.",
    )
    parser.add_argument(
        "--tokens",
        type=local_path,
        metavar="TOKENS",
        help="Token dataset; a small one is made by default.",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    arguments = make_parser().parse_args(argv)

    from launch.jobs.soak import SoakError, soak_both

    try:
        return soak_both(
            Path(arguments.workdir).absolute(),
            kills=arguments.kills,
            hours=arguments.hours,
            seed=arguments.seed,
            tokens=arguments.tokens,
        )
    except SoakError as error:
        raise UserError(f"--seed={arguments.seed}: {error}") from error


if __name__ == "__main__":
    run_command(main)
