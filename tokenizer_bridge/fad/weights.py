"""Weights of the embedding networks: where they are, what they must be, how they are read.

Nothing is downloaded from here: an error names the size and the command. No code in a file is run.
"""

import os
import shlex
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import file_sha256

ASSETS = Path(__file__).parent.parent / "assets"
OWN = "own:"  # before a path: weights of the user's own, whatever their SHA-256


@dataclass(frozen=True)
class WeightsFile:
    """A published file. sha256: hexadecimal; its first digits where no more have been published."""

    name: str
    sha256: str
    size: str
    url: str = ""
    shipped: bool = False


_VGGISH = "https://github.com/harritaylor/torchvggish/releases/download/v0.1/"
_PANNS = "https://zenodo.org/records/3987831/files/"
WEIGHTS = {
    "musicnn": WeightsFile(
        name="musicnn/model.safetensors",
        sha256="c1c5dc3c6e3c9618e3e08703767bc19299c7e807bb6c6f2856c6221d91226f21",
        size="3 MB",
        shipped=True,
    ),
    "vggish": WeightsFile(
        name="vggish-10086976.pth",
        sha256="10086976245803799d9194e9a73d9b6c1549c71d1b80106f5cade5608a561f4b",
        size="289 MB",
        url=_VGGISH + "vggish-10086976.pth",
    ),
    "vggish-pca": WeightsFile(
        name="vggish_pca_params-970ea276.pth",
        sha256="970ea276",  # torch.hub's naming rule: eight digits of the SHA-256
        size="below 1 MB",
        url=_VGGISH + "vggish_pca_params-970ea276.pth",
    ),
    "cnn14-16k": WeightsFile(
        name="Cnn14_16k_mAP=0.438.pth",
        sha256="e2ee543a27919542c2ea03eabaa70b24dcd4e6c8e05621de6b67a94e4c5058e6",
        size="359 MB",
        url=_PANNS + "Cnn14_16k_mAP%3D0.438.pth",
    ),
    "cnn14-32k": WeightsFile(
        name="Cnn14_mAP=0.431.pth",
        sha256="0dc499e40e9761ef5ea061ffc77697697f277f6a960894903df3ada000e34b31",
        size="327 MB",
        url=_PANNS + "Cnn14_mAP%3D0.431.pth",
    ),
}

# NumPy arrays lie in the published PCA parameters and beside the weights of the 16 kHz CNN14;
# making an array runs no code of the file's.
_NUMPY_ARRAYS = [
    (np._core.multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),
    (np._core.multiarray._reconstruct, "numpy._core.multiarray._reconstruct"),
    np.ndarray,
    np.dtype,
    np.dtypes.Float32DType,
    np.dtypes.Float64DType,
    np.dtypes.Int64DType,
]


@dataclass(frozen=True)
class LoadedWeights:
    """Tensors by name. own: they are the user's own, so that no SHA-256 was expected of them."""

    tensors: dict[str, torch.Tensor]
    sha256: str
    own: bool


def parse_weights(values: Sequence[str]) -> dict[str, str]:
    """`NAME=FILE` or `NAME=own:FILE` each, by name. Raises UserError."""
    given = {}
    for value in values:
        name, _, path = value.partition("=")
        if name not in WEIGHTS or not path.removeprefix(OWN):
            raise UserError(
                f"{value}: write NAME=FILE, or NAME={OWN}FILE for weights of your own, "
                f"with NAME one of {', '.join(WEIGHTS)}"
            )
        given[name] = path
    return given


def load_weights(name: str, given: Mapping[str, str] | None = None) -> LoadedWeights:
    """The weights called `name`, one of WEIGHTS.

    given: files by name, as `parse_weights` returns them; what is not named there is shipped or
    lies in a cache. Raises UserError for weights that are missing, damaged or of another kind.
    """
    path, own = _locate(name, (given or {}).get(name))
    try:
        sha256 = file_sha256(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    expected = WEIGHTS[name].sha256
    if not own and not sha256.startswith(expected):
        raise UserError(
            f"{path}: not the published weights of {name}: SHA-256 {sha256}, not {expected}; fetch "
            f"it again, or say {name}={OWN}FILE if these are weights of your own"
        )
    return LoadedWeights(_read(path), sha256, own)


def load_into(network: torch.nn.Module, weights: LoadedWeights, name: str) -> None:
    """Put weights into a network, whose `UNUSED_WEIGHTS` are prefixes of tensors it does without.

    Raises UserError if tensors are missing, superfluous or of other shapes.
    """
    unused = tuple(network.UNUSED_WEIGHTS)
    ours = network.state_dict()
    tensors = {key: value for key, value in weights.tensors.items() if not key.startswith(unused)}
    for key, value in tensors.items():  # vectors are published as columns as well
        if key in ours and value.squeeze().shape == ours[key].shape:
            tensors[key] = value.squeeze()
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split(":", 1)[-1].split())[:200]
        raise UserError(f"the weights given for {name} are not of its network: {reason}") from error


def cache_folder() -> Path:
    """The folder where this project keeps what it can have again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sedd_music"


def require_weights(names: Iterable[str], given: Mapping[str, str] | None = None) -> None:
    """Raise one UserError, one line, for all of these weights that are missing."""
    missing = []
    for name in names:
        try:
            _locate(name, (given or {}).get(name))
        except UserError as error:
            missing.append(str(error))
    if missing:
        raise UserError("; ".join(missing))


def _locate(name: str, given: str | None) -> tuple[Path, bool]:
    """A path, and whether the user vouches for the file."""
    weights = WEIGHTS[name]
    if given is not None:
        path = Path(given.removeprefix(OWN)).expanduser()
        if not path.is_file():
            raise UserError(f"{name}={given}: no such file")
        return path, given.startswith(OWN)
    if weights.shipped:
        return ASSETS / weights.name, False
    ours = cache_folder() / "weights"
    hub = Path(torch.hub.get_dir()) / "checkpoints"
    for folder in (ours, hub):
        for file in (weights.name, urllib.parse.quote(weights.name)):  # the hub keeps a URL's %3D
            if (folder / file).is_file():
                return folder / file, False
    target = shlex.quote(str(ours / weights.name))
    raise UserError(
        f"{name}: its weights ({weights.size}) are not on this machine; fetch them with "
        f"`curl -L --create-dirs -o {target} {weights.url}`, "
        f"or say where they are: {name}=FILE"
    )


def _read(path: Path) -> dict[str, torch.Tensor]:
    """Tensors by name; published checkpoints keep them below "model"."""
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        with torch.serialization.safe_globals(_NUMPY_ARRAYS):
            content = torch.load(path, map_location="cpu", weights_only=True)
        content = content.get("model", content)
        tensors = {str(key): torch.as_tensor(value) for key, value in content.items()}
        for key, value in tensors.items():
            if value.layout != torch.strided or value.is_complex() or value.is_quantized:
                raise ValueError(f"{key} is no dense tensor of real numbers")
        return tensors
    except Exception as error:  # the readers raise whatever a damaged file leads them to
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: not readable as weights ({reason})") from error
