"""The toy codec and the door runner of the bridge's tests; the devices of the model's."""

from tests.sedd_jax import conftest as simulated_devices
from tests.tokenizer_bridge.conftest import codec, codec_dir, run_door

__all__ = ["codec", "codec_dir", "run_door", "simulated_devices"]
