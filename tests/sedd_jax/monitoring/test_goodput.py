"""The account of a run's wall time over lives that are cut anywhere, by clocks that jump."""

import time

import pytest

from sedd_jax.monitoring.goodput import GOODPUT_FILE, Goodput, Moment
from sedd_jax.monitoring.metrics import read_lines


class Machine:
    """A machine with a calendar and a time since its start, moved by hand."""

    def __init__(self, wall: float, name: str = "a", boot: float = 50.0):
        self.wall, self.boot, self.name = wall, boot, name

    def now(self) -> Moment:
        return Moment(self.wall, self.boot, self.name)

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.boot += seconds


def live(workdir, machine, from_step, records, **kwargs) -> Goodput:
    """A life of 10 s a step, recorded at the steps given; 5 s pass before the first."""
    began = machine.now()
    machine.passes(5)
    goodput = Goodput(workdir, from_step, began, machine.now)
    for i, step in enumerate(records):
        machine.passes(10 * (step - ([from_step] + records)[i]))
        goodput.record(step, 10.0 * (step - from_step), **kwargs)
    return goodput


def test_one_life(tmp_path):
    metrics = live(tmp_path, Machine(0), 0, [3, 4]).metrics()
    assert metrics["goodput"] == pytest.approx(40 / 45)
    assert metrics["wall_seconds/start"] == 5
    assert metrics["wall_seconds/other"] == metrics["wall_seconds/lost"] == 0


def test_steps_computed_again_and_time_down_count_against_it(tmp_path):
    machine = Machine(0)
    live(tmp_path, machine, 0, [4, 8, 9])  # 95 s, of which steps 7, 8, 9 are lost
    machine.passes(100)
    metrics = live(tmp_path, machine, 6, [10]).metrics()  # 45 s
    assert metrics["wall_seconds/total"] == 95 + 100 + 45
    assert metrics["wall_seconds/productive"] == pytest.approx(60 + 40)
    assert metrics["wall_seconds/lost"] == pytest.approx(30)
    assert metrics["wall_seconds/down"] == 100
    assert metrics["wall_seconds/start"] == 10
    assert metrics["goodput"] == pytest.approx(100 / 240)


def test_what_was_lost_twice_is_counted_twice(tmp_path):
    machine = Machine(0)
    live(tmp_path, machine, 0, [4, 10])
    live(tmp_path, machine, 4, [9])
    live(tmp_path, machine, 2, [3])
    metrics = live(tmp_path, machine, 2, [10]).metrics()
    assert metrics["wall_seconds/productive"] == pytest.approx(100)
    assert metrics["wall_seconds/lost"] == pytest.approx(60 + 70 + 10)
    kinds = {k: v for k, v in metrics.items() if k not in ("goodput", "wall_seconds/total")}
    assert sum(kinds.values()) == pytest.approx(metrics["wall_seconds/total"])


def test_a_life_may_be_cut_at_any_byte(tmp_path):
    """The next life finds what the whole lines say."""
    machine = Machine(0)
    live(tmp_path, machine, 0, [2, 4])
    path = tmp_path / GOODPUT_FILE
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for size in sorted({*range(0, len(whole), 11), *ends, *(end - 1 for end in ends)}):
        path.write_bytes(whole[:size])
        later = Machine(machine.wall + 100, boot=machine.boot + 100)
        metrics = live(tmp_path, later, 2, [3]).metrics()
        lines = sum(end - 1 <= size for end in ends)  # a line without its end is whole
        productive = 10 + (0, 0, 20, 20)[lines]
        assert metrics["wall_seconds/productive"] == pytest.approx(productive), size
        assert metrics["wall_seconds/total"] == (15, 160, 160, 160)[lines]
        assert len(read_lines(path)) == lines + 2  # none sticks to the cut one


def test_a_calendar_set_during_a_life_or_between_two_changes_nothing(tmp_path):
    metrics = []
    for name, jumps in (("still", (0, 0)), ("jumping", (-7e6, 3e6))):
        workdir = tmp_path / name
        workdir.mkdir()
        machine = Machine(1e9)
        goodput = live(workdir, machine, 0, [2])
        machine.wall += jumps[0]
        machine.passes(20)
        goodput.record(4, 40)
        machine.passes(100)
        machine.wall += jumps[1]
        metrics.append(live(workdir, machine, 4, [6]).metrics())
    assert metrics[0] == metrics[1]
    assert metrics[0]["wall_seconds/down"] == 100


def test_a_machine_with_a_wrong_calendar_is_forgotten_with_it(tmp_path):
    live(tmp_path, Machine(1000, "a"), 0, [1])  # until 1015
    live(tmp_path, Machine(1100 - 86_400, "b"), 1, [2])  # really 1100 … 1115
    metrics = live(tmp_path, Machine(1200, "a", boot=7), 2, [3]).metrics()  # rebooted
    assert metrics["wall_seconds/down"] == pytest.approx(1100 - 1015 + 1200 - 1115)
    assert metrics["wall_seconds/total"] == pytest.approx(1215 - 1000)


def test_the_clock_stands_still_after_the_end(tmp_path):
    machine = Machine(0)
    live(tmp_path, machine, 0, [10], finished=True)
    machine.passes(1e6)
    assert live(tmp_path, machine, 10, [20]).metrics()["wall_seconds/total"] == 210


def test_work_beside_the_steps_is_broken_out_and_no_second_counted_twice(tmp_path):
    goodput = Goodput(tmp_path, 0, Moment.now())
    with goodput.spent("compile"):
        time.sleep(0.05)
    for _ in range(2):
        with goodput.spent("validation"):
            time.sleep(0.02)
    time.sleep(0.03)
    goodput.record(1, 0.01)
    metrics = goodput.metrics()
    assert metrics["wall_seconds/compile"] >= 0.05
    assert metrics["wall_seconds/validation"] >= 0.04
    assert metrics["wall_seconds/other"] >= 0.01
    kinds = {k: v for k, v in metrics.items() if k not in ("goodput", "wall_seconds/total")}
    assert sum(kinds.values()) == pytest.approx(metrics["wall_seconds/total"])


def test_an_inactive_one_keeps_the_account_and_writes_nothing(tmp_path):
    machine = Machine(0)
    goodput = Goodput(tmp_path, 0, machine.now(), machine.now, active=False)
    machine.passes(45)
    goodput.record(4, 40.0)
    assert goodput.metrics()["goodput"] == pytest.approx(40 / 45)
    assert not list(tmp_path.iterdir())
