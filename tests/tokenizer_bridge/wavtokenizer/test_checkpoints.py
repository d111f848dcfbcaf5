"""Reading weights files: published layouts load as they are, and no file runs code."""

import argparse
import os
import pathlib
import pickle
import subprocess
import sys
import types

import pytest
import safetensors.torch
import torch

from tests.tokenizer_bridge.tiny_codec import make_codec, write_yaml
from tokenizer_bridge import convert_checkpoint as command
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.wavtokenizer import checkpoints


def lightning(codec, **more) -> dict:
    """What Lightning saves: the weights among discriminators, optimizer, loops and callbacks."""
    unused = {
        "feature_extractor.encodec.decoder.model.0.conv.conv.bias": torch.zeros(3),
        "multiperioddisc.discriminators.0.convs.0.bias": torch.zeros(4),
        "melspec_loss.mel_spec.mel_scale.fb": torch.zeros(5, 2),
    }
    return {
        "epoch": 3,
        "global_step": 99,
        "pytorch-lightning_version": "1.8.6",
        "state_dict": {**codec.state_dict(), **unused},
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 3}}}},
        "callbacks": {
            "ModelCheckpoint{'monitor': 'val_loss', 'mode': 'min'}": {
                "best_model_score": torch.tensor(0.5),
                "best_k_models": {"version_0/last.ckpt": torch.tensor(0.5)},
            }
        },
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(7)}}, "param_groups": []}],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {"sample_rate": 24000, "initial_learning_rate": 2e-4},
        **more,
    }


class Evil:
    """Unpickling it runs a shell command."""

    def __init__(self, command: str):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.fixture
def yaml_path(tmp_path):
    return write_yaml(tmp_path / "config.yaml")


def assert_same_codec(loaded, codec):
    for name, tensor in codec.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    audio = torch.sin(torch.arange(160) / 5.0)[None]
    assert torch.equal(loaded.encode(audio), codec.encode(audio))


def test_lightning_checkpoint_loads_as_published(tmp_path, yaml_path):
    codec = make_codec()
    torch.save(lightning(codec), tmp_path / "x.ckpt")
    loaded, num_skipped = checkpoints.load_codec_files(yaml_path, tmp_path / "x.ckpt")
    assert_same_codec(loaded, codec)
    assert num_skipped == 3
    assert not loaded.training


def test_raw_and_old_format_checkpoints_load(tmp_path, yaml_path):
    codec = make_codec()
    torch.save(codec.state_dict(), tmp_path / "x.ckpt", _use_new_zipfile_serialization=False)
    loaded, num_skipped = checkpoints.load_codec_files(yaml_path, tmp_path / "x.ckpt")
    assert_same_codec(loaded, codec)
    assert num_skipped == 0


def test_half_precision_safetensors_load_as_fp32(tmp_path, yaml_path):
    codec = make_codec().half().float()
    half = {name: tensor.half() for name, tensor in codec.state_dict().items()}
    safetensors.torch.save_file(half, tmp_path / "x.safetensors")
    loaded, _ = checkpoints.load_codec_files(yaml_path, tmp_path / "x.safetensors")
    assert {t.dtype for t in loaded.state_dict().values()} == {torch.float32}
    assert_same_codec(loaded, codec)


@pytest.mark.parametrize("zip_format", [True, False])
def test_a_checkpoint_that_would_run_code_is_refused(tmp_path, yaml_path, zip_format):
    traces = tmp_path / "ran"
    content = lightning(make_codec(), callbacks={"x": Evil(f"touch {traces}")})
    path = tmp_path / "evil.ckpt"
    torch.save(content, path, _use_new_zipfile_serialization=zip_format)
    with pytest.raises(UserError, match=r"evil\.ckpt: refused.*posix\.system.*convert_checkpoint$"):
        checkpoints.load_codec_files(yaml_path, path)
    with pytest.raises(UserError, match="refused"):
        checkpoints.convert_checkpoint(path, tmp_path / "evil.safetensors", trust=False)
    with pytest.raises(UserError, match="convert_checkpoint --trust$"):
        command.main([f"--input={path}", f"--output={tmp_path / 'evil.safetensors'}"])
    assert not traces.exists()
    assert not (tmp_path / "evil.safetensors").exists()
    checkpoints.convert_checkpoint(path, tmp_path / "evil.safetensors", trust=True)
    assert traces.exists()  # the command was a live one


def test_a_plain_pickle_that_would_run_code_is_refused(tmp_path, yaml_path):
    traces = tmp_path / "ran"
    path = tmp_path / "evil.ckpt"
    path.write_bytes(pickle.dumps(Evil(f"touch {traces}")))
    with pytest.raises(UserError, match=r"evil\.ckpt"):
        checkpoints.load_codec_files(yaml_path, path)
    assert not traces.exists()


