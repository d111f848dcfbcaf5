"""A run that changes course when it is resumed: what has to be allowed, and what is kept of it."""

import json
import shutil

import pytest

from sedd_jax import config as config_lib
from sedd_jax import train as train_lib
from sedd_jax.checkpoints.manager import Checkpoints
from sedd_jax.config_keys import KEYS
from sedd_jax.errors import UserError
from sedd_jax.jobs.train import train
from sedd_jax.model import checkpoint_dir
from tests.sedd_jax.toy import metrics, toy_config, write_dataset

SIZE = {"training__num_steps": 2, "checkpoint__every": 2, "training__log_every": 1}
TAGS = {"conditioning__categories": ("g",), "conditioning__min_tracks": 1}


def resume(workdir, *flags: str) -> int:
    return train_lib.main([f"--workdir={workdir}", "--config.training.num_steps=4", *flags])


def test_what_is_allowed_changes_and_is_kept(tmp_path, capsys):
    tags = {"train": [("g---a",), ("g---b",)]}
    tokens = write_dataset(tmp_path / "tokens", {"train": [40, 50]}, tags=tags)
    other = write_dataset(
        tmp_path / "other",
        {"train": [70, 80]},
        seed=1,
        tags={"train": [("g---c",), ("g---b", "g---a")]},
    )
    workdir = tmp_path / "run"
    assert train(toy_config(data__path=str(tokens), **SIZE, **TAGS), workdir) == 0
    capsys.readouterr()

    wanted = [f"--tokens={other}", "--config.optim.learning_rate=0.001"]
    wanted += ["--config.training.batch_size=16"]
    said = r"config\.optim\.learning_rate=0\.01, not 0\.001: .*; --allow_change="
    with pytest.raises(UserError, match=said + "optim.learning_rate,training.batch_size goes on"):
        resume(workdir, *wanted)
    keys = "optim.learning_rate,training.batch_size"
    with pytest.raises(UserError, match=f"other tracks than .*--allow_change={keys},data.path"):
        resume(workdir, *wanted, f"--allow_change={keys}")
    assert resume(workdir, *wanted, f"--allow_change={keys},data.path") == 0
    out = capsys.readouterr().out
    assert "from step 2 to 4\nchanged config.optim.learning_rate=0.001, was 0.01\n" in out
    assert f"changed config.data.path={other}, was {tokens}" in out
    assert metrics(workdir)[-1]["learning_rate"] < 1e-3 < metrics(workdir)[1]["learning_rate"]

    changed = {
        "optim.learning_rate": [0.01, 0.001],
        "training.batch_size": [8, 16],
        "data.path": [str(tokens), str(other)],
    }
    history = [{"step": 2, "changed": changed}]
    assert json.loads((workdir / "config.json").read_text())["history"] == history
    assert config_lib.load(workdir / "config.json").training.batch_size == 16
    with Checkpoints(checkpoint_dir(workdir), read_only=True) as checkpoints:
        meta = checkpoints.read_meta(4)
    assert meta.history == history and meta.config["training"]["batch_size"] == 16
    assert list(meta.vocabulary["tags"]) == ["g---a", "g---b"]  # those that the weights know
    assert meta.vocabulary["max_tags"] == 2

    assert train_lib.main([f"--workdir={workdir}", "--config.training.num_steps=5"]) == 0
    assert "changed" not in capsys.readouterr().out
    assert json.loads((workdir / "config.json").read_text())["history"] == history

    shutil.rmtree(other)
    write_dataset(other, {"train": [70, 80, 40]}, tags={"train": [("g---a",)] * 3})  # it has grown
    assert resume(workdir, "--config.training.num_steps=6", "--allow_change=data.path") == 0
    assert f"changed config.data.path={other}, where there are other tracks now" in (
        capsys.readouterr().out
    )


def test_what_the_weights_are_of_never_changes():
    saved = toy_config().to_dict()
    with pytest.raises(config_lib.OtherRun, match=r"config\.model\.width=16, not 32") as caught:
        wider = toy_config(model__width=32, optim__eps=1e-6)
        config_lib.check_resumable(saved, wider, "RUN", ["model.width", "optim.eps"])
    assert caught.value.keys == ()
    changed = toy_config(optim__eps=1e-6, noise__type="geometric", seed=3)
    keys = ["optim.eps", "noise.type", "seed"]
    assert set(config_lib.check_resumable(saved, changed, "RUN", keys)) == set(keys)
    assert not [key for key, known in KEYS.items() if known.fixed and known.resumable]


def test_a_key_that_there_is_not_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"unknown config key lr; did you mean config\.optim"):
        train_lib.main(
            ["--config=demo", "--tokens=T", f"--workdir={tmp_path / 'run'}", "--allow_change=lr"]
        )
