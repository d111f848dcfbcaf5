"""Bits per token of a trained run on a split, beside the baselines to beat.

    python -m sedd_jax.evaluate --workdir=RUN --split=validation

Prints a table and writes RUN/evaluation_SPLIT_STEP.json, of other data than the run was trained on
RUN/evaluation_SPLIT_STEP_NAME-FINGERPRINT.json. The model's figure is an upper bound
(sedd_jax/likelihood/elbo.py); the baselines are exact, are fitted on the split `train` of the same
data (sedd_jax/likelihood/baselines.py) and predict exactly the same tokens, each token of the split
once (sedd_jax/likelihood/held_out.py), the first of each window by unigram. Several processes
(sedd_jax/parallel/distributed.py) measure together.

A model with tags or vectors is measured three times on the same noise, which takes three times as
long: told each track's own, none, and those of another track of the split, drawn among those whose
own differ. What it loses by either, paired, is what its knowledge of them is worth.

--stretch_s=0.75,2 measures besides what stretches of so many seconds in the middle of windows cost
given what stands around them, before them, and nothing (sedd_jax/likelihood/stretches.py): what
there is to be won when they are filled in, or when a piece is continued.

--autoregressive=AR_RUN measures besides, on the same tokens, a run that was trained with
config.model.type "autoregressive": its bits are exact, so what the bound is above them is how far
diffusion is from predicting one token after another. Such a run can be evaluated itself.

    python -m sedd_jax.evaluate --workdir=AR_RUN --tokens=PIECES --judge

is what it thinks of pieces, such as `sample` makes: exact bits per token, beside how much their
codes vary (sedd_jax/likelihood/judging.py), and both beside as many pieces of the same length from
the split of its own data.

Imported weights may not know all of the codec's codes (config.graph.num_codes). Tokens of the
others are then unknown: they count in no figure, and all figures are given that a token is none.
"""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from sedd_jax import model_arguments
from sedd_jax.errors import UserError
from sedd_jax.parallel import membership
from tokenizer_bridge.token_dataset.command import (
    Parser,
    integer,
    list_of,
    number,
    path_or_url,
    run_command,
)
from tokenizer_bridge.token_dataset.paths import is_url


def make_parser() -> Parser:
    parser = Parser(__doc__)
    model_arguments.add_model(parser)
    parser.add_argument(
        "--split",
        default="validation",
        help="Split to evaluate on; with --judge, that of the real pieces beside.",
    )
    parser.add_argument(
        "--tokens",
        type=path_or_url,
        metavar="TOKENS",
        help="Token dataset; the training data by default.",
    )
    parser.add_argument(
        "--output",
        type=path_or_url,
        metavar="DIR",
        help="Where the JSON file goes; the run's directory by default.",
    )
    parser.add_argument(
        "--num_t", type=integer(1), help="Noise levels per window; 4 by default. Diffusion only."
    )
    parser.add_argument(
        "--batch_size",
        type=integer(1),
        help="Windows at a time; config.sampling.batch_size by default.",
    )
    parser.add_argument(
        "--stretch_s",
        type=list_of(number(0.0, 86_400.0)),
        default=[],
        metavar="S",
        help="Lengths of stretches, in seconds, measured given their context, too. Diffusion only.",
    )
    parser.add_argument(
        "--autoregressive",
        type=path_or_url,
        metavar="AR_RUN",
        help="Run of an autoregressive model, measured on the same tokens.",
    )
    parser.add_argument(
        "--judge",
        action="store_true",
        help="Judge the pieces of --tokens by --workdir, an autoregressive run.",
    )
    membership.add_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = make_parser().parse_args(argv)
    output = arguments.output or arguments.workdir
    if not (is_url(output) or Path(output).is_dir() or arguments.output):
        raise UserError(f"--output is needed: {arguments.workdir} is no directory to write into")
    if arguments.judge:
        check_judging(arguments)
    job = membership.asked_for(arguments)

    from sedd_jax.compilation_cache import use_compilation_cache
    from sedd_jax.jobs import judge
    from sedd_jax.jobs.evaluate import check_writable, evaluate, table, write, write_as
    from sedd_jax.parallel.consensus import is_first
    from sedd_jax.parallel.distributed import joined

    with joined(job):
        use_compilation_cache()
        if is_first():
            check_writable(output)  # seen before hours of measuring, not after
        if arguments.judge:
            judged = judge.judge_pieces(
                arguments.workdir,
                arguments.tokens,
                split=arguments.split,
                step=arguments.step,
                batch_size=arguments.batch_size,
            )
            if judged is not None:
                print(judge.table(judged))
                print(f"\nwritten to {write_as(judge.file_name(judged), judged, output)}")
            return
        report = evaluate(
            arguments.workdir,
            split=arguments.split,
            step=arguments.step,
            tokens=arguments.tokens,
            num_t=arguments.num_t,
            batch_size=arguments.batch_size,
            stretches_s=arguments.stretch_s,
            autoregressive=arguments.autoregressive,
        )
        if report is not None:
            print(table(report))
            print(f"\nwritten to {write(report, output)}")


def check_judging(arguments: Namespace) -> None:
    """Raises UserError for what does not go with --judge."""
    if not arguments.tokens:
        raise UserError("--judge needs --tokens: the token dataset of the pieces")
    for flag, value in (
        ("num_t", arguments.num_t),
        ("stretch_s", arguments.stretch_s),
        ("autoregressive", arguments.autoregressive),
    ):
        if value:
            raise UserError(f"--{flag} does not go with --judge, whose bits are exact")


if __name__ == "__main__":
    run_command(main)
