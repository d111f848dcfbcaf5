"""The command for sweeps: what it refuses, runs, repeats and resumes, with real trainings."""

import csv
import importlib
import re
import signal
import sys
from pathlib import Path

import pytest

from configs.sweeps import sampler_runs, sampler_steps, samplers
from launch.jobs.measure_samples import evaluations
from launch.sweeping.runs import SweepFile, plan, read_sweep
from launch.sweeping.sampling import MIN_CLIP_S, MIN_SAMPLES, Sampling
from launch.sweeping.training import Training
from sedd_jax.checkpoints.manager import Checkpoints, Meta
from sedd_jax.data import fingerprint
from sedd_jax.errors import UserError
from sedd_jax.model import checkpoint_dir
from sedd_jax.state import init_state
from tests.programs import wait_until
from tests.sedd_jax.toy import (
    CODEC,
    error_line,
    metrics,
    run,
    start,
    toy_config,
    write_dataset,
)
from tests.sedd_jax.toy_run import make_run, write_run
from tokenizer_bridge.fad.measured_set import MIN_FILES
from tokenizer_bridge.fad.musicnn import Musicnn
from tokenizer_bridge.token_dataset.files import write_json_atomically
from tokenizer_bridge.token_dataset.records import TokenDataset

SWEEP_FILE = """
from configs.sweeps.grid import product, zip_
from tests.sedd_jax.toy import toy_config


def get_config():
    return toy_config(evaluation__every=10, training__num_steps={num_steps})


def sweep():
    return {overrides}
"""


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "tokens")


def write_sweep(directory: Path, overrides: str, num_steps: int = 10) -> Path:
    path = directory / "toy_sweep.py"
    path.write_text(SWEEP_FILE.format(overrides=overrides, num_steps=num_steps))
    return path


def command(file: Path | str, workdir: Path, tokens: Path, *flags: str) -> list[str]:
    line = [sys.executable, "-m", "launch.sweep", f"--config={file}", f"--workdir={workdir}"]
    return [*line, f"--config.data.path={tokens}", *flags]


def results(workdir: Path) -> list[dict[str, str]]:
    with open(workdir / "results.csv", newline="") as file:
        return list(csv.DictReader(file))


# ---- what is refused before anything starts


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ('product({"optim.learning_rate": [0.1], "optim.lr": [1]})', "unknown config key optim.lr"),
        ('zip_({"training.batch_size": [8, "many"]})', "training.batch_size cannot be 'many'"),
        ('zip_({"graph.type": ["absorbing", "loose"]})', "config.graph.type is 'loose'"),
        ('zip_({"seed": [1, 1]})', "yields seed=1 twice"),
        ('zip_({"data.path": ["elsewhere"]})', "it cannot be set for all runs"),
        ('zip_({"model.length": [16, 512]})', "have 404 tokens together"),
        ('product({"seed": [1]}, {"seed": [2]})', "two parts of a product set seed"),
        ("[]", "must yield dicts of overrides"),
    ],
)
def test_a_bad_sweep_is_refused_as_a_whole_in_one_line(tokens, tmp_path, overrides, message):
    training = Training("toy_sweep.py", {"data.path": str(tokens)})
    with pytest.raises(UserError) as caught:
        sweep = read_sweep(str(write_sweep(tmp_path, overrides)))
        runs = plan(toy_config(data__path=str(tokens)), training.shared, sweep, training, tmp_path)
        training.check_inputs(runs)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_the_command_refuses_in_one_line_and_leaves_nothing(tokens, tmp_path):
    workdir = tmp_path / "sweep"
    file = write_sweep(tmp_path, 'zip_({"optim.warmup_steps": [5, -5]})')
    line = error_line(run(command(file, workdir, tokens)))
    assert "run 2 of 2 {'optim.warmup_steps': -5}: config.optim.warmup_steps is -5" in line
    assert not workdir.exists()


