import functools
import importlib

import pytest

from sedd_jax import config as config_lib
from sedd_jax.config_keys import KEYS
from sedd_jax.errors import UserError
from sedd_jax.model import load_run
from tests.sedd_jax.toy import toy_config
from tests.sedd_jax.toy_run import write_run


@pytest.mark.parametrize(
    "name", ["music_small", "music_medium", "music_large", "demo", "quickstart", "demo_distilled"]
)
def test_shipped_configs_are_whole_and_possible(name):
    module = importlib.import_module(f"configs.{name}")
    config_lib.check(module.get_config())
    assert "python -m sedd_jax.train" in module.__doc__


def test_unknown_missing_and_mistyped_keys_are_named():
    config = toy_config()
    config.optim.momentum = 0.9
    with pytest.raises(UserError, match=r"unknown config key optim\.momentum"):
        config_lib.check(config)

    config = toy_config()
    del config.optim["b1"]
    with pytest.raises(UserError, match=r"no optim\.b1"):
        config_lib.check(config)

    for group, key, value in [("model", "width", 16.0), ("model", "scale_by_sigma", 1)]:
        config = toy_config()
        del config[group][key]
        config[group][key] = value
        with pytest.raises(UserError, match=rf"config\.{group}\.{key} is .*; it must be"):
            config_lib.check(config)


def test_an_integer_is_a_fine_float_but_a_boolean_is_no_integer():
    config = toy_config()
    del config.optim["learning_rate"]
    config.optim.learning_rate = 1
    config_lib.check(config)
    del config.model["num_blocks"]
    config.model.num_blocks = True
    with pytest.raises(UserError, match=r"config\.model\.num_blocks is True; it must be int"):
        config_lib.check(config)


AUTOREGRESSIVE = {"model__type": "autoregressive"}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"model__num_heads": 3}, "heads of even width"),
        ({"training__accumulation": 3}, "multiple of config.training.accumulation"),
        ({"noise__sigma_min": 30.0}, "0 < noise.sigma_min < noise.sigma_max"),
        ({"noise__sigma_min": 0.0}, "0 < noise.sigma_min < noise.sigma_max"),
        ({"noise__sigma_max": 88.0}, "config.noise.sigma_max is 88.0; it must be between"),
        ({"training__span_masks": 0.5, "graph__type": "uniform"}, "the uniform graph has no masks"),
        ({"loss__type": "cross_entropy"}, "it can be score_entropy, conditional, masked"),
        (
            {"loss__type": "masked", "graph__type": "uniform"},
            "for the absorbing graph, not the unif",
        ),
        ({"loss__type": "mean"}, "config.loss.type is mean: it is for the uniform graph"),
        ({"sampling__sampler": "spread", "graph__type": "uniform"}, "it draws masked positions"),
        ({"loss__times": "masked_share"}, "under loglinear noise uniform times are the same"),
        (
            {"loss__times": "masked_share", "graph__type": "uniform"},
            "config.loss.times is masked_share, and the uniform graph has no masks",
        ),
        ({"training__high_noise_share": 0.01}, "0.01 of config.training.batch_size 8 is no row"),
        ({"training__high_noise_from": 1.0}, "it must be between 0.001 and 0.999"),
        ({"graph__type": "absorb"}, "absorbing, uniform"),
        ({"graph__type": "uniform", "graph__num_codes": 3}, "config.graph.num_codes is 3: without"),
        ({"model__dropout": 1.5}, "config.model.dropout is 1.5"),
        ({"training__num_steps": 0}, "config.training.num_steps is 0; it must be at least 1"),
        ({"mesh__fsdp": -1}, "one of them may be -1"),
        ({"mesh__fsdp": 0}, "config.mesh"),
        ({"optim__learning_rate": float("nan")}, "config.optim.learning_rate is nan"),
        ({"training__batch_size": 10**12}, "config.training.batch_size is 1000000000000"),
        ({"optim__learning_rate": float("inf")}, "config.optim.learning_rate is inf"),
        ({"noise__sigma_max": float("nan")}, "config.noise.sigma_max is nan"),
        ({"model__type": "causal"}, "config.model.type is 'causal'; it can be diffusion"),
        (AUTOREGRESSIVE | {"graph__type": "uniform"}, "begins its sequences with the mask"),
        (AUTOREGRESSIVE | {"training__span_masks": 0.5}, "span_masks is 0.5: it is of diffusion"),
        (AUTOREGRESSIVE | {"training__high_noise_share": 0.5}, "share is 0.5: it is of diffusion"),
        ({"distill__steps": 4, "graph__type": "uniform"}, "distill.steps 4 needs absorbing"),
        ({"distill__steps": 4, "training__span_masks": 0.5}, "config.distill.steps 4 needs 0"),
        (AUTOREGRESSIVE | {"distill__steps": 4}, "is autoregressive: config.distill.steps 4 needs"),
        ({"distill__teacher_steps": 1}, "distill.teacher_steps is 1; it must be between 2 and"),
        ({"distill__sampler": "remask"}, "it can be spread, euler"),
    ],
)
def test_impossible_values_are_refused_in_one_line(overrides, message):
    with pytest.raises(UserError) as error:
        config_lib.check(toy_config(**overrides))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_saved_config_comes_back_equal(tmp_path):
    config = toy_config(model__dropout=0.25, data__path="a b")
    config_lib.save(config, tmp_path / "config.json")
    assert config_lib.load(tmp_path / "config.json").to_dict() == config.to_dict()
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]

    (tmp_path / "config.json").write_text('{"seed": 0, ')
    with pytest.raises(UserError, match=r"config\.json"):
        config_lib.load(tmp_path / "config.json")


