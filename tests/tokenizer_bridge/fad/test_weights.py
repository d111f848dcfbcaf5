"""Weights of embeddings: found, checked and read; mistakes are one line each."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from tokenizer_bridge.fad import weights as weights_lib
from tokenizer_bridge.fad.choices import EMBEDDINGS
from tokenizer_bridge.fad.cnn14 import Cnn14At16k
from tokenizer_bridge.fad.embeddings import load_embedding, parts_of
from tokenizer_bridge.fad.vggish import VggishPca
from tokenizer_bridge.fad.weights import (
    LoadedWeights,
    load_into,
    load_weights,
    parse_weights,
    require_weights,
)
from tokenizer_bridge.token_dataset.errors import UserError

SHIPPED = weights_lib.ASSETS / "musicnn/model.safetensors"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Caches that are empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path


def save_pca(path: Path, **other) -> Path:
    """PCA parameters as they are published: NumPy arrays of float64, means as a column."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"pca_eigen_vectors": np.eye(128), "pca_means": np.arange(128.0)[:, None]}
    torch.save(arrays | other, path)
    return path


def pin(monkeypatch, name: str, path: Path, digits: int = 64) -> None:
    """Take a file for the published one."""
    known = weights_lib.WEIGHTS[name]
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()[:digits]
    changed = weights_lib.WeightsFile(known.name, sha256, known.size, known.url, known.shipped)
    monkeypatch.setitem(weights_lib.WEIGHTS, name, changed)


def test_the_shipped_weights_are_the_pinned_ones(home):
    embedding = load_embedding("musicnn")
    expected = hashlib.sha256(SHIPPED.read_bytes()).hexdigest()
    assert embedding.info.weights_sha256 == expected == weights_lib.WEIGHTS["musicnn"].sha256
    assert embedding.info.weights == "published"
    assert sum(parameter.numel() for parameter in embedding.network.parameters()) == 787_159


@pytest.mark.parametrize("name", [name for name in EMBEDDINGS if name != "musicnn"])
def test_missing_weights_say_size_and_command(home, name):
    with pytest.raises(UserError) as caught:
        load_embedding(name)
    file = weights_lib.WEIGHTS["vggish" if name == "vggish-pca" else name]
    line = str(caught.value)
    assert f"({file.size})" in line and file.url in line and "\n" not in line
    assert f"curl -L --create-dirs -o {home}/cache/sedd_music/weights/" in line.replace("'", "")


@pytest.mark.parametrize("place", ["cache/sedd_music/weights", "torch/hub/checkpoints"])
def test_caches_are_looked_into(home, monkeypatch, place):
    path = save_pca(home / place / "vggish_pca_params-970ea276.pth")
    pin(monkeypatch, "vggish-pca", path, digits=8)
    loaded = load_weights("vggish-pca")
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_hub_keeps_percent_signs(home, monkeypatch):
    path = home / "torch/hub/checkpoints/Cnn14_mAP%3D0.431.pth"
    path.parent.mkdir(parents=True)
    torch.save({"model": {"x": torch.ones(2)}}, path)
    pin(monkeypatch, "cnn14-32k", path)
    assert load_weights("cnn14-32k").tensors["x"].tolist() == [1, 1]


def test_a_wrong_hash_is_refused_and_own_weights_are_not(tmp_path):
    tensors = safetensors.torch.load_file(SHIPPED)
    tensors["tag_logits.bias"] += 1
    path = tmp_path / "mine.safetensors"
    safetensors.torch.save_file(tensors, path)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(UserError) as caught:
        load_embedding("musicnn", parse_weights([f"musicnn={path}"]))
    line = str(caught.value)
    assert line.startswith(f"{path}: not the published weights of musicnn: SHA-256 {found}, not ")
    assert "say musicnn=own:FILE" in line and "\n" not in line

    embedding = load_embedding("musicnn", parse_weights([f"musicnn=own:{path}"]))
    assert (embedding.info.weights, embedding.info.weights_sha256) == ("own", found)
    assert torch.equal(embedding.network.tag_logits.bias, tensors["tag_logits.bias"])


def test_eight_digits_are_compared_where_no_more_are_known(tmp_path, monkeypatch):
    path = save_pca(tmp_path / "x.pth")
    pin(monkeypatch, "vggish-pca", path, digits=8)
    assert not load_weights("vggish-pca", {"vggish-pca": str(path)}).own
    other = save_pca(tmp_path / "y.pth", more=np.zeros(1))
    with pytest.raises(UserError, match="not the published weights of vggish-pca"):
        load_weights("vggish-pca", {"vggish-pca": str(other)})