def test_a_file_without_a_sweep_is_refused():
    with pytest.raises(UserError, match="configs/demo.py defines no sweep"):
        read_sweep("configs/demo.py")
    with pytest.raises(UserError, match="--config=configs/none.py:demo: no such file"):
        read_sweep("configs/none.py:demo")


# ---- runs


def test_two_runs_finish_beside_one_that_fails_and_are_not_repeated(tokens, tmp_path):
    workdir = tmp_path / "sweep"
    overrides = 'zip_({"optim.learning_rate": [1e30, 1e-2, 1e-3], "optim.warmup_steps": [0, 5, 5]})'
    flags = ["--config.training.max_consecutive_skips=3"]
    sweep = command(write_sweep(tmp_path, overrides), workdir, tokens, *flags)
    bad, good, slow = (
        f"optim.learning_rate={rate},optim.warmup_steps={steps}"
        for rate, steps in [("1e+30", 0), ("0.01", 5), ("0.001", 5)]
    )
    done = run([*sweep, "--jobs=2"])
    assert done.returncode == 1, done.stderr
    assert re.search(rf"{re.escape(bad)}: stopped at step \d+: .* was not finite", done.stdout)
    assert str(workdir / bad / "sweep.log") in done.stdout
    rows = {row["run"]: row for row in results(workdir)}
    assert list(rows) == [bad, good, slow]
    assert re.fullmatch(r"failed, step \d of 10", rows[bad]["state"])
    assert rows[good]["state"] == rows[slow]["state"] == "finished"
    for name in (good, slow):
        key = "validation_bits_per_token"
        [value] = [line[key] for line in metrics(workdir / name) if key in line]
        assert float(rows[name][key]) == value
        assert f"{value:.5g}" in done.stdout
    assert (workdir / "validation_bits_per_token.png").read_bytes().startswith(b"\x89PNG")

    listed = run([*sweep, "--dry_run"])
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.startswith("1 of 3 runs of sedd_jax.train to do\n")
    assert f"{good}: step 10 of 10\n\n{slow}: step 10 of 10" in listed.stdout
    assert listed.stdout.count("-m sedd_jax.train") == 1
    assert "--config.training.max_consecutive_skips=3 --config.optim.learning_rate=1e+30 " in (
        listed.stdout
    )


def test_a_sweep_told_to_stop_lets_its_runs_save_and_goes_on(tokens, tmp_path):
    workdir = tmp_path / "sweep"
    seeds = 'zip_({"seed": [0, 1]})'
    first = workdir / "seed=0"
    endless = command(
        write_sweep(tmp_path, seeds, 100_000), workdir, tokens, "--config.checkpoint.every=100000"
    )
    with start(endless) as program:
        wait_until(lambda: metrics(first), [program])
        program.send_signal(signal.SIGTERM)
        told = program.result()
    assert told.returncode == 128 + signal.SIGTERM, told.stderr
    assert "the same command goes on" in told.stdout
    with Checkpoints(checkpoint_dir(first), read_only=True) as checkpoints:
        stopped = max(checkpoints.steps)  # beside it the best one, if it was validated before
    assert not (workdir / "seed=1").exists()

    more = write_sweep(tmp_path, seeds, stopped + 1)
    done = run(command(more, workdir, tokens, "--jobs=2"))
    assert done.returncode == 0, done.stdout
    assert f"from step {stopped:,} to {stopped + 1:,}" in (first / "sweep.log").read_text()
    assert [row["state"] for row in results(workdir)] == ["finished", "finished"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"model__width": 32}, "trained with config.model.width=16, not 32"),
        ({"training__num_steps": 5}, "trained to step 7, beyond config.training.num_steps=5"),
        ({"data__path": "OTHER"}, "trained on other tracks than"),
    ],
)
def test_a_folder_of_another_run_is_refused(tokens, tmp_path, overrides, message):
    config = toy_config(data__path=str(tokens), training__num_steps=7)
    workdir = tmp_path / "sweep"
    directory = workdir / "seed=0"
    directory.mkdir(parents=True)
    toy_run, params = make_run(data__path=str(tokens), training__num_steps=7)
    with Checkpoints(checkpoint_dir(directory)) as checkpoints:
        state = init_state(params, config.optim)
        dataset = fingerprint(TokenDataset(tokens), "train")
        checkpoints.save(state, Meta(7, toy_run.config.to_dict(), CODEC, dataset))
    training = Training("toy_sweep.py", {})
    sweep = SweepFile("toy_sweep.py", "train", [{"seed": 0}])
    [same] = plan(config, (), sweep, training, workdir)
    assert training.progress(same).is_finished

    if "data__path" in overrides:
        overrides = {"data__path": str(write_dataset(tmp_path / "other", seed=1))}
    changed = toy_config(**{"data__path": str(tokens), "training__num_steps": 7} | overrides)
    [other] = plan(changed, (), sweep, training, workdir)
    with pytest.raises(UserError, match=message):
        training.progress(other)


