r"""Weights of the published PyTorch network become a run.

    python -m sedd_jax.import_weights --input=TaliDror/AIDD --codec=wavtokenizer-medium-music-75 \
        --output=RUN

The input is a file (.safetensors, .npz or .pth: a raw state dict, or the published checkpoint with
its EMA), a folder with one, or `user/name` on the Hugging Face hub. RUN is then sampled from and
evaluated like a run of our own, with the EMA weights unless --no_ema. What weights cannot tell
(heads, length, graph, noise) comes from the published config beside them (config.json, config.yaml,
.hydra/config.yaml), or from --config and --config.KEY=VALUE. --codec names the codec that the model
speaks, or --tokens a dataset of it: needed to evaluate, and to decode samples.
"""

from collections.abc import Sequence

from sedd_jax import config_arguments
from sedd_jax.errors import UserError
from tokenizer_bridge.token_dataset.command import (
    Parser,
    Switch,
    integer,
    local_path,
    run_command,
)


def make_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument(
        "--input",
        type=local_path,
        required=True,
        metavar="FILE",
        help="File or folder of published weights, or user/name on the hub.",
    )
    parser.add_argument(
        "--output",
        "--workdir",
        type=local_path,
        required=True,
        metavar="RUN",
        help="Directory of the run to make.",
    )
    parser.add_argument("--codec", metavar="NAME", help="Name of the codec that the model speaks.")
    parser.add_argument(
        "--tokens",
        type=local_path,
        metavar="TOKENS",
        help="Token dataset of the codec that the model speaks.",
    )
    parser.add_argument(
        "--length",
        type=integer(1),
        help="Tokens of a training window, where the published config does not say.",
    )
    parser.add_argument(
        "--ema", action=Switch, default=True, help="Take the EMA weights where the file has them."
    )
    config_arguments.add_arguments(parser, required=False)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments, chosen = config_arguments.parse(make_parser(), argv, default="music_small")
    overrides = dict(chosen.overrides)
    if arguments.length:
        overrides["model.length"] = arguments.length

    from sedd_jax.jobs.import_weights import import_weights
    from sedd_jax.weights.torch_run import Untold

    try:
        import_weights(
            arguments.input,
            arguments.output,
            chosen.config,
            overrides=overrides,
            config_is_told=arguments.config is not None,
            codec=arguments.codec,
            tokens=arguments.tokens,
            use_ema=arguments.ema,
        )
    except Untold as error:
        arguments_of_keys = " ".join(f"--config.{key}=VALUE" for key in error.keys)
        raise UserError(f"{error}: give {arguments_of_keys}, or a --config of theirs") from error


if __name__ == "__main__":
    run_command(main)
