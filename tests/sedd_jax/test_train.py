import json
import signal

import jax
import numpy as np
import pytest

from sedd_jax.checkpoints.manager import Checkpoints
from sedd_jax.errors import UserError
from sedd_jax.jobs.train import train
from sedd_jax.model import checkpoint_dir, load_run
from tests.programs import wait_until
from tests.sedd_jax.toy import (
    CODEC,
    FAST_COMPILE,
    error_line,
    metrics,
    run,
    start,
    toy_config,
    train_command,
    write_dataset,
)

# ---- what the command refuses before anything is compiled


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "tokens")


def refuse(config, workdir) -> str:
    """The one line of a refusal, which leaves nothing behind that looks like a run."""
    with pytest.raises(UserError) as caught:
        train(config, workdir)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_bad_data_is_refused(tokens, tmp_path):
    workdir = tmp_path / "run"
    assert "config.data.path is empty" in refuse(toy_config(), workdir)
    missing = toy_config(data__path=str(tmp_path / "none"))
    assert "none is not a directory" in refuse(missing, workdir)
    good = toy_config(data__path=str(tokens))
    assert "holds a token dataset: train in another directory" in refuse(good, tokens)
    (tmp_path / "empty").mkdir()
    empty = toy_config(data__path=str(tmp_path / "empty"))
    assert "not a whole token dataset" in refuse(empty, workdir)
    long = toy_config(data__path=str(tokens), model__length=512)
    assert "have 404 tokens together" in refuse(long, workdir)
    assert not workdir.exists()


def test_an_exported_model_is_not_trained_over(tokens, tmp_path):
    (tmp_path / "model.safetensors").touch()
    line = refuse(toy_config(data__path=str(tokens)), tmp_path)
    assert line == f"{tmp_path} holds an exported model: train in another directory"


def test_a_batch_that_does_not_divide_is_refused(tokens, tmp_path):
    num_devices = len(jax.devices())
    config = toy_config(data__path=str(tokens), training__batch_size=2 * num_devices - 1)
    line = refuse(config, tmp_path / "run")
    assert f"batch_size {2 * num_devices - 1} must be a multiple of {num_devices} devices" in line


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--config.optim.eps_=1", "key optim.eps_; did you mean config.optim.eps?"),
        ("--config.training.batch_size=many", "config.training.batch_size=many: an integer"),
        ("--config.data.path=/nowhere", "/nowhere is not a directory"),
    ],
)
def test_the_command_says_it_in_one_line(tmp_path, flag, message):
    result = run([*train_command("", tmp_path / "run"), flag])
    assert message in error_line(result)
    assert not (tmp_path / "run").exists()


# ---- a run, seen from outside


LENGTH_OF_RUN = {
    "training__num_steps": 300,
    "training__log_every": 50,
    "evaluation__every": 150,
    "checkpoint__every": 150,
}


@pytest.fixture(scope="module")
def trained(tokens, tmp_path_factory):
    """(workdir, finished process) of a run with validation."""
    workdir = tmp_path_factory.mktemp("trained") / "run"
    return workdir, run(train_command(tokens, workdir, **LENGTH_OF_RUN))


def test_a_run_learns_and_says_what_it_did(trained):
    workdir, result = trained
    assert result.returncode == 0, result.stderr
    first, *changed = result.stdout.split(" parameters in ")[0].splitlines()
    assert first.endswith("config.json, with") and "    config.training.num_steps=300" in changed
    assert len(changed) < 30  # and not the whole config
    assert "30.9 windows of 16 tokens" in result.stdout
    for text in ("300/300", "bits/token", "tokens/s"):
        assert text in result.stderr
    assert {path.name for path in workdir.iterdir()} == {
        "config.json", "codec.json", "checkpoints", "metrics.jsonl", "tensorboard", "goodput.jsonl",
    }  # fmt: skip
    lines = metrics(workdir)
    assert [line["step"] for line in lines if "loss" in line] == list(range(50, 301, 50))
    measured = [line for line in lines if "validation_bits_per_token" in line]
    validation = [line["validation_bits_per_token"] for line in measured]
    # An untrained model is uniform over 32 codes, 5 bits; the tokens' walk leaves log2(3).
    assert np.log2(3) < validation[1] < 4.5 and validation[1] < validation[0]
    assert lines[0]["learning_rate"] == pytest.approx(1e-2)
    assert sum("validation_bits_by_t" in name for name in measured[0]) == 10
    assert "mfu" not in lines[0]  # no peak is made up for a CPU
    events = [path.stat().st_size for path in (workdir / "tensorboard").iterdir()]
    assert len(events) == 1 and events[0] > 500


def test_the_time_of_a_run_is_accounted_for(trained):
    workdir, _ = trained
    last = [line for line in metrics(workdir) if "goodput" in line][-1]
    kinds = {k: v for k, v in last.items() if k.startswith("wall_seconds/")}
    total = kinds.pop("wall_seconds/total")
    assert {"start", "compile", "validation", "checkpoint"} < {k.split("/")[1] for k in kinds}
    assert sum(kinds.values()) == pytest.approx(total, abs=0.1)
    assert last["goodput"] == pytest.approx(kinds["wall_seconds/productive"] / total)
    assert kinds["wall_seconds/other"] < 0.5 * total
    assert last["step_seconds/p50"] <= last["step_seconds/p90"] <= last["step_seconds/max"]
    assert 0 <= last["data_wait_share"] < 1
    ended = json.loads((workdir / "goodput.jsonl").read_text().splitlines()[-1])
    assert ended["finished"] and ended["step"] == 300


