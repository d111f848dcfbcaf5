"""Finding codecs by name or in a folder; nothing here uses a network."""

import dataclasses
import hashlib
import shutil

import huggingface_hub
import pytest
import safetensors.torch
import torch

from tests.tokenizer_bridge.tiny_codec import make_codec, write_yaml
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.wavtokenizer import registry
from tokenizer_bridge.wavtokenizer.config import WavTokenizerConfig

MUSIC = "wavtokenizer-medium-music-75"


@pytest.fixture
def folder(tmp_path):
    """A codec folder as a user would lay it out: one YAML and one weights file."""
    folder = tmp_path / "codec"
    folder.mkdir()
    write_yaml(folder / "config.yaml")
    safetensors.torch.save_file(make_codec().state_dict(), folder / "model.safetensors")
    return folder


def test_a_folder_of_the_users(folder):
    codec, info = registry.load_codec("mine", codec_dir=folder)
    assert dataclasses.asdict(info) == {
        "name": "mine",
        "weights_sha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        "sample_rate": 24000,
        "hop_length": 8,
        "codebook_size": 16,
    }
    assert torch.equal(codec.head.out.bias, make_codec().head.out.bias)


def test_what_a_folder_must_hold(folder, tmp_path):
    def refusal(name="mine", codec_dir=folder):
        with pytest.raises(UserError) as caught:
            registry.load_codec(name, codec_dir=codec_dir)
        return str(caught.value)

    assert "no such folder" in refusal(codec_dir=tmp_path / "nowhere")
    shutil.copy(folder / "config.yaml", folder / "other.yaml")
    assert "several YAML files (config.yaml, other.yaml)" in refusal()
    (folder / "other.yaml").unlink()
    torch.save(make_codec().state_dict(), folder / "other.ckpt")
    assert "several weights files (model.safetensors, other.ckpt)" in refusal()
    (folder / "other.ckpt").unlink()
    (folder / "config.yaml").rename(folder / "config.txt")
    assert "holds no .yaml" in refusal()
    (folder / "model.safetensors").unlink()
    assert "holds no weights" in refusal()


def test_a_converted_checkpoint_beside_its_original_is_used(folder):
    torch.save(make_codec(seed=1).state_dict(), folder / "model.ckpt")
    codec, _ = registry.load_codec("mine", codec_dir=folder)
    assert torch.equal(codec.head.out.bias, make_codec(seed=0).head.out.bias)


def test_a_whole_downloaded_repository_serves_as_folder(folder):
    """The published repositories hold two versions, and not always a YAML."""
    (folder / "model.safetensors").unlink()
    published = registry.PUBLISHED[MUSIC]
    torch.save(make_codec(seed=1).state_dict(), folder / published.weights_file)
    torch.save(make_codec(seed=2).state_dict(), folder / "another.ckpt")
    codec, _ = registry.load_codec(MUSIC, codec_dir=folder)
    assert torch.equal(codec.head.out.bias, make_codec(seed=1).head.out.bias)
    (folder / "config.yaml").unlink()
    with pytest.raises(UserError, match=r"not the network that .*wavtokenizer_75\.yaml describes"):
        registry.load_codec(MUSIC, codec_dir=folder)


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(UserError, match=f"no such codec.*demo, demo-scores, {MUSIC}"):
        registry.load_codec("wavtokeniser")


def test_without_a_network_one_line_says_what_to_do(monkeypatch, tmp_path):
    def unreachable(*args, **kwargs):
        raise ConnectionError("name or service not known")

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda **where: None)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", unreachable)
    with pytest.raises(
        UserError, match=r"cannot be downloaded.*320_24k\.ckpt.*a folder of its own"
    ):
        registry.load_codec(MUSIC)


def make_published(monkeypatch, tmp_path, digest: str, **published):
    """A hub cache with the toy codec as `MUSIC`: a link to a blob that its digest names."""
    blob = tmp_path / "blobs" / digest
    blob.parent.mkdir()
    torch.save(make_codec().state_dict(), tmp_path / "weights")
    content = (tmp_path / "weights").read_bytes()
    if digest == "sha256":
        blob = blob.with_name(hashlib.sha256(content).hexdigest())
    blob.write_bytes(content)
    link = tmp_path / "x.ckpt"
    link.symlink_to(blob)
    entry = registry.PublishedCodec(
        repo_id="o/r",
        weights_file="x.ckpt",
        yaml_file=str(write_yaml(tmp_path / "x.yaml")),
        **published,
    )
    monkeypatch.setitem(registry.PUBLISHED, MUSIC, entry)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda **where: str(link))
    return blob


def test_a_cached_download_is_used_and_checked(monkeypatch, tmp_path):
    blob = make_published(monkeypatch, tmp_path, "sha256")
    _, info = registry.load_codec(MUSIC)
    assert info.weights_sha256 == blob.name


@pytest.mark.parametrize("pinned", [None, "0" * 64])
def test_a_damaged_download_is_refused(monkeypatch, tmp_path, pinned):
    make_published(monkeypatch, tmp_path, "1" * 64, weights_sha256=pinned)
    with pytest.raises(UserError, match=f"damaged: its SHA-256 is .*, not {pinned or '1' * 64}"):
        registry.load_codec(MUSIC)


@pytest.mark.parametrize("name, hop", [("75", 320), ("40", 600)])
def test_our_yaml_files_describe_the_published_sizes(name, hop):
    config = WavTokenizerConfig.from_yaml(registry.ASSETS / "configs" / f"wavtokenizer_{name}.yaml")
    assert config.hop_length == hop
    assert config.n_fft == 4 * hop
    assert 24000 / config.hop_length == int(name)
    defaults = WavTokenizerConfig(strides=config.strides, n_fft=config.n_fft)
    assert config == defaults


def test_the_demo_codec_is_there():
    codec, info = registry.load_codec("demo")
    assert (info.name, info.sample_rate, info.hop_length, info.codebook_size) == (
        "demo", 24000, 320, 4096,
    )  # fmt: skip
    assert codec.encode(torch.zeros(1, 3200)).shape == (1, 10)
