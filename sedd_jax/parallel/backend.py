"""The devices that JAX can use here, or one line on why it can use none."""

import logging

import jax

from sedd_jax.errors import UserError, one_line

_JAX_LOGGER = logging.getLogger("jax._src.xla_bridge")


def all_devices() -> list[jax.Device]:
    """The devices of all processes of the job.

    Raises UserError when JAX cannot use those that JAX_PLATFORMS asks for.
    """
    held: list[logging.LogRecord] = []

    def hold(record: logging.LogRecord) -> bool:  # a plugin that fails is logged with a traceback
        held.append(record)
        return False

    _JAX_LOGGER.addFilter(hold)
    try:
        devices = jax.devices()
    except (AssertionError, RuntimeError) as error:  # the former, with no text, where CUDA is asked
        asked = jax.config.jax_platforms
        if not asked:
            raise
        extras = {"cuda": "cuda", "gpu": "cuda", "tpu": "tpu"}
        names = dict.fromkeys(extras[name] for name in asked.split(",") if name in extras)
        cure = "".join(f", or install JAX for it: sedd-music[{name}]" for name in names)
        reasons = [error, *(record.exc_info[1] for record in held if record.exc_info)]
        why = next((f" ({one_line(r, limit=200)})" for r in reasons if str(r)), "")
        raise UserError(
            f"JAX_PLATFORMS is {asked}, and JAX finds no such device here{why}: unset it to use "
            f"what there is{cure}"
        ) from error
    finally:
        _JAX_LOGGER.removeFilter(hold)
    for record in held:
        _JAX_LOGGER.handle(record)
    return devices
