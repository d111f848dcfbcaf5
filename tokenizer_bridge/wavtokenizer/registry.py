"""Codecs by name: the embedded ones, the published WavTokenizers, and folders of the user's."""

import dataclasses
import hashlib
import os
import re
from pathlib import Path

import huggingface_hub
import torch

from tokenizer_bridge.token_dataset import codecs
from tokenizer_bridge.token_dataset.codecs import EMBEDDED
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.wavtokenizer.checkpoints import load_codec_files
from tokenizer_bridge.wavtokenizer.network import WavTokenizer

ASSETS = Path(__file__).parent.parent / "assets"


@dataclasses.dataclass(frozen=True)
class CodecInfo:
    """The facts that a token dataset records about the codec that made its tokens."""

    name: str
    weights_sha256: str  # of the weights file, hexadecimal
    sample_rate: int  # Hz
    hop_length: int  # samples per token
    codebook_size: int


@dataclasses.dataclass(frozen=True)
class PublishedCodec:
    """The address of a published codec; sizes come from our YAML, many repositories have none."""

    repo_id: str  # on huggingface.co
    weights_file: str
    yaml_file: str  # in assets/configs
    weights_sha256: str | None = None  # None: not pinned


# About 1.7 GB each: a Lightning checkpoint holds the optimizer and the discriminators too.
PUBLISHED = {
    "wavtokenizer-medium-music-75": PublishedCodec(
        repo_id="novateur/WavTokenizer-medium-music-audio-75token",
        weights_file="wavtokenizer_medium_music_audio_320_24k.ckpt",
        yaml_file="wavtokenizer_75.yaml",
    ),
    "wavtokenizer-medium-music-75-v2": PublishedCodec(
        repo_id="novateur/WavTokenizer-medium-music-audio-75token",
        weights_file="wavtokenizer_medium_music_audio_320_24k_v2.ckpt",
        yaml_file="wavtokenizer_75.yaml",
    ),
    "wavtokenizer-large-unify-40": PublishedCodec(
        repo_id="novateur/WavTokenizer-large-unify-40token",
        weights_file="wavtokenizer_large_unify_600_24k.ckpt",
        yaml_file="wavtokenizer_40.yaml",
    ),
    "wavtokenizer-large-speech-75": PublishedCodec(
        repo_id="novateur/WavTokenizer-large-speech-75token",
        weights_file="wavtokenizer_large_speech_320_v2.ckpt",
        yaml_file="wavtokenizer_75.yaml",
    ),
}
KNOWN_CODECS = (*EMBEDDED, *PUBLISHED)


def load_codec(
    name: str, *, codec_dir: str | os.PathLike | None = None, device: str | torch.device = "cpu"
) -> tuple[WavTokenizer, CodecInfo]:
    """The codec called `name`, in eval mode, and what a dataset records about it.

    With `codec_dir`, a folder holding one weights file (.safetensors or .ckpt) and its YAML,
    nothing is downloaded and `name` may be new.

    Raises:
      UserError: the codec cannot be had, is damaged, or is not what its YAML describes.
    """
    yaml_path, weights_path, expected_sha256 = locate(name, codec_dir)
    sha256 = file_sha256(weights_path)
    if expected_sha256 not in (None, sha256):
        raise UserError(
            f"{weights_path}: damaged: its SHA-256 is {sha256}, not {expected_sha256}; delete it "
            "and fetch it again"
        )
    codec, _ = load_codec_files(yaml_path, weights_path, device=device)
    config = codec.config
    info = CodecInfo(
        name=name,
        weights_sha256=sha256,
        sample_rate=config.sample_rate,
        hop_length=config.hop_length,
        codebook_size=config.codebook_size,
    )
    return codec, info


def file_sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file, hexadecimal (about a second per gigabyte)."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def locate(name: str, codec_dir: str | os.PathLike | None) -> tuple[Path, Path, str | None]:
    """YAML, weights, and the SHA-256 that the weights must have, where one is known."""
    if codec_dir is not None:
        weights = _weights_in(Path(codec_dir), name)
        published = PUBLISHED.get(name)
        is_original = published is not None and weights.name == published.weights_file
        expected = published.weights_sha256 if is_original else None
        return _yaml_in(Path(codec_dir), name), weights, expected
    if name in EMBEDDED:
        folder = EMBEDDED[name]
        return folder / "config.yaml", folder / "model.safetensors", None
    if name in PUBLISHED:
        published = PUBLISHED[name]
        weights = _download(name, published)
        expected = published.weights_sha256 or _announced_sha256(weights)
        return ASSETS / "configs" / published.yaml_file, weights, expected
    raise UserError(f"{codecs.unknown(name)}; one of your own needs its folder named")


def _download(name: str, published: PublishedCodec) -> Path:
    where = {"repo_id": published.repo_id, "filename": published.weights_file}
    cached = huggingface_hub.try_to_load_from_cache(**where)
    if isinstance(cached, str):
        return Path(cached)
    url = huggingface_hub.hf_hub_url(**where)
    try:
        # Asked once beforehand: without a network the download itself retries for half a minute.
        huggingface_hub.get_hf_file_metadata(url)
        return Path(huggingface_hub.hf_hub_download(**where))
    except Exception as error:  # the hub lets errors of its HTTP library through
        raise UserError(
            f"{name}: cannot be downloaded ({type(error).__name__}); fetch {url} elsewhere, put it "
            "in a folder of its own and name that as the codec's"
        ) from error


def _announced_sha256(path: Path) -> str | None:
    """The hub's own digest: its cache names a large file's blob by it, and links to the blob."""
    blob = path.resolve().name
    return blob if re.fullmatch("[0-9a-f]{64}", blob) else None


def _weights_in(folder: Path, name: str) -> Path:
    """The weights file of a folder; where several could be meant, the one that `name` publishes."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of a codec")
    converted = sorted(folder.glob("*.safetensors"))
    stems = {path.stem for path in converted}
    # A checkpoint that was converted lies beside its safetensors: the same weights.
    found = converted + sorted(path for path in folder.glob("*.ckpt") if path.stem not in stems)
    if len(found) > 1 and name in PUBLISHED:
        stem = Path(PUBLISHED[name].weights_file).stem
        found = [path for path in found if path.stem == stem] or found
    if not found:
        raise UserError(f"{folder}: holds no weights; put one .ckpt or .safetensors file there")
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise UserError(f"{folder}: holds several weights files ({names}); keep one per folder")
    return found[0]


def _yaml_in(folder: Path, name: str) -> Path:
    """The YAML of a folder, or ours for a published codec that came without one."""
    found = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])
    if not found and name in PUBLISHED:
        return ASSETS / "configs" / PUBLISHED[name].yaml_file
    if not found:
        raise UserError(f"{folder}: holds no .yaml; put the codec's YAML beside its weights")
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise UserError(f"{folder}: holds several YAML files ({names}); keep one per folder")
    return found[0]
