"""The toy codec and the door runner of the bridge's tests."""

from tests.tokenizer_bridge.conftest import codec, codec_dir, run_door

__all__ = ["codec", "codec_dir", "run_door"]
