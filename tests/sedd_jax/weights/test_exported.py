"""Exported models: what goes out comes in again, and what does not fit is refused."""

import json
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from sedd_jax import Model
from sedd_jax.conditions import VectorKind, Vocabulary
from sedd_jax.errors import UserError
from sedd_jax.weights import export, exported, exporting
from tests.programs import ROOT
from tests.sedd_jax.toy import CODEC, environment, write_dataset
from tests.sedd_jax.toy_run import make_run, write_run


def model_of(run, params, vocabulary=None) -> exported.Exported:
    return exported.Exported(
        run.config, run.codec, vocabulary or run.vocabulary, jax.tree.map(np.asarray, params), 7
    )


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("exported")
    write_run(directory / "run", write_dataset(directory / "tokens"))
    return directory / "run"


def with_tags(params):
    """Parameters and a vocabulary of a model that knows three tags."""
    vocabulary = Vocabulary({"genre---jig": 5, "genre---reel": 4, "mode---minor": 3}, 2)
    cond_dim = params["sigma_map"]["out"]["bias"].shape[0]
    table = np.random.default_rng(0).standard_normal((3, cond_dim), np.float32)
    return params | {"condition": {"tags": {"embedding": table}}}, vocabulary


def test_fp32_comes_back_bit_for_bit(tmp_path):
    run, params = make_run()
    exported.write(tmp_path / "out", model_of(run, params), "float32", "a card\n")
    definition, again, step = exported.load(tmp_path / "out")
    assert jax.tree.all(jax.tree.map(np.array_equal, params, again)) and step == 7
    assert definition.config.to_dict() == run.config.to_dict()
    assert definition.codec == run.codec and not definition.vocabulary
    assert not (tmp_path / "out" / "tags.json").exists()
    assert (tmp_path / "out" / "README.md").read_text() == "a card\n"


def test_fp16_comes_back_rounded(tmp_path):
    run, params = make_run()
    exported.write(tmp_path / "out", model_of(run, params), "float16", "")
    _, again, _ = exported.load(tmp_path / "out")
    differences = jax.tree.map(
        lambda a, b: float(np.abs(np.asarray(a) - np.asarray(b)).max()), params, again
    )
    assert 0 < max(jax.tree.leaves(differences)) < 2**-10
    assert load_file(tmp_path / "out/model.safetensors")["output_layer.linear.bias"].itemsize == 2


@pytest.mark.parametrize("loss_type", ["conditional", "masked"])
def test_a_run_of_another_parametrisation_is_saved_exported_and_read_again(loss_type, tmp_path):
    write_run(tmp_path / "run", tmp_path / "tokens", loss__type=loss_type)
    run = Model.load(tmp_path / "run")
    export.main([f"--workdir={tmp_path / 'run'}", f"--output={tmp_path / 'out'}"])
    assert "score-entropy" not in (tmp_path / "out" / "README.md").read_text()
    assert not (tmp_path / "out" / exported.PUBLISHED_CONFIG).exists()
    names = load_file(tmp_path / "out" / exported.WEIGHTS).keys()
    assert any("sigma_map" in name for name in names) == (loss_type == "masked")
    again = Model.load(tmp_path / "out")
    assert jax.tree.all(jax.tree.map(np.array_equal, run.params, again.params))
    assert again.definition.parametrisation == run.definition.parametrisation
    tokens_L = np.array([32] * 12 + [1, 2, 3, 4], np.uint16)  # 32: the mask
    for model in (run, again):
        scores_LxV = np.asarray(model.log_score(tokens_L, 0.5))[0]
        np.testing.assert_allclose(
            np.exp(scores_LxV[:12, :32]).sum(-1), 1 / np.expm1(0.5), rtol=1e-5
        )
    new = again.sample(2, steps=2)
    assert new.shape == (2, 16) and new.max() < 32


def test_tags_go_along(tmp_path):
    run, params = make_run()
    params, vocabulary = with_tags(params)
    exported.write(tmp_path / "out", model_of(run, params, vocabulary), "float32", "")
    model = exported.read(tmp_path / "out")
    assert model.vocabulary == vocabulary
    table = model.params["condition"]["tags"]["embedding"]
    np.testing.assert_array_equal(table, params["condition"]["tags"]["embedding"])
    names = json.loads((tmp_path / "out/tags.json").read_text())
    names["tags"].pop("mode---minor")
    (tmp_path / "out/tags.json").write_text(json.dumps(names))
    with pytest.raises(UserError, match="has 3 tags, .*tags.json 2"):
        exported.read(tmp_path / "out")


