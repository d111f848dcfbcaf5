"""The results of a sweep: rows by run, as a table for people and as CSV."""

import csv
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launch.sweeping.jobs import last_line
from launch.sweeping.runs import Command, SweepRun, swept_keys
from sedd_jax.config import flatten
from tokenizer_bridge.token_dataset.files import atomic_file, write_json_atomically

REAL = "real tracks"


@dataclass(frozen=True)
class Row:
    """A run and what it has to show.

    metrics: NaN where a value was recorded as not finite; reference: those of real data.
    """

    run: SweepRun
    state: str  # finished; unfinished, step 40 of 100; failed; not started
    keys: dict[str, Any]  # swept key → value
    metrics: dict[str, float]
    reference: dict[str, float] = field(default_factory=dict)


def make_rows(runs: Sequence[SweepRun], command: Command, pick: str) -> list[Row]:
    """One row a run, in the sweep's order. pick: which value of a metric's history; of PICKS."""
    keys = swept_keys(runs)
    rows = []
    for run in runs:
        progress = command.progress(run)
        values = dict(flatten(run.config))
        history = command.history(run)
        names = dict.fromkeys(name for line in history for name in line if name != "step")
        rows.append(
            Row(
                run,
                "finished" if progress.is_finished else unfinished(run, progress.text),
                {key: values[key] for key in keys},
                {
                    name: _pick([line[name] for line in history if name in line], pick)
                    for name in names
                },
                command.reference(run),
            )
        )
    return rows


def unfinished(run: SweepRun, progress: str) -> str:
    """The state of a run that is not finished, by the end of its log."""
    if not run.directory.exists():
        return "not started"
    failed = last_line(run.log).startswith("error: ")
    return ", ".join(filter(None, ["failed" if failed else "unfinished", progress]))


def _pick(values: Sequence[float | None], pick: str) -> float:
    finite = [value for value in values if value is not None]
    if pick == "last" or not finite:  # a run that blew up at its end has no last value
        return math.nan if values[-1] is None else values[-1]
    return min(finite) if pick == "min" else max(finite)


def known_metrics(rows: Sequence[Row]) -> str:
    """The names of the metrics that any run has recorded, for people."""
    return ", ".join(sorted({name for row in rows for name in row.metrics})) or "none yet"


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Every swept key and every metric of every run; an empty cell where there is none."""
    names = dict.fromkeys(name for row in rows for name in row.metrics)
    with atomic_file(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, ["run", "state", *rows[0].keys, *names])
        writer.writeheader()
        for row in rows:
            writer.writerow({"run": row.run.name, "state": row.state} | row.keys | row.metrics)


def write_json(path: Path, rows: Sequence[Row]) -> None:
    """The same, and the measures of real data beside them."""
    runs = [
        {
            "run": row.run.name, "state": row.state, "keys": row.keys,
            "metrics": _json(row.metrics), "reference": _json(row.reference),
        }
        for row in rows
    ]  # fmt: skip
    write_json_atomically(path, {"runs": runs})


def _json(metrics: dict[str, float]) -> dict[str, float | None]:
    finite = {name: value for name, value in metrics.items() if value is not None}
    return {name: value if math.isfinite(value) else None for name, value in finite.items()}


def table(rows: Sequence[Row], metric: str, pick: str) -> str:
    """The swept keys, the metric and the state of every run, in aligned columns."""
    head = [*rows[0].keys, f"{metric} ({pick})", "state"]
    lines = [
        [*(str(value) for value in row.keys.values()), _number(row.metrics.get(metric)), row.state]
        for row in rows
    ]
    known = [row.reference[metric] for row in rows if metric in row.reference]
    if known:
        lines.append([*("" for _ in rows[0].keys), _number(statistics.fmean(known)), REAL])
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    return "\n".join(_aligned(cells, widths) for cells in [head, *lines])


def _aligned(cells: Iterable[str], widths: Sequence[int]) -> str:
    *cells, state = cells
    numbers = (cell.rjust(width) for cell, width in zip(cells, widths, strict=False))
    return "  ".join([*numbers, state])


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.5g}"
