"""Tables and plots of metrics that runs have left behind."""

import csv
import json
import math

import pytest

from configs.sweeps.grid import product
from launch.sweeping.plot import is_log_spaced, make_figure, write_plot
from launch.sweeping.report import Row, known_metrics, make_rows, table, write_csv
from tests.launch.sweeping.toy import TRAINING, toy_runs

METRIC = "validation_bits_per_token"


@pytest.fixture
def recorded(tmp_path):
    """Three runs: one that got worse at the end, one that blew up, one that was never started."""
    runs = toy_runs(tmp_path, product({"optim.learning_rate": [1e-3, 1e-2, 1e-1]}))
    for run, values in zip(runs, ([5.0, 4.0, 4.5], [4.0, None], []), strict=True):
        if values:
            run.directory.mkdir()
            lines = [{"step": i, "loss": 1.0, METRIC: value} for i, value in enumerate(values)]
            text = "".join(json.dumps(line) + "\n" for line in lines)
            (run.directory / "metrics.jsonl").write_text(text + '{"step": 9')  # cut by a kill
    (runs[1].directory / "sweep.log").write_text("training\r50%\nerror: the loss is not finite\n")
    return runs


def test_last_and_best_are_told_apart(recorded):
    last = [row.metrics.get(METRIC) for row in make_rows(recorded, TRAINING, "last")]
    assert last[0] == 4.5 and math.isnan(last[1]) and last[2] is None
    least = [row.metrics.get(METRIC) for row in make_rows(recorded, TRAINING, "min")]
    assert least == [4.0, 4.0, None]
    assert make_rows(recorded, TRAINING, "max")[0].metrics[METRIC] == 5.0


def test_the_table_names_runs_by_what_sets_them_apart(recorded):
    lines = table(make_rows(recorded, TRAINING, "last"), METRIC, "last").splitlines()
    assert lines[0].split() == ["optim.learning_rate", METRIC, "(last)", "state"]
    assert lines[1].split() == ["0.001", "4.5", "unfinished"]
    assert lines[2].split() == ["0.01", "nan", "failed"]
    assert lines[3].split() == ["0.1", "–", "not", "started"]


def test_the_csv_has_every_metric_of_every_run(recorded, tmp_path):
    write_csv(tmp_path / "results.csv", make_rows(recorded, TRAINING, "last"))
    with open(tmp_path / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == [run.name for run in recorded]
    assert [row[METRIC] for row in rows] == ["4.5", "nan", ""]
    assert [row["loss"] for row in rows] == ["1.0", "1.0", ""]
    assert [row["optim.learning_rate"] for row in rows] == ["0.001", "0.01", "0.1"]


def test_a_metric_that_nobody_recorded_has_an_empty_column_and_no_plot(recorded, tmp_path):
    rows = make_rows(recorded, TRAINING, "last")
    assert [line.split()[1] for line in table(rows, "bits", "last").splitlines()[1:]] == ["–"] * 3
    assert not write_plot(tmp_path / "bits.png", rows, "bits")
    assert not (tmp_path / "bits.png").exists()
    assert known_metrics(rows) == f"loss, {METRIC}" and known_metrics(rows[2:]) == "none yet"


# ---- plots


def rows_of(points) -> list[Row]:
    """points: (keys, value of the metric)."""
    return [Row(None, "finished", keys, {"bits": value}) for keys, value in points]


def test_seeds_are_averaged_with_bars_and_other_keys_are_lines():
    points = [
        ({"sampler": sampler, "steps": steps, "seed": seed}, steps + seed)
        for sampler in ("euler", "analytic")
        for steps in (64, 16, 32)
        for seed in (0, 1)
    ]
    ax = make_figure(rows_of(points), "bits").axes[0]
    assert ax.get_xlabel() == "steps" and ax.get_xscale() == "log"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "sampler=euler", "sampler=analytic",
    ]  # fmt: skip
    assert ax.lines[0].get_xydata().tolist() == [[16, 16.5], [32, 32.5], [64, 64.5]]
    bars = ax.collections[0].get_segments()
    assert bars[0].tolist() == [[16, 16], [16, 17]]


def test_bars_are_intervals_where_there_is_one_seed():
    rows = [
        Row(None, "finished", {"steps": steps}, {"bits": 3.0, "bits_low": 2.5, "bits_high": 4.0})
        for steps in (8, 16)
    ]
    ax = make_figure(rows, "bits").axes[0]
    bars = [segment.tolist() for segment in ax.collections[0].get_segments()]
    assert bars == [[[8, 2.5], [8, 4.0]], [[16, 2.5], [16, 4.0]]]


def test_two_keys_of_three_numbers_make_a_heat_map_when_it_is_full():
    points = [({"a": a, "b": b}, a * b) for a in (1, 2, 4) for b in (3, 1, 2)]
    figure = make_figure(rows_of(points), "bits")
    [image] = figure.axes[0].images
    assert image.get_array().tolist() == [[1, 2, 4], [2, 4, 8], [3, 6, 12]]
    assert figure.axes[0].get_xlabel() == "a" and figure.axes[0].get_ylabel() == "b"
    holes = make_figure(rows_of(points[1:]), "bits").axes[0]
    assert not holes.images and len(holes.get_legend().get_texts()) == 3


def test_words_and_single_keys_are_axes_too():
    words = [({"graph.type": g}, v) for g, v in (("uniform", 2.0), ("absorbing", 1.0))]
    ax = make_figure(rows_of(words), "bits").axes[0]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["uniform", "absorbing"]
    seeds = make_figure(rows_of([({"seed": s}, 1.0 + s) for s in range(3)]), "bits").axes[0]
    assert seeds.lines[0].get_xydata().tolist() == [[0, 1], [1, 2], [2, 3]]


def test_real_data_is_a_line_to_compare_with():
    keys = [{"steps": steps} for steps in (8, 16)]
    rows = [Row(None, "finished", key, {"bits": 9.0}, {"bits": 7.0}) for key in keys]
    ax = make_figure(rows, "bits").axes[0]
    assert ax.lines[-1].get_ydata() == [7.0, 7.0] and ax.lines[-1].get_label() == "real tracks"
    assert table(rows, "bits", "last").splitlines()[-1].split() == ["7", "real", "tracks"]


def test_runs_without_a_value_are_left_out():
    assert make_figure(rows_of([({"a": 1}, math.nan)]), "bits") is None
    points = [({"a": 1}, 1.0), ({"a": 2}, math.nan), ({"a": 3}, 3.0)]
    ax = make_figure(rows_of(points), "bits").axes[0]
    assert ax.lines[0].get_xydata().tolist() == [[1, 1], [3, 3]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1e-4, 3e-4, 1e-3], True), ([1, 2, 3, 4], False), ([0, 10, 100], False),
        ([1, 10], True), ([1, 2], False), ([8, 16, 32, 64], True), ([5], False),
    ],
)  # fmt: skip
def test_a_log_axis_is_for_keys_spaced_by_ratios(values, expected):
    assert is_log_spaced(values) is expected
