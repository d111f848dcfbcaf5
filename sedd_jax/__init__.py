"""Score-entropy discrete diffusion over music tokens, in JAX.

`Model` is a trained model as an object; the modules beside it are the commands
(`python -m sedd_jax.train …`) and the rooms that they are made of.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sedd_jax.api import Model

__all__ = ["Model", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Loads JAX when the model is asked for: importing the package alone starts nothing."""
    if name == "Model":
        from sedd_jax.api import Model

        return Model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