def test_a_trained_run_is_loaded_by_its_directory_alone(trained):
    workdir, _ = trained
    run, params, step = load_run(workdir)
    assert step == 300 and run.codec == CODEC
    assert run.config.model.width == 16
    assert params["vocab_embed"]["embedding"].shape == (33, 16)
    assert load_run(workdir, step=150)[2] == 150
    with pytest.raises(UserError, match="no checkpoint of step 200"):
        load_run(workdir, step=200)
    with pytest.raises(UserError, match="holds no trained run"):
        load_run(workdir / "none")


def test_the_checkpoint_of_the_lowest_validation_is_chosen(trained):
    workdir, result = trained
    measured = [line for line in metrics(workdir) if "validation_bits_per_token" in line]
    best = min(measured, key=lambda line: line["validation_bits_per_token"])["step"]
    assert load_run(workdir, "best")[2] == best
    with Checkpoints(checkpoint_dir(workdir), read_only=True) as checkpoints:
        said = [checkpoints.read_meta(step).validation["bits_per_token"] for step in (150, 300)]
    assert said == [line["validation_bits_per_token"] for line in measured]
    assert "warning: 0.1 minutes of music to train on" in result.stdout


def test_a_finished_run_is_not_trained_again(trained, tokens, capsys):
    workdir, _ = trained
    before = metrics(workdir)
    config = toy_config(data__path=str(tokens), **LENGTH_OF_RUN)
    assert train(config, workdir) == 0
    said = "is trained to step 300 already; a larger --config.training.num_steps trains on"
    assert said in capsys.readouterr().out
    assert metrics(workdir) == before


def test_resuming_something_else_is_refused_by_name(trained, tmp_path):
    workdir, _ = trained
    same = write_dataset(tmp_path / "same")
    wider = toy_config(data__path=str(same), model__width=32)
    assert "config.model.width=16, not 32" in refuse(wider, workdir)
    other = write_dataset(tmp_path / "other", seed=1)
    assert "other tracks" in refuse(toy_config(data__path=str(other)), workdir)
    codec = CODEC | {"weights_sha256": "1" * 64, "name": "foreign"}
    foreign = toy_config(data__path=str(write_dataset(tmp_path / "foreign", codec=codec)))
    assert "codec 'foreign'" in refuse(foreign, workdir)


# ---- trouble


def test_a_run_that_blows_up_stops_with_its_last_good_state(tokens, tmp_path):
    workdir = tmp_path / "run"
    command = train_command(
        tokens, workdir, optim__learning_rate=1e30, optim__warmup_steps=0,
        training__max_consecutive_skips=4, training__log_every=1,
    )  # fmt: skip
    line = error_line(run(command, XLA_FLAGS=FAST_COMPILE))
    assert "not finite for 4 steps in a row" in line
    run_, params, step = load_run(workdir)
    assert str(checkpoint_dir(workdir) / str(step)) in line
    assert all(np.isfinite(leaf).all() for leaf in params["blocks"]["mlp_in"].values())
    skipped = [row["skipped"] for row in metrics(workdir)]
    assert skipped[-1] >= 3 and skipped == sorted(skipped)
    assert metrics(workdir)[-1]["loss"] is None


def test_sigterm_saves_and_the_same_command_goes_on(tokens, tmp_path):
    workdir = tmp_path / "run"
    command = train_command(tokens, workdir, training__num_steps=100_000, checkpoint__every=100_000)
    with start(command) as program:
        wait_until(lambda: metrics(workdir), [program])
        program.send_signal(signal.SIGTERM)
        stopped_run = program.result()
    assert stopped_run.returncode == 128 + signal.SIGTERM, stopped_run.stderr
    with Checkpoints(checkpoint_dir(workdir), read_only=True) as checkpoints:
        [stopped] = checkpoints.steps
    assert f"stopped at step {stopped:,}" in stopped_run.stdout
    result = run(train_command(tokens, workdir, training__num_steps=stopped + 1))
    assert result.returncode == 0, result.stderr
    assert f"from step {stopped:,} to {stopped + 1:,}" in result.stdout


def test_a_full_disk_ends_the_run_and_earlier_checkpoints_stay_whole(tokens, tmp_path):
    workdir = tmp_path / "run"
    assert run(train_command(tokens, workdir, training__num_steps=10)).returncode == 0

    command = train_command(
        tokens, workdir, training__num_steps=30, checkpoint__retries=1, checkpoint__retry_wait=0.1
    )
    # At most 20 kB a file, where a copy of the parameters takes 30.
    result = run(["bash", "-c", 'ulimit -f 20; exec "$@"', "-", *command])
    failure = f"saved in {checkpoint_dir(workdir)}: File too large; the earlier ones are whole"
    assert failure in error_line(result)
    assert f"{failure}; next attempt in 0.1 s, 1 left" in result.stderr
    assert load_run(workdir)[2] == 10
    assert run(command).returncode == 0
    assert load_run(workdir)[2] == 30
