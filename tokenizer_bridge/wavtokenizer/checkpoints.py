"""Weights files of WavTokenizer: published Lightning checkpoints and safetensors.

Nothing in this module runs code that a file carries, except `convert_checkpoint(trust=True)`,
which exists to be called once on a file whose maker the user trusts.
"""

import dataclasses
import os
import pickle
import re
import shutil
import types
import zipfile
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from tokenizer_bridge.devices import move_to
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import atomic_file
from tokenizer_bridge.wavtokenizer.network import WavTokenizer, WavTokenizerConfig

CODEC_PREFIXES = ("feature_extractor.", "backbone.", "head.")
# EnCodec's own waveform decoder: trained checkpoints carry it, decoding goes through Vocos instead.
UNUSED_PREFIX = "feature_extractor.encodec.decoder."
CONVERT_COMMAND = "python -m tokenizer_bridge.convert_checkpoint"


class CarriesCode(UserError):
    """Reading a checkpoint would run code that it carries."""


@dataclasses.dataclass(frozen=True)
class CodecWeights:
    """The codec's part of a weights file."""

    tensors: dict[str, torch.Tensor]  # by published state-dict name, in the precision of the file
    num_skipped: int  # tensors left behind: the unused decoder and the rest of training


def load_codec_files(
    yaml_path: str | os.PathLike,
    weights_path: str | os.PathLike,
    *,
    device: str | torch.device = "cpu",
) -> tuple[WavTokenizer, int]:
    """The codec of a published YAML and weights pair, in eval mode; and the tensors skipped.

    Raises UserError when a file is missing, cut short, would run code, or when its names and shapes
    are not those that the YAML describes, or when the device cannot be used.
    """
    config = WavTokenizerConfig.from_yaml(yaml_path)
    weights = read_weights(weights_path)
    codec = WavTokenizer(config)
    _check_tensors(codec.state_dict(), weights.tensors, yaml_path, weights_path)
    codec.load_state_dict(weights.tensors)  # copies, which widens fp16 to fp32
    move_to(codec, device)
    return codec.eval(), weights.num_skipped


def read_weights(path: str | os.PathLike) -> CodecWeights:
    """The codec's tensors of a .safetensors file or a PyTorch checkpoint (raw or Lightning)."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such weights file")
    if path.suffix == ".safetensors":
        return _select(_read_safetensors(path), path)
    return _select(_read_pickle(path, trust=False), path)


def convert_checkpoint(
    source: str | os.PathLike, target: str | os.PathLike, *, trust: bool
) -> CodecWeights:
    """Writes the codec's tensors of the checkpoint `source` to the safetensors file `target`.

    `trust=True` unpickles the file, which runs whatever code it carries. The target appears whole
    or not at all. Raises UserError when the target exists or cannot be written.
    """
    source, target = Path(source), Path(target)
    if not source.is_file():
        raise UserError(f"{source}: no such weights file")
    if target.exists():
        raise UserError(f"{target}: exists already; choose another output or remove it first")
    weights = _select(_read_pickle(source, trust=trust), source)
    # safetensors refuses tensors that share memory, as memory-mapped checkpoints may.
    tensors = {name: tensor.clone().contiguous() for name, tensor in weights.tensors.items()}
    try:
        with atomic_file(target) as partial:
            safetensors.torch.save_file(tensors, partial)
            shutil.copymode(source, partial)  # safetensors leaves it readable by its owner only
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(f"{target}: cannot be written: {error}") from error
    return weights


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise UserError(f"{path}: cut short or not a safetensors file ({error})") from error


def _read_pickle(path: Path, *, trust: bool) -> dict:
    with path.open("rb") as file:
        is_zip = file.read(4) == b"PK\x03\x04"
    if is_zip and not zipfile.is_zipfile(path):  # the directory stands at a zip file's end
        raise UserError(f"{path}: cut short; download or copy it again")
    # Only the zip format can be mapped; mapping keeps the optimizer's gigabytes on the disk.
    how = {"map_location": "cpu", "mmap": is_zip}
    if trust:
        how |= {"weights_only": False, "pickle_module": _LENIENT_PICKLE}
    else:
        how |= {"weights_only": True}
    try:
        return torch.load(path, **how)
    except pickle.UnpicklingError as error:
        reason = re.search(r"GLOBAL (\S+)", str(error))
        if trust or not (is_zip or reason):
            raise UserError(f"{path}: cut short or not a PyTorch checkpoint") from error
        culprit = f" ({reason[1]})" if reason else ""
        raise CarriesCode(
            f"{path}: refused, because reading it would run code that it carries{culprit}; if you "
            f"trust its maker, convert it once to {path.with_suffix('.safetensors').name} with "
            f"{CONVERT_COMMAND}"
        ) from error
    except (EOFError, RuntimeError, ValueError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: cut short or not a PyTorch checkpoint") from error


class _Absent:
    """Stands in for an object of a package that is not installed, such as a Lightning callback."""

    def __init__(self, *args, **kwargs):
        pass

    def __setstate__(self, state):
        pass


class _LenientUnpickler(pickle.Unpickler):
    """An ordinary unpickler, except that classes of packages not installed become `_Absent`."""

    def find_class(self, module: str, name: str):
        try:
            return super().find_class(module, name)
        except (ImportError, AttributeError):
            return _Absent


_LENIENT_PICKLE = types.ModuleType("lenient_pickle")
_LENIENT_PICKLE.__dict__.update(
    Unpickler=_LenientUnpickler,
    load=lambda file, **options: _LenientUnpickler(file, **options).load(),
    UnpicklingError=pickle.UnpicklingError,
)


def _select(content: dict, path: Path) -> CodecWeights:
    """Keeps the codec's tensors; Lightning holds them under "state_dict" beside everything else."""
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    state = state if isinstance(state, dict) else {}
    tensors = {
        name: tensor
        for name, tensor in state.items()
        if isinstance(tensor, torch.Tensor)
        and name.startswith(CODEC_PREFIXES)
        and not name.startswith(UNUSED_PREFIX)
    }
    if not tensors:
        raise UserError(
            f"{path}: holds no WavTokenizer weights (no tensor named feature_extractor.…, "
            "backbone.… or head.…)"
        )
    return CodecWeights(tensors, num_skipped=len(state) - len(tensors))


def _check_tensors(
    expected: dict[str, torch.Tensor],
    found: dict[str, torch.Tensor],
    yaml_path: str | os.PathLike,
    weights_path: str | os.PathLike,
) -> None:
    problems = [f"{name} is missing" for name in expected if name not in found]
    problems += [f"{name} is not in this network" for name in found if name not in expected]
    problems += [
        f"{name} has shape {tuple(found[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    problems += [
        f"{name} holds values that are not finite"
        for name, tensor in found.items()
        if name in expected and not torch.isfinite(tensor).all()
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UserError(
            f"{weights_path}: not the network that {yaml_path} describes: "
            f"{'; '.join(problems[:3])}{more}"
        )