def test_pca_parameters_are_numpy_arrays(tmp_path):
    pca = VggishPca().pca
    path = save_pca(tmp_path / "x.pth")
    load_into(pca, load_weights("vggish-pca", {"vggish-pca": f"own:{path}"}), "vggish-pca")
    assert pca.pca_means.tolist() == list(range(128)) and pca.pca_means.dtype == torch.float32
    assert torch.equal(pca.pca_eigen_vectors, torch.eye(128))


@pytest.mark.parametrize("module", [b"numpy.core", b"numpy._core"])
def test_a_training_checkpoint_with_arrays_of_an_older_numpy(tmp_path, module):
    """A checkpoint like the 16 kHz CNN14's: beside the weights lies the sampler's state."""
    path = tmp_path / "x.pth"
    sampler = {"indexes": np.arange(5), "pointer": 3}
    state = {"iteration": 7, "model": {"fc1.bias": torch.ones(3)}, "sampler": sampler}
    torch.save(state, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    assert b"numpy._core.multiarray\n" in content
    path.write_bytes(content.replace(b"numpy._core.multiarray\n", module + b".multiarray\n"))
    assert list(load_weights("cnn14-16k", {"cnn14-16k": f"own:{path}"}).tensors) == ["fc1.bias"]


def test_parts_of_published_checkpoints_that_are_not_needed():
    """The front end's constants and the tags' layer; anything else that is unknown is an error."""
    published = Cnn14At16k().state_dict() | {
        "spectrogram_extractor.stft.conv_real.weight": torch.zeros(257, 1, 512),
        "logmel_extractor.melW": torch.zeros(257, 64),
        "fc_audioset.bias": torch.zeros(527),
    }
    network = Cnn14At16k()
    load_into(network, LoadedWeights(published, "", own=False), "cnn14-16k")
    assert torch.equal(network.fc1.weight, published["fc1.weight"])
    for wrong in (published | {"fc2.bias": torch.zeros(3)}, {"fc1.bias": torch.zeros(2048)}):
        with pytest.raises(UserError, match="given for cnn14-16k are not of its network: "):
            load_into(network, LoadedWeights(wrong, "", own=False), "cnn14-16k")


class Code:
    def __reduce__(self):
        return (print, ("this ran",))


def test_code_in_a_file_is_not_run(tmp_path, capsys):
    path = save_pca(tmp_path / "x.pth", code=Code())
    with pytest.raises(UserError, match=r"x\.pth: not readable as weights \(Weights only load"):
        load_weights("vggish-pca", {"vggish-pca": f"own:{path}"})
    assert "this ran" not in capsys.readouterr().out


@pytest.mark.parametrize(("content", "message"), [
    (None, "vggish=own:{path}: no such file"),
    (b"", "{path}: not readable as weights ("),
    (b"<html>", "{path}: not readable as weights ("),
])  # fmt: skip
def test_files_that_are_no_weights(tmp_path, content, message):
    path = tmp_path / "x.pth"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_weights("vggish", {"vggish": f"own:{path}"})
    assert str(caught.value).startswith(message.format(path=path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("odd", [torch.ones(3, dtype=torch.complex64), torch.eye(3).to_sparse()])
def test_tensors_of_other_kinds(tmp_path, odd):
    torch.save({"model": {"fc1.bias": odd, 7: torch.ones(1)}}, tmp_path / "x.pth")
    with pytest.raises(UserError, match="x.pth: .*fc1.bias is no dense tensor of real numbers"):
        load_embedding("vggish", {"vggish": f"own:{tmp_path / 'x.pth'}"})


def test_all_missing_weights_are_told_at_once_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    parts = parts_of(["musicnn", "vggish-pca", "vggish", "cnn14-16k"])
    assert parts == ["musicnn", "vggish", "vggish-pca", "cnn14-16k"]
    with pytest.raises(UserError) as refused:
        require_weights(parts)
    assert str(refused.value).count("curl -L") == 3 and "\n" not in str(refused.value)
    require_weights(["musicnn"])  # shipped
    with pytest.raises(UserError, match="moon: no such embedding"):
        parts_of(["moon"])


def test_weights_of_another_network(tmp_path):
    path = save_pca(tmp_path / "x.pth")
    with pytest.raises(UserError, match="the weights given for musicnn are not of its network: "):
        load_embedding("musicnn", {"musicnn": f"own:{path}"})


@pytest.mark.parametrize("value", ["vggish", "vggish=", "vggish=own:", "clap=x.pth", "=x"])
def test_what_is_given_is_name_and_file(value):
    with pytest.raises(UserError, match=f"^{value}: write NAME=FILE"):
        parse_weights([value])


def test_an_unknown_embedding():
    with pytest.raises(UserError, match="clap: no such embedding; choose one of musicnn, vggish,"):
        load_embedding("clap")
