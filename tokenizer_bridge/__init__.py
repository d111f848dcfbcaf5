"""Audio to WavTokenizer codes and back, token data sets, and honest measures of audio (PyTorch)."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizer_bridge.codec import Codec

__all__ = ["Codec"]


def __getattr__(name: str) -> Any:
    """Loads PyTorch when the codec is asked for: readers of token data sets do without."""
    if name == "Codec":
        from tokenizer_bridge.codec import Codec

        return Codec
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
