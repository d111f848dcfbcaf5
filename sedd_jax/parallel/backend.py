"""The devices that JAX can use here, or one line on why it can use none."""

import jax

from sedd_jax.errors import UserError, one_line


def all_devices() -> list[jax.Device]:
    """The devices of all processes of the job.

    Raises UserError when JAX cannot use those that JAX_PLATFORMS asks for.
    """
    try:
        return jax.devices()
    except (AssertionError, RuntimeError) as error:  # the former, with no text, where CUDA is asked
        asked = jax.config.jax_platforms
        if not asked:
            raise
        extras = {"cuda": "cuda", "gpu": "cuda", "tpu": "tpu"}
        names = dict.fromkeys(extras[name] for name in asked.split(",") if name in extras)
        cure = "".join(f", or install JAX for it: sedd-music[{name}]" for name in names)
        why = f" ({one_line(error, limit=200)})" if str(error) else ""
        raise UserError(
            f"JAX_PLATFORMS is {asked}, and JAX finds no such device here{why}: unset it to use "
            f"what there is{cure}"
        ) from error
