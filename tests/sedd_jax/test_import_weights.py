"""The command that makes a run of published weights."""

import json
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from sedd_jax import Model
from sedd_jax.errors import UserError
from sedd_jax.import_weights import main
from tests.sedd_jax import toy
from tests.sedd_jax.network.small import reference
from tokenizer_bridge.token_dataset import codecs


@pytest.fixture
def folder(tmp_path):
    """A folder as on the hub, of a network of 40 codes."""
    _, config, weights = reference("sedd_absorb_loglinear.npz")
    folder = tmp_path / "published"
    folder.mkdir()
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_weights_become_a_run_once(folder, tmp_path):
    workdir = tmp_path / "run"
    command = [sys.executable, "-m", "sedd_jax.import_weights", f"--input={folder}"]
    done = toy.run([*command, f"--output={workdir}"])
    assert done.returncode == 0, done.stderr
    file = folder / "model.safetensors"
    assert done.stdout.startswith(f"{workdir}: weights of step 0 from {file}\n")
    assert f"as {folder / 'config.json'} says: 4 heads" in done.stdout
    assert "no codec is named" in done.stdout
    again = toy.error_line(toy.run([*command, f"--output={workdir}"]))
    assert f"{workdir} exists and is not an empty folder" in again


def test_a_model_without_the_codecs_last_code_never_samples_it(
    folder, tmp_path, capsys, monkeypatch
):
    """A model like AIDD's: 41 codes of the codec, a network of 40 and the mask, and its config."""
    config = json.loads((folder / "config.json").read_text())
    del config["model"]["length"]
    config["training"]["p_base"] = 0.8
    (folder / "config.json").write_text(json.dumps(config))
    name = "wavtokenizer-large-unify-40"
    monkeypatch.setitem(codecs._RATES, name, (24_000, 600, 41))
    main([f"--input={folder}", f"--codec={name}", f"--output={tmp_path / 'run'}"])
    said = capsys.readouterr().out
    assert "the codec's code 40 is none of the model's" in said
    assert "config.json leaves the length out: 300 is that of AIDD's program" in said
    model = Model.load(tmp_path / "run")
    assert (model.codec["name"], model.codec["codebook_size"], model.num_codes) == (name, 41, 40)
    tokens = model.sample(2, steps=4, length=16)
    assert tokens.max() < 40
    with pytest.raises(UserError, match="tokens go from 40 to 40, the model's from 0 to 39"):
        model.bits_per_token(np.full(16, 40))


def test_length_and_config_stand_in_for_what_is_not_published(folder, tmp_path, capsys):
    (folder / "config.json").unlink()
    command = [f"--input={folder}", f"--output={tmp_path / 'run'}"]
    keys = ["model.num_heads", "model.length", "graph.type", "noise.type"]
    flags = " ".join(f"--config.{key}=VALUE" for key in keys)
    with pytest.raises(UserError, match=f"no config beside it .*: give {flags}, or a --config of"):
        main(command)
    told = ["--config.model.num_heads=2", "--config.graph.type=absorbing"]
    with pytest.raises(UserError, match=": give --config.noise.type=VALUE, or"):
        main([*command, *told, "--length=24"])
    main([*command, *told, "--length=24", "--config.noise.type=loglinear"])
    assert "as the config says: 2 heads, length 24, absorbing graph" in capsys.readouterr().out
    other = [f"--input={folder}", f"--output={tmp_path / 'other'}"]
    main([*other, "--config=demo", "--config.model.num_heads=2"])
    assert "as the config says: 2 heads" in capsys.readouterr().out


def test_mistakes_are_one_line_before_anything_is_read_or_written(folder, tmp_path, monkeypatch):
    def snapshot_download(name, allow_patterns):
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    output = tmp_path / "run"
    for arguments, message in (
        (["--input=user/none"], r"user/none is no folder here, .*\(ConnectionError\)"),
        (["--input=user/none", "--codec=wavtokenizer-music"], "no such codec; the nearest: wavtok"),
        ([f"--input={tmp_path / 'missing.pth'}"], "missing.pth: no such file"),
        ([f"--input={folder}", "--codec=demo"], "demo has 4096 codes, the weights are for 40"),
    ):
        with pytest.raises(UserError, match=message):
            main([*arguments, f"--output={output}"])
        assert not output.exists()
    output.touch()
    with pytest.raises(UserError, match="run exists and is not an empty folder"):
        main(["--input=user/none", f"--output={output}"])
