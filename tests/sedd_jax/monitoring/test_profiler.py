"""Traces of training steps: when they start and end, and that no failure stops a run."""

import jax
import jax.numpy as jnp
import pytest

from sedd_jax.monitoring import profiler as profiler_lib
from sedd_jax.monitoring.profiler import ProfilerWindow


@pytest.fixture(autouse=True)
def look_at_every_step(monkeypatch):
    monkeypatch.setattr(profiler_lib, "POLL_SECONDS", 0.0)


def steps(window: ProfilerWindow, first: int, last: int) -> list[str]:
    """The messages that a loop over the steps after `first` gets."""
    said = []
    for step in range(first, last):
        if window.is_due(step):
            said.append(window.switch(step))
        jax.block_until_ready(jnp.ones(8) @ jnp.ones(8))
    return said


def traces(workdir) -> list:
    return sorted((workdir / "profile").rglob("*.xplane.pb"))


def test_a_window_of_the_config(tmp_path):
    with ProfilerWindow(tmp_path, 3, 2, active=True) as window:
        said = steps(window, 0, 9)
    assert said[0] == "step 3: tracing 2 steps"
    assert said[1] == f"step 5: trace of steps 4 to 5 in {tmp_path / 'profile'}"
    assert len(said) == 2
    [trace] = traces(tmp_path)
    assert trace.stat().st_size > 1000


def test_a_life_that_starts_later_does_not_trace(tmp_path):
    with ProfilerWindow(tmp_path, 3, 2, active=True) as window:
        assert steps(window, 4, 9) == []
    with ProfilerWindow(tmp_path, -1, 2, active=True) as window:
        assert steps(window, 0, 9) == []


def test_a_touched_file_asks_for_one_trace_and_goes(tmp_path):
    with ProfilerWindow(tmp_path, -1, 2, active=True) as window:
        assert steps(window, 0, 3) == []
        (tmp_path / "PROFILE").touch()
        assert len(steps(window, 3, 9)) == 2
        assert not (tmp_path / "PROFILE").exists()
    assert len(traces(tmp_path)) == 1


def test_processes_that_are_not_the_first_leave_the_file_alone(tmp_path):
    (tmp_path / "PROFILE").touch()
    with ProfilerWindow(tmp_path, 0, 2, active=False) as window:
        assert steps(window, 0, 9) == []
    assert (tmp_path / "PROFILE").exists()


def test_the_end_of_a_run_ends_its_trace(tmp_path):
    (tmp_path / "PROFILE").touch()
    with ProfilerWindow(tmp_path, -1, 100, active=True) as window:
        assert len(steps(window, 0, 3)) == 1
    assert len(traces(tmp_path)) == 1
    assert not (tmp_path / "PROFILE").exists()
    jax.profiler.start_trace(tmp_path)  # or it would be running already
    jax.profiler.stop_trace()


def test_a_failure_is_told_once(tmp_path):
    (tmp_path / "PROFILE").touch()
    jax.profiler.start_trace(tmp_path / "another")
    try:
        with ProfilerWindow(tmp_path, -1, 2, active=True) as window:
            [said] = steps(window, 0, 9)
    finally:
        jax.profiler.stop_trace()
    assert said.startswith("step 0: no trace: Profile has already been started")
    assert not (tmp_path / "PROFILE").exists()


def test_a_trace_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "profile").write_text("in the way")
    with ProfilerWindow(tmp_path, 0, 2, active=True) as window:
        said = steps(window, 0, 9)
    assert "no trace" in said[-1]
