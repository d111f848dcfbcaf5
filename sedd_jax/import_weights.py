"""Weights of the published PyTorch network become a run.

    python -m sedd_jax.import_weights --input=FILE --workdir=RUN [--tokens=TOKENS]

FILE is .safetensors, .npz or .pth: a raw state dict or the published checkpoint with its EMA; or a
folder with model.safetensors, as on the Hugging Face hub. RUN is then sampled from and evaluated
like a run of our own, with the EMA weights unless --no_ema. What weights cannot tell (heads,
length, graph, noise) comes from the published config beside them (config.json,
.hydra/config.yaml), or where there is none from --config and --config.KEY=VALUE. --tokens names a
dataset of the codec that the model was trained on: needed to evaluate, and to decode samples.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from sedd_jax import config_arguments
from sedd_jax.weights import torch_run, torch_weights
from tokenizer_bridge.token_dataset.command import Parser, Switch, run_command


def make_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument(
        "--input", required=True, metavar="FILE", help="File or folder of published weights."
    )
    parser.add_argument(
        "--workdir", required=True, metavar="RUN", help="Directory of the run to make."
    )
    parser.add_argument(
        "--tokens", metavar="TOKENS", help="Token dataset of the codec that the model speaks."
    )
    parser.add_argument(
        "--ema", action=Switch, default=True, help="Take the EMA weights where the file has them."
    )
    config_arguments.add_arguments(parser, required=False, default="music_small")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments, chosen = config_arguments.parse(make_parser(), argv)
    import_weights(
        arguments.input,
        arguments.workdir,
        chosen.config,
        tokens=arguments.tokens,
        use_ema=arguments.ema,
    )


def import_weights(
    source: str | Path,
    workdir: str | Path,
    config: ConfigDict,
    *,
    tokens: str | Path | None = None,
    use_ema: bool = True,
) -> None:
    """Makes a run of published weights, and prints what it is made of.

    Args:
      source: file or folder of the weights.
      workdir: of the run to make.
      config: what is not published with them.
      tokens: path of a dataset of the model's codec.
      use_ema: whether to take the EMA weights where there are any.

    Raises UserError, before anything is written.
    """
    file, published_config = torch_run.locate(source)
    weights = torch_weights.load(file)
    if not use_ema:
        weights = dataclasses.replace(weights, ema_params=None)
    config = torch_run.write(weights, published_config, config, tokens, workdir)
    which = "weights" if weights.ema_params is None else "EMA weights"
    print(f"{workdir}: {which} of step {weights.step:,} from {file}")
    print(
        f"as {published_config or 'the config'} says: {config.model.num_heads} heads, length "
        f"{config.model.length}, {config.graph.type} graph, {config.noise.type} noise"
    )


if __name__ == "__main__":
    run_command(main)
