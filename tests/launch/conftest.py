"""The toy codec and the command runner of the bridge's tests; the devices of the model's."""

from tests.sedd_jax import conftest as simulated_devices
from tests.tokenizer_bridge.conftest import codec, codec_dir, run_command

__all__ = ["codec", "codec_dir", "run_command", "simulated_devices"]
