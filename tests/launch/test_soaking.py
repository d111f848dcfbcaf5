"""A life of a soak that is stopped itself: nobody is left."""

import random
import subprocess
import sys

import pytest

from launch.soaking import lives
from launch.soaking.lives import STEADY, SoakRun


class Endless(SoakRun):
    def _command(self, topology, num_steps):
        endless = "import time; time.sleep(600)"
        return [sys.executable, "-c", endless, "--config=toy", f"--workdir={self.workdir}"]


def test_a_soak_that_is_stopped_leaves_no_process_behind(tmp_path, monkeypatch):
    started = []

    class Noted(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            started.append(self)

    def stop(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(lives.subprocess, "Popen", Noted)
    monkeypatch.setattr(lives.time, "sleep", stop)
    run = Endless(tmp_path / "run", tmp_path / "tokens", tmp_path / "cache")
    try:
        with pytest.raises(KeyboardInterrupt):
            run.live(STEADY, random.Random(0))
        assert [process.poll() is None for process in started] == [False]
    finally:
        for process in started:
            process.kill()
