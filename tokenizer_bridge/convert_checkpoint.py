"""Converts a WavTokenizer checkpoint to safetensors, which carry no code.

    python -m tokenizer_bridge.convert_checkpoint --input=X.ckpt --output=X.safetensors [--trust]

Without --trust the file is read with PyTorch's weights-only reader, which runs nothing.
"""

from absl import flags

from tokenizer_bridge.token_dataset.errors import run_door
from tokenizer_bridge.wavtokenizer.checkpoints import convert_checkpoint

_INPUT = flags.DEFINE_string("input", None, "Checkpoint (.ckpt) to read.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "Safetensors file to write.", required=True)
_TRUST = flags.DEFINE_bool(
    "trust", False, "Unpickle the file although that runs any code in it: only for files you trust."
)


def main(argv: list[str]) -> None:
    del argv
    weights = convert_checkpoint(_INPUT.value, _OUTPUT.value, trust=_TRUST.value)
    print(
        f"{_OUTPUT.value}: {len(weights.tensors)} tensors of the codec "
        f"({weights.num_skipped} others left out)"
    )


if __name__ == "__main__":
    run_door(main)