# ---- sampling


def test_samplers_on_one_checkpoint(tokens, tmp_path):
    write_run(tmp_path / "run", tokens)
    file = tmp_path / "samplers.py"
    file.write_text(
        "from configs.sweeps.grid import product\n"
        "from configs.sweeps.sampler_steps import get_config\n"
        'COMMAND = "sample"\n'
        'def sweep(size):\n    return product(sampler=["euler", "analytic"], steps=[2])\n'
    )
    workdir = tmp_path / "sweep"
    line = [sys.executable, "-m", "launch.sweep", f"--config={file}:tiny", f"--workdir={workdir}"]
    done = run([*line, f"--config.run={tmp_path / 'run'}", "--jobs=2"])
    assert done.returncode == 0, done.stdout
    for row, sampler in zip(results(workdir), ("euler", "analytic"), strict=True):
        assert row["sampler"] == sampler and row["state"] == "finished"
        samples = TokenDataset(workdir / row["run"] / "samples")
        assert samples.origin["sampler"] == sampler and samples.origin["steps"] == 2
        assert float(row["seconds_per_sample"]) == samples.origin["seconds_per_sample"] > 0
        assert 0 < float(row["bigram_bits_per_token"]) < 20
    assert (workdir / "bigram_bits_per_token.png").exists()

    def planned(**changes):
        config = sampler_steps.get_config("tiny")
        config.update(run=str(tmp_path / "run"), **changes)
        sampling = Sampling()
        return sampling, plan(config, (), read_sweep(f"{file}:tiny"), sampling, workdir)[0]

    sampling, euler = planned()
    assert sampling.progress(euler).is_finished
    sampling, more = planned(num_samples=5)
    with pytest.raises(UserError, match="holds samples of config.num_samples=4, not 5"):
        sampling.progress(more)
    sampling, colder = planned(temperature=0.8)
    assert "--temperature=0.8" in sampling.line(colder)
    with pytest.raises(UserError, match="holds samples of config.temperature=1.0, not 0.8"):
        sampling.progress(colder)