def test_a_config_saved_before_a_key_existed_is_read_and_resumed():
    saved = toy_config(model__dropout=0.25).to_dict()
    for key, known in KEYS.items():
        if known.default_of_older_runs is None:
            continue
        *groups, name = key.split(".")
        del functools.reduce(dict.__getitem__, groups, saved)[name]
    del saved["profile"]  # a whole group that came later
    config = config_lib.from_dict(saved)
    older = toy_config(model__dropout=0.25, model__unroll="off", optim__condition_rate=1.0)
    assert config.to_dict() == older.to_dict()
    config_lib.check_resumable(saved, config, "RUN")

    del saved["optim"]["b1"]  # one that was always there
    with pytest.raises(UserError, match=r"no optim\.b1"):
        config_lib.from_dict(saved)


def test_resuming_allows_what_changes_nothing_computed_and_names_what_does():
    saved = toy_config().to_dict()
    config_lib.check_resumable(saved, toy_config(), "RUN")
    free = {
        "training__num_steps": 99, "training__accumulation": 2, "checkpoint__keep_last": 9,
        "evaluation__every": 7, "data__path": "moved", "mesh__data": 1, "sampling__steps": 3,
    }  # fmt: skip
    config_lib.check_resumable(saved, toy_config(**free), "RUN")
    with pytest.raises(UserError, match=r"RUN was trained with config\.model\.width=16, not 32"):
        config_lib.check_resumable(saved, toy_config(model__width=32), "RUN")
    with pytest.raises(UserError, match=r"config\.training\.batch_size=8, not 16"):
        config_lib.check_resumable(saved, toy_config(training__batch_size=16), "RUN")


def test_the_offset_of_the_absorbing_graph_is_not_kept_for_the_uniform_one():
    assert config_lib.settled(toy_config()).model.scale_by_sigma
    config = toy_config(graph__type="uniform").lock()
    kept = config_lib.settled(config)
    assert not kept.model.scale_by_sigma and config.model.scale_by_sigma
    config_lib.check_resumable(kept.to_dict(), config, "RUN")
    assert not config_lib.settled(toy_config(loss__type="masked")).model.scale_by_sigma
    with pytest.raises(UserError, match="RUN was trained by an earlier version, .* uniform graph"):
        config_lib.check_resumable(config.to_dict(), config, "RUN")


def test_a_uniform_run_trained_with_the_offset_is_not_read_as_one_without(tmp_path, monkeypatch):
    with monkeypatch.context() as earlier:
        earlier.setattr(config_lib, "settled", lambda config: config)
        write_run(tmp_path / "run", tmp_path / "tokens", graph__type="uniform")
    with pytest.raises(UserError, match="run was trained by an earlier version"):
        load_run(tmp_path / "run")
