"""The places beside metrics.jsonl that a run's figures go to, by the names in the config.

tensorboard   RUN/tensorboard, event files
csv           RUN/metrics.csv, a row a step and a column a figure
wandb         a run of Weights & Biases, through its own library: WANDB_PROJECT, WANDB_MODE and
              its other variables say where; RUN/wandb.json has its id, by which a life goes on

The first and the last show pictures and audio, too.
"""

import csv
import importlib.util
import io
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from sedd_jax.errors import UserError
from sedd_jax.monitoring.event_file import EventFile
from sedd_jax.monitoring.media import Medium
from tokenizer_bridge.token_dataset.files import atomic_file, write_json_atomically

CSV_FILE = "metrics.csv"
WANDB_FILE = "wandb.json"
PROJECT = "sedd-music"  # unless WANDB_PROJECT names another


class Writer(Protocol):
    """A place for scalars, pictures and audio by step."""

    def write(self, step: int, scalars: Mapping[str, float]) -> None: ...

    def write_media(self, step: int, media: Sequence[Medium]) -> None: ...

    def close(self) -> None: ...


class CsvFile:
    """metrics.csv of a run; what an earlier life wrote after `start_step` is dropped.

    What is written of one step stands in one row. A figure that is new makes a column, for which
    the file is written anew.
    """

    def __init__(self, workdir: str | Path, start_step: int):
        self._path = Path(workdir) / CSV_FILE
        self._names, self._rows = ["step"], list[dict[str, Any]]()
        if self._path.exists():
            with open(self._path, newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                self._names = list(reader.fieldnames or self._names)
                rows = [row for row in reader if (row.get("step") or "").isdigit()]
            self._rows = [row for row in rows if int(row["step"]) <= start_step]
        self._rewrite()

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Adds scalars, name → value; they are on disk when it returns."""
        new = [name for name in scalars if name not in self._names]
        same = bool(self._rows) and int(self._rows[-1]["step"]) == step
        row = (self._rows.pop() if same else {"step": step}) | dict(scalars)
        self._rows.append(row)
        if new or same:
            self._names += new
            self._rewrite()
        else:
            with open(self._path, "a", newline="", encoding="utf-8") as file:
                file.write(self._text([row], header=False))

    def write_media(self, step: int, media: Sequence[Medium]) -> None:
        """Does nothing: a table has no place for them."""

    def close(self) -> None:
        """Does nothing: every row is on disk already."""

    def _rewrite(self) -> None:
        with atomic_file(self._path) as temporary:
            temporary.write_text(self._text(self._rows, header=True), encoding="utf-8")

    def _text(self, rows: Sequence[Mapping[str, Any]], *, header: bool) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, self._names, lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()


class WandbRun:
    """A run of Weights & Biases, the same one in every life of a run.

    config: of the run, shown there. Of a step that is computed again both figures are kept.
    """

    def __init__(self, workdir: str | Path, config: Mapping[str, Any]):
        import wandb

        self._library = wandb
        path = Path(workdir) / WANDB_FILE
        if not path.exists():
            write_json_atomically(path, {"id": uuid.uuid4().hex[:12]})
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=Path(workdir).resolve().name,
            id=json.loads(path.read_text(encoding="utf-8"))["id"],
            resume="allow",
            dir=str(workdir),
            config=dict(config),
            settings=wandb.Settings(console="off"),
        )
        self._run.define_metric("*", step_metric="step")

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Hands scalars, name → value, to the library, which sends or stores them."""
        self._run.log({"step": step, **scalars})

    def write_media(self, step: int, media: Sequence[Medium]) -> None:
        """Hands pictures and audio to the library, which copies the files."""
        kinds = {".png": self._library.Image, ".wav": self._library.Audio}
        shown = {m.name: kinds[m.path.suffix](str(m.path), caption=m.text) for m in media}
        self._run.log({"step": step, **shown})

    def close(self) -> None:
        self._run.finish()


def require(names: Sequence[str]) -> None:
    """Raises UserError for a writer whose library is not installed."""
    if "wandb" in names and importlib.util.find_spec("wandb") is None:
        raise UserError(
            "config.monitoring.writers has wandb, which is not installed here: "
            "pip install 'sedd-music[wandb]'"
        )


def make(
    names: Sequence[str], workdir: str | Path, start_step: int, config: Mapping[str, Any]
) -> list[Writer]:
    """The writers of these names; a life of the run that goes on after `start_step`."""
    makers = {
        "tensorboard": lambda: EventFile(Path(workdir) / "tensorboard", start_step + 1),
        "csv": lambda: CsvFile(workdir, start_step),
        "wandb": lambda: WandbRun(workdir, config),
    }
    return [makers[name]() for name in dict.fromkeys(names)]
