r"""Exports a trained model: a small folder to share and to sample from.

    python -m sedd_jax.weights.export --workdir=RUN --output=DIR --data="what it was trained on" \
        --license=CC-BY-4.0
    python -m sedd_jax.weights.export --workdir=RUN --output=DIR --push_to_hub=user/name

DIR holds the EMA weights under the names of the published PyTorch network, the config, the codec's
description, the tags and a model card (sedd_jax/weights/exported.py). `sample --workdir=DIR` and
`evaluate --workdir=DIR` take it for a run. --push_to_hub uploads it to the Hugging Face hub, where
it is `--workdir=user/name`, with the token of HF_TOKEN or of `hf auth login`; tried on a stand-in
of the hub only.
"""

import argparse
from collections.abc import Sequence

from sedd_jax import model_arguments
from sedd_jax.errors import UserError
from sedd_jax.remote_run import local_run
from sedd_jax.weights import hub
from sedd_jax.weights.choices import DTYPES
from tokenizer_bridge.token_dataset.command import Parser, path_or_url, run_command
from tokenizer_bridge.token_dataset.paths import is_url


def make_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument(
        "--workdir",
        type=path_or_url,
        required=True,
        metavar="RUN",
        help="Directory of the run.",
    )
    parser.add_argument(
        "--output", type=path_or_url, required=True, metavar="DIR", help="Folder to write."
    )
    model_arguments.add_step(parser)
    parser.add_argument(
        "--dtype", choices=DTYPES, default="float32", help="Type of the stored weights."
    )
    parser.add_argument("--data", metavar="TEXT", help="The training data, for the model card.")
    parser.add_argument("--license", metavar="TEXT", help="The weights' licence, for the card.")
    parser.add_argument(
        "--push_to_hub",
        type=_hub_name,
        metavar="USER/NAME",
        help="Also upload the folder to the Hugging Face hub; a model that is new there is public.",
    )
    return parser


def _hub_name(text: str) -> str:
    try:
        return hub.check_name(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def main(argv: Sequence[str] | None = None) -> None:
    arguments = make_parser().parse_args(argv)
    options = vars(arguments).copy()
    name = options.pop("push_to_hub")
    if name and is_url(arguments.output):
        raise UserError("--push_to_hub uploads a folder of this machine: --output is a URL")

    from sedd_jax.weights.exporting import export, newest_evaluation, push

    step = export(**options)
    print(f"{arguments.output}: the model of step {step:,} in {arguments.dtype}")
    if newest_evaluation(local_run(arguments.workdir, arguments.step), step) is None:
        evaluate = f"python -m sedd_jax.evaluate --workdir={arguments.workdir} --step={step}"
        print(f"its card has no bound, for none was measured: {evaluate}, then export again")
    if name:
        print(f"{name}: {push(arguments.output, name)}")


if __name__ == "__main__":
    run_command(main)