def test_samplers_are_compared_at_equal_evaluations(tokens, tmp_path, monkeypatch):
    def planned(*overrides, **changes):
        config = samplers.get_config("tiny")
        config.update(run="demo", **changes)
        sampling, sweep = Sampling(), SweepFile("samplers.py", "sample", overrides)
        return sampling, plan(config, (), sweep, sampling, tmp_path / "sweep")

    names = ("euler", "trapezoidal", "spread")
    sampling, runs = planned(*({"sampler": name, "evaluations": 9} for name in names))
    lines = [sampling.line(run) for run in runs]
    for line, steps in zip(lines, (8, 4, 9), strict=True):
        assert {"--workdir=demo", f"--steps={steps}", "--length=1024"} <= {*line}
        assert not [flag for flag in line if flag.startswith("--evaluations")]
    with pytest.raises(UserError, match="evaluations is 2: trapezoidal needs 3 at least"):
        planned({"sampler": "trapezoidal", "evaluations": 2})
    with pytest.raises(UserError, match="neither uniform nor cosine nor the file .* nope: No such"):
        planned({"seed": 0}, schedule="nope")
    file = tmp_path / "evaluation.json"
    file.write_text('{"model_bits_by_masked_share": [0.5, 1.0]}')
    monkeypatch.chdir(tmp_path)
    sampling, [fitted] = planned({"seed": 0}, schedule=file.name)
    assert f"--schedule={file}" in sampling.line(fitted)
    with pytest.raises(UserError, match="config.judge=nobody: no such folder"):
        planned({"seed": 0}, judge="nobody")
    sampling, [judged] = planned({"seed": 0}, judge=str(tmp_path), real=str(tokens))
    measure, judge = sampling.after(judged)
    assert f"--real={tokens}" in measure and f"--workdir={tmp_path}" in judge and "--judge" in judge
    assert len(list(samplers.sweep("full"))) == 42


def test_models_are_compared_sampler_by_sampler(tmp_path):
    write_run(tmp_path / "run", tmp_path / "tokens", loss__type="masked")
    names = f"demo,{tmp_path / 'run'},demo"
    sampling, sweep = Sampling(), SweepFile("x.py", "sample", list(sampler_runs.sweep(names)))
    runs = plan(sampler_runs.get_config(names), (), sweep, sampling, tmp_path / "sweep")
    assert len({run.directory for run in runs}) == len(runs) == 2 * 2 * 3
    asked = {(run.config.run, run.config.step, run.config.length) for run in runs}
    assert asked == {("demo", 300, 1024), (f"{tmp_path / 'run'}", 0, 16)}
    assert {run.config.sampler for run in runs[:4]} == {"spread", "euler"}
    assert {run.config.evaluations for run in runs[:4]} == {16}
    with pytest.raises(UserError, match=r"no models are named: .*sampler_runs.py:RUN,RUN"):
        sampler_runs.get_config(",")


@pytest.mark.parametrize(
    "settings, expected",
    [
        ({"sampler": "euler", "steps": 8}, 9),
        ({"sampler": "trapezoidal", "steps": 8}, 17),
        ({"sampler": "spread", "steps": 8}, 8),
        ({"sampler": "spread", "steps": 8, "length": 40, "window": 16, "overlap": 8}, 32),
        ({"sampler": "entropy", "steps": 8, "evaluations_per_sample": 2.5}, 2.5),
    ],
)
def test_evaluations_are_counted_by_what_samples_say(settings, expected):
    assert evaluations({"length": 16, "seed": 0, "num_samples": 3} | settings) == expected


