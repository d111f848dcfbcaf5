"""Runs in an object store; fsspec's own in memory, and file:// between processes, stand for it."""

import contextlib
import json
import os
import shutil
import signal
from collections import Counter
from pathlib import Path

import fsspec
import jax
import numpy as np
import pytest

from sedd_jax import evaluate, remote_run, sample, train
from sedd_jax.errors import UserError
from sedd_jax.model import load_run
from sedd_jax.weights import export, exported
from tests.programs import wait_until
from tests.sedd_jax import gang, toy_decoder
from tests.sedd_jax.toy import FAST_COMPILE, metrics, run, start, train_command, write_dataset
from tokenizer_bridge.token_dataset.buckets import Bucket
from tokenizer_bridge.token_dataset.records import TokenDataset

URL = "memory://bucket/runs/a run"


@pytest.fixture
def store(tmp_path, monkeypatch):
    """An empty bucket; forgotten by the process as by a new one with `cache_clear`."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    remote_run.fetched.cache_clear()
    yield Bucket(URL)
    remote_run.fetched.cache_clear()
    memory = fsspec.filesystem("memory")
    if memory.exists("/bucket"):
        memory.rm("/bucket", recursive=True)


def newest(run: Path) -> int:
    """The step of the newest checkpoint that is whole in a store that is a folder; 0 for none."""
    found = [0]
    for path in (run / "checkpoints").glob("*/_CHECKPOINT_METADATA"):
        with contextlib.suppress(FileNotFoundError):  # it has been removed meanwhile
            if path.stat().st_size:  # on a disk a file is there before its content is
                found.append(int(path.parent.name))
    return max(found)


def steps(bucket) -> list[int]:
    return sorted({int(name.split("/")[1]) for name in bucket.names("checkpoints")})


def test_train_resume_evaluate_sample_and_export(store, tmp_path, capsys, monkeypatch):
    toy_decoder.put(monkeypatch)
    for path in write_dataset(tmp_path / "tokens").iterdir():
        Bucket("memory://bucket/tokens").upload(path, path.name)
    (tmp_path / "toy.py").write_text("from tests.sedd_jax.toy import toy_config as get_config\n")
    command = [f"--config={tmp_path / 'toy.py'}", f"--workdir={URL}", "--config.checkpoint.every=5"]
    command += ["--config.evaluation.samples_every=10", "--config.sampling.steps=2"]
    tokens = "--tokens=memory://bucket/tokens"
    train.main([*command, tokens, "--config.training.num_steps=10"])
    assert steps(store) == [5, 10]
    remote_run.fetched.cache_clear()  # as a process of its own
    train.main([f"--workdir={URL}", "--config.training.num_steps=20"])
    said = capsys.readouterr().out
    assert "from step 10 to 20" in said and f"stored in {URL}" in said
    assert steps(store) == [15, 20]
    kept = json.loads(store.read("config.json"))
    assert kept["data"]["path"] == "memory://bucket/tokens"
    lines = [json.loads(line) for line in store.read("metrics.jsonl").splitlines()]
    assert [line["step"] for line in lines] == [5, 10, 15, 20]
    assert lines[-1]["wall_seconds/samples"] > 0
    samples = [name.split("/") for name in store.names("samples")]
    kinds = {"tokens": 2, "pictures": 4, "audio": 4}  # files of each
    assert Counter((step, kind) for _, step, kind, _ in samples) == {
        (step, kind): count for step in ("0", "10", "20") for kind, count in kinds.items()
    }

    remote_run.fetched.cache_clear()
    evaluate.main([f"--workdir={URL}", "--num_t=1"])
    assert json.loads(store.read("evaluation_validation_20.json"))["step"] == 20
    remote_run.fetched.cache_clear()
    model, new = "memory://bucket/model", "memory://bucket/new"
    export.main([f"--workdir={URL}", "--step=15", f"--output={model}"])
    assert exported.load(model)[2] == 15
    with pytest.raises(UserError, match=f"^{model} exists and is not an empty folder"):
        export.main([f"--workdir={URL}", "--step=15", f"--output={model}"])
    with pytest.raises(UserError, match=f"lies among the checkpoints of {URL}"):
        export.main([f"--workdir={URL}", f"--output={URL}/checkpoints/model"])
    with pytest.raises(UserError, match="--push_to_hub uploads a folder of this machine"):
        export.main([f"--workdir={URL}", f"--output={model}", "--push_to_hub=a/b"])
    sample.main([f"--workdir={model}", f"--output={new}", "--num_samples=2", "--steps=2"])
    assert TokenDataset(new).num_records("generated") == 2
    assert f"2 samples of 16 tokens in {new}" in capsys.readouterr().out
    with pytest.raises(UserError, match=f"{URL} has no checkpoint of step 10; it has 15, 20"):
        exported.load(URL, 10)


def test_a_checkpoint_that_is_half_there_is_none(store, tmp_path):
    for step in ("5", "10"):
        for name in ("train/data", "_CHECKPOINT_METADATA"):
            store.write(f"checkpoints/{step}/{name}", b"x")
    store.remove(["checkpoints/10/_CHECKPOINT_METADATA"])
    store.write("config.json", b"{}")
    store.write("samples/5/tokens/dataset.json", b"{}")
    fetched = remote_run.RemoteRun(URL)
    assert fetched.steps == {5} and (fetched.folder / "config.json").exists()
    assert [path.name for path in (fetched.folder / "checkpoints").iterdir()] == ["5"]
    of_training = remote_run.RemoteRun(URL, remote_run.ALL)
    there = [(run.folder / "samples").exists() for run in (fetched, of_training)]
    assert there == [False, True]  # the others have no use for samples


def test_what_is_stored_is_replaced_in_the_right_order(store, monkeypatch):
    done = []
    upload, remove = Bucket.upload, Bucket.remove

    def note_upload(self, path, name):
        done.append(f"+{name}")
        upload(self, path, name)

    def note_remove(self, names):
        done.extend(f"-{name}" for name in names)
        remove(self, names)

    monkeypatch.setattr(Bucket, "upload", note_upload)
    monkeypatch.setattr(Bucket, "remove", note_remove)
    here = remote_run.RemoteRun(URL)
    for step in (4, 7):
        for name in ("_CHECKPOINT_METADATA", "train/data"):
            path = here.folder / "checkpoints" / str(step) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
        (here.folder / "checkpoints/9.orbax-checkpoint-tmp").mkdir(exist_ok=True)
        (here.folder / "samples/.9.partial").mkdir(parents=True, exist_ok=True)
        (here.folder / "samples/.9.partial/dataset.json").write_text("half of it")
        here.push()
        shutil.rmtree(here.folder / "checkpoints/4", ignore_errors=True)  # as Orbax does
    here.push()
    assert done == [
        "+checkpoints/4/train/data", "+checkpoints/4/_CHECKPOINT_METADATA",
        "+checkpoints/7/train/data", "+checkpoints/7/_CHECKPOINT_METADATA",
        "-checkpoints/4/_CHECKPOINT_METADATA", "-checkpoints/4/train/data",
    ]  # fmt: skip
    assert steps(store) == [7]


def test_samples_that_come_and_go_while_a_run_is_stored(store, monkeypatch):
    here = remote_run.RemoteRun(URL)
    (here.folder / "samples/.5.partial/tokens").mkdir(parents=True)
    (here.folder / "samples/4").mkdir()
    for name in ("samples/4/old", "samples/4/older", "config.json"):
        (here.folder / name).write_text("{}")
    scandir, upload = os.scandir, Bucket.upload

    def when_the_samples_are_whole(path):
        if str(path).endswith(".5.partial") and os.path.exists(path):
            os.replace(path, str(path).replace(".5.partial", "5"))
        return scandir(path)

    def when_the_samples_are_made_anew(bucket, path, name):
        if name.startswith("samples/4"):
            shutil.rmtree(here.folder / "samples/4", ignore_errors=True)
        upload(bucket, path, name)

    monkeypatch.setattr(os, "scandir", when_the_samples_are_whole)
    monkeypatch.setattr(Bucket, "upload", when_the_samples_are_made_anew)
    here.push()
    assert store.names() == ["config.json"]


def test_a_store_that_refuses_is_named_before_anything_is_computed(tmp_path, capsys):
    tokens = write_dataset(tmp_path / "tokens")
    for url, said in (
        ("nonsense://b/run", "Protocol not known: nonsense"),
        (f"file://{tokens}/dataset.json/run", "Not a directory"),
    ):
        command = train_command(tokens, tmp_path / "run")[3:]
        with pytest.raises(UserError, match=f"{url}.*{said}"):
            train.main([*command, f"--workdir={url}"])
        assert "parameters" not in capsys.readouterr().out


def test_a_killed_run_goes_on_from_the_store(tmp_path):
    tokens, url = write_dataset(tmp_path / "tokens"), f"file://{tmp_path}/bucket/run"
    overrides = {"training__num_steps": 100_000, "checkpoint__every": 10}
    command = [*train_command(tokens, tmp_path / "run", **overrides), f"--workdir={url}"]

    def stored() -> int:
        return newest(tmp_path / "bucket/run")

    with start(command, XLA_FLAGS=FAST_COMPILE) as program:
        wait_until(stored, [program])
        program.kill()
        program.result()
    before = stored()
    with start(command, XLA_FLAGS=FAST_COMPILE) as program:
        wait_until(lambda: stored() > before, [program])
        program.send_signal(signal.SIGTERM)
        ended = program.result()
    assert ended.returncode == 128 + signal.SIGTERM, ended.stderr
    assert f"from step {before:,} to 100,000" in ended.stdout
    assert f"stopped at step {stored():,}" in ended.stdout and f"stored in {url}" in ended.stdout
    assert load_run(tmp_path / "bucket/run")[2] == stored()  # it reads as a run on a disk does


def test_a_run_that_changes_while_it_is_copied_is_copied_anew(store, monkeypatch):
    def put(step):
        for name in ("train/data", "ema_params/data", "_CHECKPOINT_METADATA"):
            store.write(f"checkpoints/{step}/{name}", str(step).encode())

    def download(self, name, path, download=Bucket.download):
        if name == "checkpoints/5/ema_params/data":  # as a training with keep_last=1 does
            put(10)
            self.remove(["checkpoints/5/_CHECKPOINT_METADATA", name])
        download(self, name, path)

    put(5)
    monkeypatch.setattr(Bucket, "download", download)
    fetched = remote_run.RemoteRun(URL)
    assert fetched.steps == {10}
    assert [path.name for path in (fetched.folder / "checkpoints").iterdir()] == ["10"]
    assert not list(fetched.folder.rglob("train"))  # of which training alone has use
    assert list(remote_run.RemoteRun(URL, remote_run.ALL).folder.rglob("train"))


def test_two_processes_go_on_from_the_store_as_one_undisturbed(tmp_path):
    """Each has a folder of its own, as on hosts that share no disk."""
    tokens, url = write_dataset(tmp_path / "tokens"), f"file://{tmp_path}/bucket/run"

    def command(num_steps, workdir, **overrides):
        every_step = {"training__log_every": 1, "model__dropout": 0.1, "training__ema_decay": 0.5}
        told = every_step | {"training__num_steps": num_steps} | overrides
        return [*train_command(tokens, tmp_path / "run", **told), f"--workdir={workdir}"]

    def stored() -> int:
        return newest(tmp_path / "bucket/run")

    of_two = {"mesh__fsdp": 2, "checkpoint__every": 10, "checkpoint__keep_last": 1}
    fast = {"XLA_FLAGS": FAST_COMPILE}
    endless = command(100_000, url, **of_two)
    programs = gang.start_until(stored, endless, 2, devices=1, **fast)
    for program in programs:
        program.kill()
    gang.finish(programs)
    before = stored()
    again = command(before + 5, url, **of_two)
    results = gang.run(again, 2, devices=1, **fast)
    assert [result.returncode for result in results] == [0, 0], results[0].stderr
    assert f"from step {before:,} to {before + 5:,}" in results[0].stdout
    assert f"stored in {url}" in results[0].stdout and "stored" not in results[1].stdout
    assert [path.name for path in (tmp_path / "bucket/run").rglob("*metrics*")] == ["metrics.jsonl"]

    # On two devices as well: on one, sums are rounded otherwise, and what that makes of the weights
    # grows a thousandfold in a hundred steps, which a kill that comes late can be after.
    alone = run(
        command(before + 5, tmp_path / "here", mesh__fsdp=2), JAX_NUM_CPU_DEVICES="2", **fast
    )
    assert alone.returncode == 0, alone.stderr
    # The lines of the first life follow its checkpoint to the store, and may have been killed.
    losses, expected = [
        np.array([line["loss"] for line in metrics(workdir) if line["step"] > before])
        for workdir in (tmp_path / "bucket/run", tmp_path / "here")
    ]
    assert len(losses) == 5
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    weights, expected = [load_run(place)[1] for place in (url, tmp_path / "here")]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=5e-5), weights, expected)
