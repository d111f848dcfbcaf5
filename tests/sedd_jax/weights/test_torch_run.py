import json

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from configs import music_small
from sedd_jax.errors import UserError
from sedd_jax.model import load_run
from sedd_jax.weights import torch_run
from sedd_jax.weights.torch_weights import load
from tests.sedd_jax.network.small import reference

NAME = "sedd_uniform_geometric.npz"


@pytest.fixture
def hub_folder(tmp_path):
    """A folder as on the hub: config.json and model.safetensors."""
    _, config, weights = reference(NAME)
    folder = tmp_path / "sedd"
    folder.mkdir()
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def write(source, workdir, tokens=None, **changes):
    file, published_config = torch_run.locate(source)
    config = music_small.get_config()
    config.update_from_flattened_dict(changes)
    return torch_run.write(load(file), published_config, config, tokens, workdir)


def test_a_hub_folder_becomes_a_run_that_computes_the_same(hub_folder, tmp_path):
    write(hub_folder, tmp_path / "run")
    run, params, step = load_run(tmp_path / "run")
    figures, config, _ = reference(NAME)
    assert (step, run.graph.vocab_size, run.noise.sigma_max) == (0, config["tokens"], 20.0)
    ours = jax.jit(run.log_score)(params, figures["forward/x"], figures["forward/sigma"])
    np.testing.assert_allclose(ours, figures["forward/log_score"], atol=1e-4)


def test_a_published_training_folder_is_found(hub_folder, tmp_path):
    root = tmp_path / "exp"
    (root / "checkpoints-meta").mkdir(parents=True)
    (root / ".hydra").mkdir()
    (root / "checkpoints-meta" / "checkpoint.pth").touch()
    # As hydra writes it: YAML, in which 1e-4 is text.
    text = (hub_folder / "config.json").read_text().replace("0.0001", "1e-4")
    (root / ".hydra" / "config.yaml").write_text(text)
    file, published_config = torch_run.locate(root)
    assert file == root / "checkpoints-meta" / "checkpoint.pth"
    values = torch_run.read_published_config(published_config)
    assert values["noise.sigma_min"] == 1e-4
    assert values["graph.type"] == "uniform"


def test_without_a_published_config_ours_decides(hub_folder, tmp_path):
    (hub_folder / "config.json").unlink()
    changes = {"graph.type": "uniform", "model.num_heads": 4, "model.length": 16}
    config = write(hub_folder, tmp_path / "run", **changes)
    assert (config.model.num_heads, config.model.width, config.graph.type) == (4, 32, "uniform")


def test_mistakes_get_one_line_and_leave_no_run(hub_folder, tmp_path):
    workdir = tmp_path / "run"
    (hub_folder / "bad.json").write_text("{")
    with pytest.raises(UserError, match="bad.json cannot be read"):
        torch_run.read_published_config(hub_folder / "bad.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty holds neither"):
        torch_run.locate(tmp_path / "empty")

    text = (hub_folder / "config.json").read_text()
    (hub_folder / "config.json").write_text(text.replace('"uniform"', '"other"'))
    with pytest.raises(UserError, match="graph.type is 'other'"):
        write(hub_folder, workdir)
    (hub_folder / "config.json").write_text(text.replace('"n_heads": 2', '"n_heads": 5'))
    with pytest.raises(UserError, match="must split into"):
        write(hub_folder, workdir)
    (hub_folder / "config.json").write_text(text)
    with pytest.raises(UserError, match="no_tokens"):
        write(hub_folder, workdir, tokens=str(tmp_path / "no_tokens"))
    assert not workdir.exists()

    write(hub_folder, workdir)
    with pytest.raises(UserError, match="holds a run already"):
        write(hub_folder, workdir)
