"""The end of a soak: after a number of kills, or when hours are over.

The lives are stand-ins that take a quarter of an hour each, by a clock of their own; real ones are
what the soak itself is for.
"""

import numpy as np
import pytest

from launch import soak
from launch.jobs import soak as job
from launch.soaking.lives import Life, Unprovoked
from sedd_jax.errors import UserError

LIFE_S = 900.0


@pytest.fixture
def clock(monkeypatch):
    """Seconds that have passed, in a list of one."""
    now_s = [5000.0]
    monkeypatch.setattr(job.time, "monotonic", lambda: now_s[0])
    return now_s


@pytest.fixture(autouse=True)
def stand_in(monkeypatch, clock):
    class Run:
        def __init__(self, workdir, tokens, cache):
            self.workdir, self.step, self.calls = workdir, 0, 0

        def newest(self):
            return self.step

        def live(self, topology, rng):
            self.calls += 1
            clock[0] += LIFE_S
            if self.calls == 2:
                raise Unprovoked
            self.step += 10
            return Life(topology, "SIGKILL", "all", 0, self.step, self.step, 0.1, [-9])

        def finish(self, topology, num_steps):
            self.step = num_steps

    class State:
        def __init__(self, step):
            self.params = {"w": np.full(3, step)}

    monkeypatch.setattr(job, "SoakRun", Run)
    monkeypatch.setattr(job, "restore_all", lambda run: State(run.step))
    monkeypatch.setattr(
        job, "is_bit_equal", lambda a, b: bool((a.params["w"] == b.params["w"]).all())
    )


def kills(output: str) -> list[int]:
    """Kills of the two runs, in the table of the results."""
    (row,) = (line for line in output.splitlines() if line.startswith("kills"))
    return [int(word) for word in row.split()[1:]]


def test_it_kills_until_the_hours_are_over(tmp_path, capsys, clock):
    assert soak.main([f"--workdir={tmp_path / 'w'}", "--hours=6"]) == 0
    # A third is 8 quarters of an hour, one of them a life that ended unprovoked; so is another.
    assert kills(capsys.readouterr().out) == [7, 15]
    assert clock[0] == 5000 + 6 * 3600


def test_no_hours_kill_each_run_once(tmp_path, capsys):
    assert soak.main([f"--workdir={tmp_path / 'w'}", "--hours=0"]) == 0
    assert kills(capsys.readouterr().out) == [1, 1]


def test_a_number_of_kills_is_shared_out(tmp_path, capsys):
    assert soak.main([f"--workdir={tmp_path / 'w'}", "--kills=9"]) == 0
    assert kills(capsys.readouterr().out) == [3, 6]


def test_hours_and_a_number_exclude_each_other(tmp_path):
    with pytest.raises(UserError, match="not allowed with"):
        soak.main([f"--workdir={tmp_path / 'w'}", "--kills=9", "--hours=1"])
