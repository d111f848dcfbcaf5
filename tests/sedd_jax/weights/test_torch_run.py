import json

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from configs import music_small
from sedd_jax.errors import UserError
from sedd_jax.model import load_run
from sedd_jax.weights import published_config, torch_run
from sedd_jax.weights.torch_weights import load
from tests.sedd_jax.network.small import reference
from tests.sedd_jax.toy import CODEC, write_dataset

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


def write(source, workdir, codec=None, told=None, **changes):
    """The import: changes are of the default config, `told` comes before what is published."""
    file, config_file = torch_run.locate(source)
    default = music_small.get_config()
    default.update_from_flattened_dict(changes)
    published = published_config.read(config_file) if config_file else None
    weights = load(file)
    config, num_codes = torch_run.complete_config(weights, published, default, told or {})
    return torch_run.write(weights, config, num_codes, codec, workdir)


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
    file, config_file = torch_run.locate(root)
    assert file == root / "checkpoints-meta" / "checkpoint.pth"
    published = published_config.read(config_file)
    assert published.values["noise.sigma_min"] == 1e-4
    assert published.values["graph.type"] == "uniform"
    assert published.num_codes == 33 and not published.length_is_aidds


def test_a_name_of_the_hub_is_fetched(hub_folder, tmp_path, monkeypatch):
    asked = []

    def snapshot_download(name, allow_patterns):
        asked.append((name, *allow_patterns))
        return str(hub_folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    found = (hub_folder / "model.safetensors", hub_folder / "config.json")
    assert torch_run.locate("user/sedd") == found
    assert asked == [("user/sedd", *torch_run.WEIGHTS, *torch_run.CONFIGS)]
    with pytest.raises(UserError, match="sedd/model.pth: no such file"):  # a path, not a name
        torch_run.locate("sedd/model.pth")
    monkeypatch.chdir(tmp_path)
    assert torch_run.locate("sedd/model.safetensors")[0].exists() and len(asked) == 1


def test_without_a_published_config_ours_decides(hub_folder, tmp_path):
    (hub_folder / "config.json").unlink()
    changes = {"graph.type": "uniform", "model.num_heads": 4, "model.length": 16}
    config = write(hub_folder, tmp_path / "run", **changes)
    assert (config.model.num_heads, config.model.width, config.graph.type) == (4, 32, "uniform")


def test_what_is_told_comes_before_what_is_published(hub_folder, tmp_path):
    told = {"model.length": 48, "model.width": 32}
    config = write(hub_folder, tmp_path / "run", told=told, **{"model.length": 7})
    assert (config.model.length, config.model.num_heads, config.model.width) == (48, 2, 32)


def test_published_weights_are_scores_and_nothing_else(hub_folder, tmp_path):
    told = {"loss.type": "masked", "graph.type": "absorbing"}
    with pytest.raises(UserError, match="config.loss.type is masked: published weights are read"):
        write(hub_folder, tmp_path / "run", told=told)


def test_sizes_that_the_weights_do_not_have_are_refused(hub_folder, tmp_path):
    with pytest.raises(UserError, match=r"config\.model\.width is 64, and the weights have 32"):
        write(hub_folder, tmp_path / "run", told={"model.width": 64})
    tree = json.loads((hub_folder / "config.json").read_text())
    tree["model"]["n_blocks"] += 1  # so its heads may be of another model, too
    (hub_folder / "config.json").write_text(json.dumps(tree))
    with pytest.raises(UserError, match=r"config\.json is not of these weights: its config\.model"):
        write(hub_folder, tmp_path / "run")
    for text in ("[]", "3"):
        (hub_folder / "config.json").write_text(text)
        with pytest.raises(UserError, match="cannot be read: it holds no keys with values"):
            write(hub_folder, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_nobody_tells_is_asked_for(hub_folder):
    file, config_file = torch_run.locate(hub_folder)
    published = published_config.read(config_file)
    torch_run.require_told(file, published, {})
    tree = json.loads(config_file.read_text())
    del tree["model"]["length"]
    without = published_config.from_tree(config_file, tree)
    with pytest.raises(torch_run.Untold, match="config.json does not say model.length") as error:
        torch_run.require_told(file, without, {})
    assert error.value.keys == ["model.length"]
    torch_run.require_told(file, without, {"model.length": 3})
    with pytest.raises(
        torch_run.Untold, match=r"has no config beside it \(config.json, config.yaml"
    ):
        torch_run.require_told(file, None, {"model.length": 3})


def test_a_codec_is_named_or_that_of_a_dataset(tmp_path):
    tokens = write_dataset(tmp_path / "tokens")
    assert torch_run.find_codec(None, None) is None
    assert torch_run.find_codec(None, tokens) == torch_run.find_codec("toy", tokens) == CODEC
    assert torch_run.find_codec("demo-scores", None)["codebook_size"] == 1024
    with pytest.raises(UserError, match="has tokens of the codec toy, not of demo"):
        torch_run.find_codec("demo", tokens)
    with pytest.raises(UserError, match="demmo: no such codec; the nearest: demo"):
        torch_run.find_codec("demmo", None)


def test_a_codec_of_other_codes_is_refused_but_for_one_that_the_mask_took():
    config = music_small.get_config()
    codec = CODEC | {"codebook_size": 32}
    assert torch_run.for_codec(config, 32, codec).graph.num_codes == 0
    assert torch_run.for_codec(config, 31, codec).graph.num_codes == 31
    for num_codes in (30, 33):
        with pytest.raises(UserError, match=f"has 32 codes, the weights are for {num_codes}"):
            torch_run.for_codec(config, num_codes, codec)
    config.graph.type = "uniform"
    with pytest.raises(UserError, match="has 32 codes, the weights are for 31"):
        torch_run.for_codec(config, 31, codec)


def test_mistakes_get_one_line_and_leave_no_run(hub_folder, tmp_path):
    workdir = tmp_path / "run"
    (hub_folder / "bad.json").write_text("{")
    with pytest.raises(UserError, match="bad.json cannot be read"):
        published_config.read(hub_folder / "bad.json")
    (hub_folder / "bad.yaml").write_text("- 3")
    with pytest.raises(UserError, match="bad.yaml cannot be read"):
        published_config.read(hub_folder / "bad.yaml")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty holds none of model.safetensors, checkpoint.pth"):
        torch_run.locate(tmp_path / "empty")
    with pytest.raises(UserError, match="nowhere: no such file or folder"):
        torch_run.locate(tmp_path / "nowhere")

    text = (hub_folder / "config.json").read_text()
    for old, new, message in (
        ('"uniform"', '"other"', "graph.type is 'other'"),
        ('"n_heads": 2', '"n_heads": 5', "must split into"),
        ('"n_heads": 2', '"n_heads": "2"', "config.model.num_heads is '2'; it must be int"),
        ('"tokens": 33', '"tokens": 34', "it says tokens 34, and they have 33, uniform graph"),
    ):
        assert old in text
        (hub_folder / "config.json").write_text(text.replace(old, new))
        with pytest.raises(UserError, match=message):
            write(hub_folder, workdir)
    (hub_folder / "config.json").write_text(text)
    (hub_folder / "codec.json").touch()
    with pytest.raises(UserError, match="sedd is an exported model"):
        write(hub_folder, workdir)
    (hub_folder / "codec.json").unlink()
    assert not workdir.exists()

    write(hub_folder, workdir)
    with pytest.raises(UserError, match="exists and is not an empty folder"):
        write(hub_folder, workdir)