def test_vectors_go_along(tmp_path):
    kinds = {"clip": VectorKind(3, 0.5), "speaker": VectorKind(1)}
    run, params = make_run(vocabulary=Vocabulary(vectors=kinds))
    exported.write(tmp_path / "out", model_of(run, params), "float32", "")
    definition, again, _ = exported.load(tmp_path / "out")
    assert jax.tree.all(jax.tree.map(np.array_equal, params, again))
    assert definition.vocabulary == run.vocabulary
    arrays = load_file(tmp_path / "out/model.safetensors")
    assert arrays["condition.vectors.clip.kernel"].shape == (4, run.config.model.cond_dim)
    names = json.loads((tmp_path / "out/tags.json").read_text())
    for change in ({"width": 4}, {"width": 3}):
        names["vectors"]["clip"] |= change
        (tmp_path / "out/tags.json").write_text(json.dumps(names))
        if change == {"width": 4}:
            with pytest.raises(UserError, match="weights are not those of the model"):
                exported.load(tmp_path / "out")
    names["vectors"].pop("clip")
    (tmp_path / "out/tags.json").write_text(json.dumps(names))
    with pytest.raises(UserError, match="do not go together: condition.vectors.clip.kernel"):
        exported.read(tmp_path / "out")


def test_an_exported_model_samples_like_its_run(workdir, tmp_path):
    export.main([f"--workdir={workdir}", f"--output={tmp_path}/out"])
    expected = Model.load(workdir).sample(2, steps=3)
    np.testing.assert_array_equal(Model.load(tmp_path / "out").sample(2, steps=3), expected)


def test_the_command_takes_it_for_a_run(workdir, tmp_path):
    export.main([f"--workdir={workdir}", f"--output={tmp_path}/out", "--dtype=float16"])
    command = f"-m sedd_jax.sample --workdir={tmp_path}/out --num_samples=2 --steps=2".split()
    command.append(f"--output={tmp_path}/new")
    done = subprocess.run(
        [sys.executable, *command], env=environment(), cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "new" / "dataset.json").exists()


def test_the_card_says_what_was_measured(workdir, tmp_path, capsys):
    bits = {"mean": 9.5, "interval_95_by_artist": [9.0, 10.0], "num_artists": 3}
    bits_per_token = {"model": bits, "model_without_tags": bits | {"mean": 9.6}}
    report = {"split": "test", "num_tracks": 3, "bits_per_token": bits_per_token}
    evaluation = workdir / "evaluation_test_0.json"
    evaluation.write_text(json.dumps(report))
    try:
        flags = [f"--workdir={workdir}", "--data=tunes", "--license=CC0-1.0"]
        export.main([*flags, f"--output={tmp_path}/out"])
        assert len(capsys.readouterr().out.splitlines()) == 1
    finally:
        evaluation.unlink()
    export.main([*flags, f"--output={tmp_path}/unmeasured"])
    last = capsys.readouterr().out.splitlines()[-1]
    assert f"python -m sedd_jax.evaluate --workdir={workdir} --step=0, then export" in last
    card = (tmp_path / "out/README.md").read_text()
    assert card.startswith("---\nlicense: cc0-1.0\n") and "Training data: tunes" in card
    assert "3 test tracks" in card and "model 9.500 (9.000 to 10.000)" in card
    assert "model without tags 9.600 (" in card


def test_the_card_says_how_long_it_was_trained_and_from_where(tmp_path):
    assert exporting.trained_for(tmp_path, 1_300) == "trained for 1,300 steps"
    (tmp_path / "origin.json").write_text('{"name": "runs/first", "step": 8131}')
    text = exporting.trained_for(tmp_path, 300)
    assert "300 steps" in text and "another run's step 8,131" in text
    assert "first" not in text  # the name of a folder is of the machine alone
    (tmp_path / "origin.json").write_text("[]")
    with pytest.raises(UserError, match=r"origin\.json"):
        exporting.trained_for(tmp_path, 300)


