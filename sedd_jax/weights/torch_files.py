"""Arrays out of PyTorch's files, without PyTorch and without running anything they contain.

A .pth file of torch.save is a zip archive: a pickle of the object, in which each tensor refers to
a member `data/KEY` with its bytes. The pickle is read by an unpickler that knows tensors and plain
containers, and refuses every other name.
"""

import collections
import contextlib
import dataclasses
import pickle
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors.numpy import load_file

from sedd_jax.errors import UserError, one_line

SUFFIXES = (".safetensors", ".npz", ".pth", ".pt", ".ckpt", ".bin")

_DTYPES = {
    "FloatStorage": np.dtype(np.float32),
    "DoubleStorage": np.dtype(np.float64),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
}


def read(path: str | Path) -> Any:
    """The content of a .safetensors, .npz or torch.save file; tensors are arrays or `StoredTensor`.

    Raises UserError when the file is missing, of another kind, damaged, or would run code.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    with _naming(path):
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        if path.suffix in SUFFIXES:
            return _read_torch(path)
    raise UserError(f"{path}: weights come as one of {', '.join(SUFFIXES)}")


@contextlib.contextmanager
def _naming(path: Path):
    """A context in which errors of reading `path` become one line that names it."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # whatever a damaged file makes zip, pickle or safetensors raise
        raise UserError(f"{path} cannot be read: {one_line(error, limit=150)}") from error


@dataclasses.dataclass(frozen=True)
class StoredTensor:
    """A tensor of a torch.save file, not yet read: `array()` reads it."""

    path: Path
    member: str
    dtype: np.dtype
    offset: int  # elements from the start of the storage
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # elements

    def array(self) -> np.ndarray:
        """Raises UserError when the bytes are damaged or missing."""
        with _naming(self.path), zipfile.ZipFile(self.path) as archive:
            storage = np.frombuffer(archive.read(self.member), self.dtype)
        if 0 in self.shape:
            return np.zeros(self.shape, self.dtype)
        reach = [(n - 1) * step for n, step in zip(self.shape, self.strides, strict=True)]
        if min(self.offset, *reach, 0) < 0 or self.offset + sum(reach) >= storage.size:
            raise UserError(f"{self.path}: a tensor reaches outside its storage {self.member}")
        byte_strides = [step * self.dtype.itemsize for step in self.strides]
        view = np.lib.stride_tricks.as_strided(storage[self.offset :], self.shape, byte_strides)
        return view.copy()


@dataclasses.dataclass(frozen=True)
class _StorageType:
    dtype: np.dtype


@dataclasses.dataclass(frozen=True)
class _Storage:
    member: str
    dtype: np.dtype


class _Ignored:
    """Stands for values that we have no use for, such as NumPy scalars in optimizer settings."""

    def __init__(self, *arguments):
        del arguments

    def __setstate__(self, state):
        del state


_IGNORED = (
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("_codecs", "encode"),
)


class _TensorUnpickler(pickle.Unpickler):
    """Knows ordered dicts, tensors and their storages; everything else is refused by name."""

    def __init__(self, file, path: Path, root: str):
        super().__init__(file)
        self._path, self._root = path, root

    def find_class(self, module: str, name: str):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._rebuild_tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda tensor, requires_grad, hooks: tensor
        if module == "torch" and name in _DTYPES:
            return _StorageType(_DTYPES[name])
        if (module, name) in _IGNORED:
            return _Ignored
        raise UserError(
            f"{self._path} wants {module}.{name} run, which no file of weights needs: refused"
        )

    def persistent_load(self, saved_id) -> _Storage:
        kind, storage_type, key, *_ = saved_id
        if kind != "storage" or not isinstance(storage_type, _StorageType):
            raise UserError(
                f"{self._path} refers to a {kind!r}, not to a tensor's storage: refused"
            )
        return _Storage(f"{self._root}/data/{key}", storage_type.dtype)

    def _rebuild_tensor(self, storage: _Storage, offset, shape, strides, *_) -> StoredTensor:
        return StoredTensor(
            self._path, storage.member, storage.dtype, offset, tuple(shape), tuple(strides)
        )


def _read_torch(path: Path) -> Any:
    if not zipfile.is_zipfile(path):
        raise UserError(
            f"{path} is truncated, or in PyTorch's format of before 2020: load it with PyTorch and "
            "save its state dict with safetensors.torch.save_file"
        )
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(names) != 1:
            raise UserError(f"{path} is a zip archive, but not one of torch.save")
        root = names[0].removesuffix("/data.pkl")
        order = f"{root}/byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise UserError(f"{path} was written on a big-endian machine: not supported")
        with archive.open(names[0]) as file:
            return _TensorUnpickler(file, path, root).load()
