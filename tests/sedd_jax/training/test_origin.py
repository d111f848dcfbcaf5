"""Runs that start from a trained model: what they take from it, and what is refused."""

import functools
import json
import shutil

import jax
import numpy as np
import pytest

from sedd_jax import config as config_lib
from sedd_jax import train as train_lib
from sedd_jax.checkpoints.manager import Checkpoints
from sedd_jax.checkpoints.meta import Meta
from sedd_jax.conditions import VectorKind, Vocabulary
from sedd_jax.errors import UserError
from sedd_jax.model import build, checkpoint_dir, load_run
from sedd_jax.parallel import mesh as mesh_lib
from sedd_jax.state import init_state
from sedd_jax.training import origin as origin_lib
from sedd_jax.training.setup import prepare
from sedd_jax.weights import exported, exporting
from tests.sedd_jax.toy import CODEC, toy_config, write_dataset
from tests.sedd_jax.toy_run import make_run

TAGS = Vocabulary({"g---a": 6, "g---b": 4, "h---c": 3}, max_tags=2)
CATEGORIES = ("g", "h")


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with a run `run` of steps 3, its best, and 7 that knows TAGS, its export `out`, and
    data whose tags are g---b and g---new."""
    folder = tmp_path_factory.mktemp("origin")
    tags = {"train": [("g---b",), ("g---new", "g---b"), ("g---new",), (), (), ()]}
    tokens = write_dataset(folder / "tokens", tags=tags)
    run, params = make_run(
        vocabulary=TAGS,
        conditioning__categories=CATEGORIES,
        conditioning__min_tracks=2,
        data__path=str(tokens),
    )
    with Checkpoints(checkpoint_dir(folder / "run"), keep_last=2) as checkpoints:
        for step in (3, 7):
            scaled = jax.tree.map(functools.partial(np.multiply, step), params)
            state = init_state(scaled, run.config.optim)
            measured = {"bits_per_token": float(step), "of": "these"}
            known = {"vocabulary": TAGS.to_json(), "validation": measured}
            meta = Meta(step, run.config.to_dict(), CODEC, "x", **known)
            checkpoints.save(state, meta)
            checkpoints.wait()
    saved = run.config.copy_and_resolve_references()
    saved.update_from_flattened_dict({"mesh.data": 1, "optim.trainable": ("adaLN",)})
    config_lib.save(saved, folder / "run" / "config.json")
    exporting.export(folder / "run", folder / "out")
    return folder


def params_of(name, vocabulary, mesh=None):
    """(a run that knows `vocabulary`, its parameters from the model `name`)."""
    mesh = mesh or mesh_lib.make_mesh(mesh_lib.SLICES_ALONG_DATA)
    run = build(toy_config(), CODEC, mesh, vocabulary)
    origin = origin_lib.find(str(name))
    origin_lib.check_fits(origin, run)
    return run, origin_lib.initial_params(origin, run)


def without_tags(params):
    return {name: part for name, part in params.items() if name != "condition"}


def assert_equal(tree, other):
    jax.tree.map(np.testing.assert_array_equal, tree, other)


@pytest.mark.parametrize(
    ("name", "step"), [("run", 7), ("run@3", 3), ("run@best", 3), ("out", 7), ("out@7", 7)]
)
def test_the_weights_are_those_of_run_step_or_folder(here, name, step):
    _, theirs, _ = load_run(here / "run", step)
    _, ours = params_of(here / name, TAGS)
    assert_equal(ours, theirs)
    origin = origin_lib.find(str(here / name))
    assert (origin.step, origin.vocabulary) == (step, TAGS)


def test_they_lie_as_the_mesh_of_the_run_asks(here):
    mesh = mesh_lib.make_mesh({"data": 2, "fsdp": 4, "tensor": 1})
    for name in ("run", "out"):
        run, params = params_of(here / name, TAGS, mesh)
        shapes = run.state_shapes()
        placed = run.state_from(params)
        jax.tree.map(
            lambda x, s: None if x.sharding == s.sharding else pytest.fail(), placed, shapes
        )
        assert (int(placed.step), int(placed.num_updates)) == (0, 0)
        _, theirs, _ = load_run(here / "run", 7)
        assert_equal(placed.params, theirs)
        assert_equal(placed.ema_params, theirs)
        assert not any(np.asarray(x).any() for x in jax.tree.leaves(placed.opt_state))


def test_tags_keep_their_rows_by_name_and_new_ones_have_zeros(here):
    _, theirs, _ = load_run(here / "run", 7)
    rows_3xC = np.asarray(theirs["condition"]["tags"]["embedding"])
    for name in ("run", "out"):
        # "aa" comes before all the others: rows are matched by name, not by place.
        _, ours = params_of(here / name, Vocabulary({"g---aa": 1, "g---b": 1, "h---c": 1}, 1))
        table_3xC = np.asarray(ours["condition"]["tags"]["embedding"])
        np.testing.assert_array_equal(table_3xC, [0 * rows_3xC[0], rows_3xC[1], rows_3xC[2]])
        _, plain = params_of(here / name, Vocabulary())
        assert_equal(plain, without_tags(theirs))


def test_a_model_without_tags_gets_a_table_of_zeros(here, tmp_path):
    run, params = make_run()
    arrays = jax.tree.map(np.asarray, params)
    exported.write(tmp_path / "out", exported.Exported(run.config, CODEC, Vocabulary(), arrays, 1),
                   "float32", "")  # fmt: skip
    run, params = params_of(tmp_path / "out", TAGS)
    assert not np.asarray(params["condition"]["tags"]["embedding"]).any()
    x_BxL, sigma_B = np.ones((8, 16), np.int32), np.full(8, 0.5, np.float32)
    condition = TAGS.condition([("g---a",)] * 8)
    log_score = jax.jit(run.log_score)
    plain = log_score(params, x_BxL, sigma_B)
    np.testing.assert_array_equal(log_score(params, x_BxL, sigma_B, condition=condition), plain)
    origin = origin_lib.find(str(tmp_path / "out"))
    said = origin_lib.describe(origin, TAGS, "score_entropy")
    assert "0 keep their rows, 3 are new, 0 are left out" in said and "read as" not in said
    assert ", score_entropy read as masked: of the tags" in origin_lib.describe(
        origin, TAGS, "masked"
    )


def test_a_name_of_the_hub_is_kept_as_it_is(here, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(here / "out"))
    monkeypatch.chdir(tmp_path)
    record = origin_lib.find("user/tunes").to_json()
    assert (record["place"], record["step"]) == ("user/tunes", 7)
    (tmp_path / "user/tunes").mkdir(parents=True)  # a folder comes first, and is none
    with pytest.raises(UserError, match="user/tunes is neither a trained run nor an exported"):
        origin_lib.find("user/tunes")
    with pytest.raises(UserError, match="was started from user/tunes, not from demo"):
        origin_lib.check_same("demo", record, tmp_path)
    origin_lib.check_same("user/tunes", record, tmp_path)


def test_vectors_keep_their_maps_in_the_unit_of_the_new_data(tmp_path):
    known = Vocabulary({"g---a": 1}, 1, {"clip": VectorKind(2, 3.0), "old": VectorKind(1)})
    run, params = make_run(vocabulary=known)
    arrays = jax.tree.map(np.asarray, params)
    exported.write(tmp_path / "out", exported.Exported(run.config, CODEC, known, arrays, 1),
                   "float32", "")  # fmt: skip
    kinds = {"clip": VectorKind(2, 6.0), "new": VectorKind(4)}
    wanted = Vocabulary(vectors=kinds)
    _, ours = params_of(tmp_path / "out", wanted)
    assert set(ours["condition"]) == {"vectors"}
    kernels = jax.tree.map(np.asarray, ours["condition"]["vectors"])
    assert set(kernels) == set(kinds) and not kernels["new"]["kernel"].any()
    vector = {"clip": np.float32([5, -2])}
    told = [v.condition([()], vectors_B=[vector])["vectors"]["clip"] for v in (known, wanted)]
    theirs = arrays["condition"]["vectors"]["clip"]["kernel"]
    np.testing.assert_allclose(told[1] @ kernels["clip"]["kernel"], told[0] @ theirs, rtol=1e-5)
    origin = origin_lib.find(str(tmp_path / "out"))
    assert "with its maps of the vectors clip, without its 1 tags" in origin_lib.describe(
        origin, wanted, "score_entropy"
    )
    with pytest.raises(UserError, match="knows vectors 'clip' of 2 numbers, the data has 3"):
        params_of(tmp_path / "out", Vocabulary(vectors={"clip": VectorKind(3)}))


# ---- the command


def command(here, workdir, *more, config=False) -> list[str]:
    flags = [f"--tokens={here / 'tokens'}", f"--workdir={workdir}"]
    keys = {"training.num_steps": 4, "checkpoint.every": 2, "conditioning.categories": "g"}
    return [*flags, *(f"--config.{key}={value}" for key, value in keys.items()), *more]


def test_a_run_that_started_from_another_goes_on_without_it(here, tmp_path, capsys):
    shutil.copytree(here / "run", tmp_path / "source")
    workdir = tmp_path / "run"
    given = command(here, workdir, f"--init_from={tmp_path / 'source'}")
    assert train_lib.main([*given, "--config.training.num_steps=2"]) == 0
    said = capsys.readouterr().out
    assert f"starts from {tmp_path / 'source'}, step 7: of the tags 1 keep their rows" in said
    assert "1 are new, 2 are left out" in said
    origin = json.loads((workdir / "origin.json").read_text())
    assert origin["step"] == 7 and len(origin["weights"]) == 64

    shutil.rmtree(tmp_path / "source")
    assert train_lib.main(given) == 0
    said = capsys.readouterr().out
    assert "from step 2 to 4" in said and "starts from" not in said
    with Checkpoints(checkpoint_dir(workdir), read_only=True) as checkpoints:
        assert checkpoints.read_meta(4).origin == origin
    alone = train_lib.make_parser().parse_args([f"--workdir={workdir}"])
    assert train_lib.config_of_model(alone).training.num_steps == 4
    with pytest.raises(UserError, match="was started from .*/source, not from .*/out: leave that"):
        train_lib.main(command(here, workdir, f"--init_from={here / 'out'}"))
    with pytest.raises(UserError, match="was started with fresh parameters, not from demo"):
        origin_lib.check_same("demo", {}, workdir)


def test_without_a_config_it_is_the_models_but_for_data_and_mesh(here, tmp_path, capsys):
    config = origin_lib.starting_config(str(here / "run@3"))
    saved = config_lib.load(here / "run" / "config.json")
    assert config.model.to_dict() == saved.model.to_dict()
    assert tuple(config.conditioning.categories) == CATEGORIES
    assert config.data.path == "" and config.mesh.data == -1 and config.optim.trainable == ()
    demo = origin_lib.starting_config("demo")
    assert demo.model.width == 320 and demo.training.high_noise_share == 0
    given = command(here, tmp_path / "run", f"--init_from={here / 'run'}", "--print_config")
    with pytest.raises(SystemExit):
        train_lib.main(given)
    printed = capsys.readouterr().out.splitlines()
    assert {"config.model.width=16", "config.training.num_steps=4"} <= set(printed)
    with pytest.raises(UserError, match="--config=CONFIG is needed, or --init_from=MODEL"):
        train_lib.main([f"--tokens={here / 'tokens'}", f"--workdir={tmp_path / 'run'}"])


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("model.width", 32, "has config.model.width=16, the run 32: its weights do not fit"),
        ("model.num_heads", 4, "config.model.num_heads=2, the run 4"),
        ("graph.type", "uniform", "config.graph.type=absorbing, the run uniform"),
        ("model.scale_by_sigma", False, "config.model.scale_by_sigma=True, the run False"),
        ("optim.trainable", ("adaLN", "lora"), "'lora' is part of no parameter's path"),
        ("conditioning.categories", ("x",), "as config.conditioning.categories wants; its"),
    ],
)
def test_a_config_that_does_not_fit_is_one_line(here, tmp_path, key, value, text):
    config = toy_config(data__path=str(here / "tokens"))
    config.update_from_flattened_dict({key: value})
    with pytest.raises(UserError, match=text) as caught:
        prepare(config, tmp_path / "run", str(here / "out"))
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def scores_read_as(folder, loss_type):
    """Log-scores of codes at masked positions, by a model of score entropy itself and by a run that
    reads it as `loss_type`: a pair with half of the tokens masked, and one with nearly all.
    """
    known, theirs, _ = load_run(folder / "run", None)
    run = build(toy_config(loss__type=loss_type), CODEC, vocabulary=TAGS)
    origin = origin_lib.find(str(folder / "run"))
    origin_lib.check_fits(origin, run)
    ours = origin_lib.initial_params(origin, run)
    codes = known.graph.num_codes
    x_BxL = np.full((8, 16), codes, np.int32)
    x_BxL[:, ::3] = np.arange(48).reshape(8, 6) % codes
    pairs = []
    for sigma in (0.6931472, 3):
        sigma_B = np.full(8, sigma, np.float32)
        pairs.append([np.asarray(m.log_score(p, x_BxL, sigma_B))[x_BxL == codes, :codes]
                      for m, p in ((known, theirs), (run, ours))])  # fmt: skip
    return pairs


def assert_equal_up_to_sums(score_PxK, other_PxK):
    """In fp32, where they are in the thousands."""
    centred_PxK, other_centred_PxK = (x - x.mean(1, keepdims=True) for x in (score_PxK, other_PxK))
    assert abs(centred_PxK).max() > 1_000
    np.testing.assert_allclose(centred_PxK, other_centred_PxK, rtol=1e-5, atol=0.01)


def test_scores_read_as_probabilities_are_the_same_up_to_their_sums(here):
    for theirs_PxK, ours_PxK in scores_read_as(here, "masked"):
        assert_equal_up_to_sums(ours_PxK, theirs_PxK)
        assert abs(ours_PxK - theirs_PxK).max() > 0.01  # the sums were not right


def test_a_model_that_forgets_its_noise_level_starts_at_half_masked(here):
    (half_PxK, ours_at_half_PxK), (later_PxK, ours_later_PxK) = scores_read_as(here, "conditional")
    assert_equal_up_to_sums(ours_at_half_PxK, half_PxK)
    assert_equal_up_to_sums(ours_later_PxK, half_PxK)
    with pytest.raises(AssertionError):
        assert_equal_up_to_sums(later_PxK, half_PxK)


@pytest.mark.parametrize(
    ("known", "wanted", "text"),
    [
        ("masked", "score_entropy", "config.loss.type=masked, the run score_entropy: .* fit; they"),
        ("conditional", "masked", "config.loss.type=conditional, the run masked: .* do not fit$"),
    ],
)
def test_probabilities_are_not_read_as_what_they_do_not_tell(tmp_path, known, wanted, text):
    run, params = make_run(loss__type=known)
    arrays = jax.tree.map(np.asarray, params)
    exported.write(tmp_path / "out", exported.Exported(run.config, CODEC, Vocabulary(), arrays, 1),
                   "float32", "")  # fmt: skip
    origin = origin_lib.find(str(tmp_path / "out"))
    with pytest.raises(UserError, match=text):
        origin_lib.check_fits(origin, build(toy_config(loss__type=wanted), CODEC))


def test_a_student_has_its_teachers_parametrisation(here):
    config = toy_config(loss__type="masked", distill__steps=2)
    with pytest.raises(UserError, match="the teacher, has config.loss.type=score_entropy"):
        origin_lib.check_fits(origin_lib.find(str(here / "run")), build(config, CODEC))


def test_a_model_that_is_not_there_or_of_another_codec_is_one_line(here, tmp_path):
    config = toy_config(data__path=str(here / "tokens"))
    for name, text in {
        "none": "none is neither a trained run nor an exported model",
        "run@5": "has no checkpoint of step 5; it has 3, 7",
        "out@3": "out@3: the exported model is of step 7",
        "out@best": "out@best: the exported model is of step 7",
        "tokens": "tokens is neither",
    }.items():
        with pytest.raises(UserError, match=text):
            prepare(config, tmp_path / "run", str(here / name))
    other = write_dataset(tmp_path / "other", codec=CODEC | {"weights_sha256": "1" * 64})
    config.data.path = str(other)
    with pytest.raises(UserError, match="do not match codec 'toy' .weights_sha256"):
        prepare(config, tmp_path / "run", str(here / "out"))
