"""The progress that a sweep shows. The runs are shell commands."""

import re

import tqdm.std

from launch.jobs import sweep
from launch.sweeping.runs import SweepRun
from tests.launch.sweeping.test_jobs import Shell


def test_each_run_is_followed_and_the_time_left_is_by_all_that_ended(tmp_path, monkeypatch, capsys):
    """On a clock of one hour a look; a run says three things, and ends at the fourth look."""
    hours = iter(range(1000))
    monkeypatch.setattr(tqdm.std, "time", lambda: 3600.0 * next(hours))
    runs = [SweepRun({}, None, tmp_path / name) for name in ("a", "b", "c", "d")]

    def run_here(runs, command, num_jobs, on_poll, on_end):
        del command, num_jobs
        for run in runs:
            run.directory.mkdir()
            for i in range(3):
                run.log.write_text(f"{run.name} says {i}\n")
                on_poll([run])
            on_end(sweep.Outcome(run, "", 3600.0))
        return [], None

    monkeypatch.setattr(sweep, "run_here", run_here)
    sweep.run_all(runs, Shell(), 1)
    shown = capsys.readouterr().err
    said = dict.fromkeys(re.findall(r"\w says \d", shown))
    assert list(said) == [f"{run.name} says {i}" for run in runs for i in range(3)]
    # After three of four runs, a third of the time that passed is left.
    passed, left = re.findall(r"3/4 \[(\d+):00:00<(\d+):\d\d:\d\d", shown)[-1]
    assert int(left) == int(passed) // 3