def test_trusted_checkpoint_with_objects_converts_once(tmp_path, yaml_path, monkeypatch):
    # A callback of a package that this machine does not have, as Lightning's are.
    absent = types.ModuleType("absent_package")
    callback = type("Callback", (), {"__module__": "absent_package"})
    absent.Callback = callback
    monkeypatch.setitem(sys.modules, "absent_package", absent)
    codec = make_codec()
    hyper_parameters = {"args": argparse.Namespace(lr=1), "path": pathlib.Path("runs")}
    content = lightning(codec, callbacks={callback: callback()}, hyper_parameters=hyper_parameters)
    torch.save(content, tmp_path / "x.ckpt")
    monkeypatch.delitem(sys.modules, "absent_package")

    with pytest.raises(UserError, match=r"x\.ckpt: refused.* once to x\.safetensors with"):
        checkpoints.load_codec_files(yaml_path, tmp_path / "x.ckpt")
    target = tmp_path / "x.safetensors"
    weights = checkpoints.convert_checkpoint(tmp_path / "x.ckpt", target, trust=True)
    assert weights.num_skipped == 3
    assert target.stat().st_mode == (tmp_path / "x.ckpt").stat().st_mode
    loaded, num_skipped = checkpoints.load_codec_files(yaml_path, target)
    assert_same_codec(loaded, codec)
    assert num_skipped == 0
    with pytest.raises(UserError, match="exists already"):
        checkpoints.convert_checkpoint(tmp_path / "x.ckpt", target, trust=True)


@pytest.mark.parametrize("name", ["x.ckpt", "x.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
def test_a_file_cut_short_is_one_line(tmp_path, yaml_path, name, share):
    codec, path = make_codec(), tmp_path / name
    if path.suffix == ".ckpt":
        torch.save(lightning(codec), path)
    else:
        safetensors.torch.save_file(codec.state_dict(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=rf"{name}: cut short") as caught:
        checkpoints.load_codec_files(yaml_path, path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_an_old_format_file_cut_short_is_one_line(tmp_path, yaml_path, share):
    path = tmp_path / "x.ckpt"
    torch.save(lightning(make_codec()), path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"x\.ckpt: cut short"):
        checkpoints.load_codec_files(yaml_path, path)


def test_names_and_shapes_must_be_those_of_the_yaml(tmp_path, yaml_path):
    tensors = dict(make_codec().state_dict())
    del tensors["head.out.bias"]
    tensors["head.out.weight"] = torch.zeros(3, 4)
    tensors["backbone.extra"] = torch.zeros(1)
    safetensors.torch.save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(UserError) as caught:
        checkpoints.load_codec_files(yaml_path, tmp_path / "x.safetensors")
    for part in [
        "x.safetensors",
        "config.yaml",
        "head.out.bias is missing",
        "backbone.extra is not in this network",
        "head.out.weight has shape (3, 4), not (34, 32)",
    ]:
        assert part in str(caught.value)


def test_weights_that_are_not_finite_are_refused(tmp_path, yaml_path):
    tensors = dict(make_codec().state_dict())
    tensors["head.out.bias"] = torch.full_like(tensors["head.out.bias"], torch.nan)
    safetensors.torch.save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(UserError, match="head.out.bias holds values that are not finite"):
        checkpoints.load_codec_files(yaml_path, tmp_path / "x.safetensors")


def test_a_file_without_codec_weights_says_so(tmp_path, yaml_path):
    for content in [{"model": {"weight": torch.zeros(2)}}, [1, 2], {"state_dict": 3}]:
        torch.save(content, tmp_path / "x.ckpt")
        with pytest.raises(UserError, match=r"x\.ckpt: holds no WavTokenizer weights"):
            checkpoints.load_codec_files(yaml_path, tmp_path / "x.ckpt")
    with pytest.raises(UserError, match="no such weights file"):
        checkpoints.load_codec_files(yaml_path, tmp_path / "missing.ckpt")


def test_the_command_converts(tmp_path):
    torch.save(lightning(make_codec()), tmp_path / "x.ckpt")
    command = [
        sys.executable,
        "-m",
        "tokenizer_bridge.convert_checkpoint",
        f"--input={tmp_path}/x.ckpt",
        f"--output={tmp_path}/x.safetensors",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "3 others left out" in done.stdout
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 1
    assert again.stderr.startswith("error: ") and again.stderr.count("\n") == 1
