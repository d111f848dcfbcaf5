"""Codecs by name, as a token dataset describes them, for those who do not load one.

The codecs themselves are loaded by tokenizer_bridge/wavtokenizer/registry.py, with PyTorch.
"""

import difflib
from pathlib import Path
from typing import Any

from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import file_sha256

_ASSETS = Path(__file__).parents[1] / "assets"
# Those that come with the project: the folder of each.
EMBEDDED = {"demo": _ASSETS / "demo_codec", "demo-scores": _ASSETS / "demo_scores_codec"}
_RATES = {  # name: (sample rate in Hz, samples per token, codes)
    "demo": (24_000, 320, 4_096),
    "demo-scores": (24_000, 600, 1_024),
    "wavtokenizer-medium-music-75": (24_000, 320, 4_096),
    "wavtokenizer-medium-music-75-v2": (24_000, 320, 4_096),
    "wavtokenizer-large-unify-40": (24_000, 600, 4_096),
    "wavtokenizer-large-speech-75": (24_000, 320, 4_096),
}
NAMES = tuple(_RATES)


def describe(name: str) -> dict[str, Any]:
    """The "codec" of dataset.json for a codec of that name.

    Its weights_sha256 is "" for a published codec, whose weights are not here: any weights of that
    name fit (`description.codec_difference`). Raises UserError for an unknown name.
    """
    if name not in _RATES:
        raise unknown(name)
    sample_rate, hop_length, codebook_size = _RATES[name]
    folder = EMBEDDED.get(name)
    return {
        "name": name,
        "weights_sha256": file_sha256(folder / "model.safetensors") if folder else "",
        "sample_rate": sample_rate,
        "hop_length": hop_length,
        "codebook_size": codebook_size,
    }


def unknown(name: str) -> UserError:
    """The error about a name that no codec has, with the nearest names that there are."""
    near = difflib.get_close_matches(name.lower(), NAMES, n=2, cutoff=0.6)
    hint = f"the nearest: {', '.join(near)}" if near else f"there are {', '.join(NAMES)}"
    return UserError(f"{name}: no such codec; {hint}")
