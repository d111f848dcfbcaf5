"""Weights of the published PyTorch network become a run.

    python -m sedd_jax.import_weights --input=FILE --output=RUN [--tokens=TOKENS]

FILE is .safetensors, .npz or .pth: a raw state dict or the published checkpoint with its EMA; or a
folder with model.safetensors, as on the Hugging Face hub. RUN is then sampled from and evaluated
like a run of our own, with the EMA weights unless --noema. What weights cannot tell (heads, length,
graph, noise) comes from the published config beside them (config.json, .hydra/config.yaml), or
where there is none from --config and --config.KEY=VALUE. --tokens names a dataset of the codec that
the model was trained on: needed to evaluate, and to decode samples.
"""

import dataclasses
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from sedd_jax.errors import run_door
from sedd_jax.weights import torch_run, torch_weights


def main(argv: list[str]) -> None:
    del argv
    flags_ = flags.FLAGS
    file, published_config = torch_run.locate(flags_.input)
    weights = torch_weights.load(file)
    if not flags_.ema:
        weights = dataclasses.replace(weights, ema_params=None)
    config = torch_run.write(weights, published_config, flags_.config, flags_.tokens, flags_.output)
    which = "weights" if weights.ema_params is None else "EMA weights"
    print(f"{flags_.output}: {which} of step {weights.step:,} from {file}")
    print(
        f"as {published_config or '--config'} says: {config.model.num_heads} heads, length "
        f"{config.model.length}, {config.graph.type} graph, {config.noise.type} noise"
    )


def define_flags() -> None:
    """Here and not at import: another door in the same process may have flags of these names."""
    default = Path(__file__).parents[1] / "configs" / "music_small.py"
    flags.DEFINE_string("input", None, "File or folder of published weights.", required=True)
    flags.DEFINE_string("output", None, "Directory of the run to make.", required=True)
    flags.DEFINE_string("tokens", None, "Token dataset of the codec that the model speaks.")
    flags.DEFINE_bool("ema", True, "Take the EMA weights where the file has them.")
    config_flags.DEFINE_config_file("config", str(default), "Config for what is not published.")


if __name__ == "__main__":
    define_flags()
    run_door(main)