def test_samples_are_compared_with_music_where_it_is_given(tokens, tmp_path):
    write_run(tmp_path / "run", tokens)
    (tmp_path / "music").mkdir()
    sweep = SweepFile("sampler_steps.py", "sample", [{"seed": 0}])

    def planned(**changes):
        config = sampler_steps.get_config("tiny")
        config.update(run=str(tmp_path / "run"), **changes)
        sampling = Sampling()
        return sampling, plan(config, (), sweep, sampling, tmp_path / "sweep")[0]

    sampling, silent = planned()
    assert [command[2] for command in sampling.after(silent)] == ["launch.measure_samples"]
    assert MIN_SAMPLES == MIN_FILES and MIN_CLIP_S >= Musicnn.WINDOW_S
    reference = {"reference": str(tmp_path / "music")}
    for changes, message in (
        ({"num_samples": 15}, "config.num_samples is 15; 16 are the least"),
        ({"num_samples": 16}, "config.clip_s is 6; it must be at least 3 and, with config.length="),
        ({"num_samples": 16, "clip_s": 2.0, "length": 10_000}, "config.clip_s is 2; "),
        ({"num_samples": 16, "clip_s": float("nan"), "length": 10_000}, "config.clip_s is nan; "),
    ):
        with pytest.raises(UserError, match=message):
            planned(**reference, **changes)
    sampling, heard = planned(**reference, clip_s=5.0, num_samples=MIN_SAMPLES, length=10_000)
    flags = [part.partition("=")[0] for part in sampling.line(heard)]
    assert "--num_samples" in flags and not {"--reference", "--clip_s"} & set(flags)
    _, decode, report = sampling.after(heard)
    assert decode[2] == "tokenizer_bridge.decode" and report[2] == "tokenizer_bridge.report"
    assert f"--reference=music={tmp_path / 'music'}" in report and "--clip_s=5.0" in report

    (heard.directory / "report").mkdir(parents=True)
    measures = {"measures": {"distinct_codes": 3}, "real": {}}
    write_json_atomically(heard.directory / "measures.json", measures)
    assert not sampling.progress(heard).is_finished  # the report is to come
    compared = {
        "embedding": {"name": "musicnn"}, "fad": 5.0, "fad_infinity": None,
        "kad": {"value": 0.5, "low": 0.4, "high": 0.7},
    }  # fmt: skip
    write_json_atomically(heard.directory / "report/report.json", {"measurements": [compared]})
    figures = {"distinct_codes": 3, "fad_musicnn": 5.0, "kad_musicnn": 0.5}
    figures |= {"kad_musicnn_low": 0.4, "kad_musicnn_high": 0.7}
    assert sampling.history(heard) == [figures]
    assert sampling.history(silent) == [{"distinct_codes": 3}]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run": ""}, "config.run is empty"),
        ({"run": "/nowhere"}, "/nowhere holds no trained run"),
        ({"seed": -1}, "config.seed is -1; it must be from 0"),
        ({"temperature": 0.0}, "config.temperature is 0.0; it must be above 0"),
        ({"top_p": 1.5}, "config.top_p is 1.5; it must be above 0, 1 at most"),
        ({"length": 0}, "config.length is 0; it must be at least 1"),
        ({"sampler": "magic"}, "config.sampler is 'magic'; it can be euler, analytic"),
        ({"reference": "/nowhere"}, "config.reference=/nowhere: no such folder"),
    ],
)
def test_bad_sampling_is_refused(tmp_path, changes, message):
    config = sampler_steps.get_config("tiny")
    config.update({"run": str(tmp_path)} | changes)
    with pytest.raises(UserError, match=message):
        Sampling().complete(config)


# ---- what is shipped


@pytest.mark.parametrize(
    ("name", "base", "count"), [("learning_rate", "quickstart", 12), ("graph_noise", "demo", 4)]
)
def test_shipped_trainings_are_valid_in_every_size(tmp_path, name, base, count):
    module = importlib.import_module(f"configs.sweeps.{name}")
    for path, arguments in ((f"configs/sweeps/{name}.py", ()), (f"{name}.py:{base}", (base,))):
        config = module.get_config(*arguments)
        config.data.path = "TOKENS"
        sweep = SweepFile(path, "train", list(module.sweep(*arguments)))
        runs = plan(config, (), sweep, Training(path, {}), tmp_path)
        assert len(runs) == count


@pytest.mark.parametrize(("size", "count"), [("full", 24), ("tiny", 6)])
def test_shipped_samplings_are_valid_in_every_size(tokens, tmp_path, size, count):
    write_run(tmp_path / "run", tokens)
    config = sampler_steps.get_config(size)
    config.run = str(tmp_path / "run")
    sweep = read_sweep(f"configs/sweeps/sampler_steps.py:{size}")
    assert sweep.command == "sample"
    assert len(plan(config, (), sweep, Sampling(), tmp_path)) == count
