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

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from sedd_jax import config_arguments
from sedd_jax.errors import UserError
from sedd_jax.weights import published_config, torch_run, torch_weights
from tokenizer_bridge.token_dataset.command import (
    Parser,
    Switch,
    integer,
    local_path,
    naming,
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
    except torch_run.Untold as error:
        arguments_of_keys = " ".join(f"--config.{key}=VALUE" for key in error.keys)
        raise UserError(f"{error}: give {arguments_of_keys}, or a --config of theirs") from error


def import_weights(
    source: str | Path,
    workdir: str | Path,
    config: ConfigDict,
    *,
    overrides: Mapping[str, Any] | None = None,
    config_is_told: bool = False,
    codec: str | None = None,
    tokens: str | Path | None = None,
    use_ema: bool = True,
) -> None:
    """Makes a run of published weights, and prints what it is made of.

    Args:
      source: file or folder of the weights, or user/name on the hub.
      workdir: of the run to make.
      config: what stands for the keys that are neither published nor in `overrides`.
      overrides: dotted key → value, which come before what is published.
      config_is_told: whether `config` is of these weights, and no default.
      codec: name of the model's codec.
      tokens: path of a dataset of it.
      use_ema: whether to take the EMA weights where there are any.

    Raises UserError, before anything is written.
    """
    torch_run.check_output(workdir)  # this and the codec before gigabytes are fetched or read
    of_codec = torch_run.find_codec(codec, tokens)
    file, config_file = torch_run.locate(source)
    published = published_config.read(config_file) if config_file else None
    weights = torch_weights.load(file)
    if not use_ema:
        weights = dataclasses.replace(weights, ema_params=None)
    told = {**(overrides or {}), "data.path": str(Path(tokens).absolute()) if tokens else ""}
    if not config_is_told:
        torch_run.require_told(file, published, told)
    config, num_codes = torch_run.complete_config(weights, published, config, told)
    with naming(str(file)):
        config = torch_run.write(weights, config, num_codes, of_codec, workdir)

    which = "weights" if weights.ema_params is None else "EMA weights"
    print(f"{workdir}: {which} of step {weights.step:,} from {file}")
    model = config.model
    print(
        f"as {config_file or 'the config'} says: {model.num_heads} heads, length {model.length}, "
        f"{config.graph.type} graph, {config.noise.type} noise"
    )
    if published and published.length_is_aidds and "model.length" not in told:
        print(f"{config_file} leaves the length out: {model.length} is that of AIDD's program")
    if of_codec is None:
        print("no codec is named: what is sampled cannot be decoded, nor the model evaluated")
    if config.graph.num_codes:
        print(
            f"the codec's code {config.graph.num_codes} is none of the model's, which has its mask "
            "there: it is never sampled, and unknown where tokens have it"
        )


if __name__ == "__main__":
    run_command(main)
