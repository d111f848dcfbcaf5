"""What a life of a run writes: by process 0 alone, with figures of the whole mesh."""

import errno
import os
import time

import jax
import jax.numpy as jnp
import pytest

from sedd_jax.monitoring import hardware
from sedd_jax.monitoring.goodput import Moment
from sedd_jax.monitoring.metrics import read_lines, train_flops_per_token
from sedd_jax.monitoring.recorder import Watch
from tests.sedd_jax.toy_run import make_run


def step_metrics() -> dict:
    names = ("loss", "nats_per_token", "grad_norm", "learning_rate", "skipped", "consecutive_skips")
    return {name: jnp.zeros(()) for name in names}


def live(workdir, run) -> None:
    """Three steps from step 4 on, with a validation."""
    with Watch(run, workdir, 4, Moment.now()) as watch:
        with watch.not_training("compile"):
            pass
        for step in (5, 6, 7):
            assert watch.trace() is None
            with watch.waiting():
                pass
            watch.add(step, step_metrics())
        with watch.not_training("validation"):
            watch.write({"validation_bits_per_token": 3.0})
        watch.report()
        watch.finish()


def test_mfu_is_of_the_devices_of_the_mesh(tmp_path, monkeypatch):
    run, _ = make_run(8, metrics__peak_tflops=0.5)
    live(tmp_path, run)
    validation, line = read_lines(tmp_path / "metrics.jsonl")
    assert validation == {"step": 7, "validation_bits_per_token": 3.0}
    achieved = train_flops_per_token(run.network) * line["tokens_per_second"]
    assert line["mfu"] == pytest.approx(achieved / (8 * 0.5e12))
    assert line["tokens_per_second"] == pytest.approx(8 * 16 / line["seconds_per_step"])
    assert {"memory/host_peak_bytes", "goodput", "wall_seconds/compile"} < set(line)

    # A known device needs no telling, and what is told goes before.
    monkeypatch.setattr(hardware, "peak_tflops", lambda device_kind: 4.0)
    for told, peak in ((0.0, 4.0), (0.5, 0.5)):
        workdir = tmp_path / str(told)
        workdir.mkdir()
        run, _ = make_run(8, metrics__peak_tflops=told)
        live(workdir, run)
        line = read_lines(workdir / "metrics.jsonl")[-1]
        achieved = train_flops_per_token(run.network) * line["tokens_per_second"]
        assert line["mfu"] == pytest.approx(achieved / (8 * peak * 1e12))


def test_what_was_reached_is_on_record_before_other_work_begins(tmp_path):
    """So that no checkpoint is of a step that the account does not know."""
    run, _ = make_run()
    with Watch(run, tmp_path, 0, Moment.now()) as watch:
        time.sleep(0.01)  # a step shorter than a millisecond is rounded to nothing
        watch.add(1, step_metrics())
        with watch.not_training("checkpoint"):
            record = read_lines(tmp_path / "goodput.jsonl")[-1]
    assert record["step"] == 1 and record["productive"] > 0


def test_other_processes_write_nothing(tmp_path, monkeypatch):
    run, _ = make_run()
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    (tmp_path / "PROFILE").touch()
    live(tmp_path, run)
    assert [path.name for path in tmp_path.iterdir()] == ["PROFILE"]


def test_a_full_disk_costs_figures_and_not_the_run(tmp_path, monkeypatch, caplog):
    run, _ = make_run()
    with Watch(run, tmp_path, 0, Moment.now()) as watch:

        def fail(*args, **kwargs):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(watch._writer, "write", fail)
        monkeypatch.setattr(watch._goodput, "record", fail)
        number = errno.ENOSPC
        watch.add(1, step_metrics())
        watch.report()
        assert set(caplog.messages) == {
            "figures of this step are lost: [Errno 28] No space left on device"
        }
        number = errno.EIO
        watch.add(2, step_metrics())
        with pytest.raises(OSError, match="Input/output error"):
            watch.report()
        monkeypatch.undo()