def test_nothing_is_overwritten_or_left_behind(workdir, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").touch()
    with pytest.raises(UserError, match="not an empty folder"):
        exporting.export(workdir, tmp_path / "out")
    with pytest.raises(UserError, match="line breaks or control characters"):
        exporting.export(workdir, tmp_path / "new", license="MIT\ntags: []")
    run, params = make_run()
    params = jax.tree.map(lambda x: 1e6 * x, params)
    with pytest.raises(UserError, match="that float16 cannot hold"):
        exported.write(tmp_path / "new", model_of(run, params), "float16", "")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_is_damaged_is_named(workdir, tmp_path):
    exporting.export(workdir, tmp_path / "out")
    (tmp_path / "out/codec.json").write_text("[1")
    with pytest.raises(UserError, match="codec.json cannot be read"):
        exported.load(tmp_path / "out")
    exporting.export(workdir, tmp_path / "two")
    with pytest.raises(UserError, match="holds step 0 alone, not 3"):
        exported.load(tmp_path / "two", step=3)
    with pytest.raises(UserError, match="^demo holds step"):
        exported.load("demo", step=3)
    config = json.loads((tmp_path / "two/config.json").read_text())
    config["model"]["length"] = 32  # is in no weight
    config["model"]["num_blocks"] = 2
    (tmp_path / "two/config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="weights are not those of the model"):
        exported.load(tmp_path / "two")


def test_a_name_of_the_hub_is_fetched_unless_it_is_a_folder(workdir, tmp_path, monkeypatch):
    exporting.export(workdir, tmp_path / "cache")
    asked = []

    def snapshot_download(name, allow_patterns):
        asked.append((name, tuple(allow_patterns)))
        return str(tmp_path / "cache")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert Model.load("user/tunes").step == 0
    assert asked == [("user/tunes", exported.FILES)]
    monkeypatch.chdir(tmp_path)
    exporting.export(workdir, "user/tunes")
    assert Model.load("user/tunes").step == 0 and len(asked) == 1


def test_a_hub_that_does_not_answer_is_one_line(monkeypatch):
    def snapshot_download(name, allow_patterns):
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(UserError, match=r"user/none is no folder here.*\(ConnectionError\): is"):
        Model.load("user/none")
    for path in ("a/b/c", "/a/b", "./a", "none"):  # paths and no names
        with pytest.raises(UserError, match="no trained run"):
            Model.load(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An exported model that knows tags."""
    run, params = make_run()
    params, vocabulary = with_tags(params)
    folder = tmp_path_factory.mktemp("folder") / "out"
    exported.write(folder, model_of(run, params, vocabulary), "float32", "")
    return folder


def edit_arrays(edit, metadata=None):
    def damage(folder):
        arrays = load_file(folder / "model.safetensors")
        edit(arrays)
        save_file(arrays, folder / "model.safetensors", metadata)

    return damage


def edit_text(name, text):
    return lambda folder: (folder / name).write_text(text)


@pytest.mark.parametrize(
    "damage, text",
    [
        (edit_text("config.json", "3"), "config.json holds no config of a run"),
        (edit_text("config.json", '{"a": 1}'), "config.json: unknown config key a"),
        (edit_text("codec.json", "{}"), "codec.json: lacks 'name'"),
        (edit_text("codec.json", json.dumps(CODEC | {"codebook_size": "x"})), "codebook_size is"),
        (edit_text("codec.json", json.dumps(CODEC | {"hop_length": 0})), "hop_length is 0"),
        (edit_text("tags.json", '{"tags": [1]}'), "tags.json: no vocabulary"),
        (edit_text("tags.json", '{"tags": {"a": 1}, "max_tags": "x"}'), "tags.json: no vocab"),
        (lambda folder: (folder / "tags.json").unlink(), "has 3 tags, .*tags.json 0"),
        (edit_arrays(lambda arrays: None, {"step": "x"}), "model.safetensors: invalid literal"),
        (edit_arrays(lambda arrays: arrays.popitem()), "model.safetensors: the weights hold no"),
        (
            edit_arrays(lambda arrays: arrays[exported.TAG_TABLE].fill(np.nan)),
            "model.safetensors: .* no table of finite",
        ),
    ],
)
def test_damage_of_any_file_is_one_line_that_names_it(folder, tmp_path, damage, text):
    shutil.copytree(folder, tmp_path / "out")
    damage(tmp_path / "out")
    with pytest.raises(UserError, match=text):
        exported.read(tmp_path / "out")


@pytest.mark.parametrize("report", ["{", "[]", '{"bits_per_token": 3}'])
def test_a_damaged_report_is_named_before_anything_is_written(workdir, tmp_path, report):
    evaluation = workdir / "evaluation_test_0.json"
    evaluation.write_text(report)
    try:
        with pytest.raises(UserError, match="evaluation_test_0.json is no report of evaluate"):
            exporting.export(workdir, tmp_path / "out")
    finally:
        evaluation.unlink()
    assert not (tmp_path / "out").exists()


def test_nothing_is_put_among_checkpoints(workdir):
    with pytest.raises(UserError, match="lies among the checkpoints of"):
        exporting.export(workdir, workdir / "checkpoints" / "9")


def test_a_folder_that_happens_to_be_called_demo_hides_no_model(tmp_path, monkeypatch):
    (tmp_path / "demo").mkdir()
    monkeypatch.chdir(tmp_path)
    assert exported.load("demo")[0].vocabulary
