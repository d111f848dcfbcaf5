"""The findings in a run's directory, and checks that samples and evaluations belong to the run."""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch.listening.verdict import is_exact
from launch.sweeping.sampling import read_meta
from sedd_jax.data import fingerprint
from sedd_jax.errors import UserError
from sedd_jax.monitoring.metrics import METRICS_FILE, read_lines
from tokenizer_bridge.token_dataset.intervals import Estimate, interval_name
from tokenizer_bridge.token_dataset.records import DATASET_FILE, TokenDataset

BASELINES = {  # by whether the model's figure is exact
    False: "The model's figure is an upper bound of what it needs; the baselines are exact, and "
    "fitted to the training split of the same data.",
    True: "The model's figure is exact, as the baselines' are, which are fitted to the training "
    "split of the same data.",
}
HEARD = {  # by whether it was trained on
    False: "Held-out music, which the model has not seen.",
    True: "Music that the model was trained on, as none was held out.",
}
_FIGURES = {
    "model": "Score model, bits per token (upper bound)",
    "bigram": "Bigram, bits per token",
    "unigram": "Unigrams, bits per token",
    "uniform": "All codes equally likely, bits per token",
}
_EXACT = "Autoregressive model, bits per token (exact)"
_PREFERRED = ("validation", "test")  # splits, in this order, to judge a model by


def read_config(workdir: Path) -> dict[str, Any]:
    path = workdir / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{workdir} holds no trained run: {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    data = config.get("data") if isinstance(config, dict) else None
    if not isinstance(data, dict) or not isinstance(data.get("path"), str):
        raise UserError(f"{path} is no config of a run: it has no data.path")
    return config


def find_dataset(workdir: Path, name: str) -> Path | None:
    """The token data set of this name in a run's directory, or else beside it."""
    places = (workdir / name, workdir.absolute().parent / name)
    return next((place for place in places if (place / DATASET_FILE).exists()), None)


def require_own_samples(workdir: Path, samples: TokenDataset) -> str | None:
    """A sentence on why it cannot be told whose samples these are; None if they are this run's.

    Raises UserError when they are another run's.
    """
    step = samples.origin.get("checkpoint_step")
    theirs = samples.origin.get("checkpoint_fingerprint")
    if step is None or theirs is None:
        return f"{samples.path.name} does not say which checkpoint its pieces were drawn from."
    try:
        ours = checkpoint_fingerprint(workdir, step)
    except UserError:
        return (
            f"Checkpoint {step}, which these pieces name, is no longer in the run: whether they "
            "are its own cannot be checked."
        )
    if ours != theirs:
        raise UserError(
            f"{samples.path}: samples of another run: checkpoint {step} of {workdir} has the "
            f"fingerprint {ours}, theirs had {theirs}"
        )
    return None


def checkpoint_fingerprint(workdir: Path, step: int) -> str:
    """The fingerprint that sampling gives a checkpoint, from its stored checksums alone.

    Raises UserError when there is no such checkpoint.
    """
    prefix = "ema_params/"
    checksums = read_meta(str(workdir), step).checksums
    ours = {
        name.removeprefix(prefix): value
        for name, value in checksums.items()
        if name.startswith(prefix)
    }
    return f"{zlib.crc32(repr(sorted(ours.items())).encode()):08x}"


@dataclass(frozen=True)
class Evaluations:
    """report: the one to judge the run by; others: files measured on other data."""

    report: dict[str, Any] | None
    others: tuple[str, ...]


def evaluations(workdir: Path, music: TokenDataset, step: int | None) -> Evaluations:
    """The evaluations of a run on `music`, of which one stands for it.

    step: the checkpoint that samples were drawn from. Held-out music goes before what was trained
    on; then that checkpoint, then the newest; of several splits validation, then test.
    """
    own, others = [], []
    for path in sorted(workdir.glob("evaluation_*.json")):
        report = json.loads(path.read_text(encoding="utf-8"))
        if _is_of(report.get("data_fingerprint", {}), music):
            own.append(report)
        else:
            others.append(path.name)

    def rank(report: Mapping) -> tuple:
        split = report["split"]
        place = _PREFERRED.index(split) if split in _PREFERRED else len(_PREFERRED)
        return split in _PREFERRED, report["step"] == step, report["step"], -place

    return Evaluations(max(own, key=rank, default=None), tuple(others))


def _is_of(prints: Mapping[str, str], music: TokenDataset) -> bool:
    """True when an evaluation's splits are this data set's. prints: fingerprint by split."""
    return bool(prints) and all(
        split in music.splits and fingerprint(music, split) == theirs
        for split, theirs in prints.items()
    )


def read_curve(workdir: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl; none without the file."""
    path = workdir / METRICS_FILE
    return read_lines(path) if path.exists() else []


def figures(
    music: TokenDataset, samples: TokenDataset | None, report: Mapping | None
) -> list[tuple[str, str]]:
    """The table of measured numbers: names and values."""
    rate = music.codec["sample_rate"] / music.codec["hop_length"]
    rows = []
    for split in music.splits:
        lengths = music.lengths(split)
        minutes = lengths.sum() / rate / 60
        text = f"{len(lengths):,} tracks, {lengths.sum():,} tokens, {minutes:,.1f} min"
        rows.append((f"Music, {split}", text))
    if samples:
        for split in samples.splits:
            lengths = samples.lengths(split)
            rows.append(("New pieces", f"{len(lengths):,} of {lengths.max() / rate:.1f} s"))
    if report:
        rows.append(
            (
                "Measured",
                f"checkpoint {report['step']:,} on {report['split']}: {report['num_tokens']:,} "
                f"tokens of {report['num_tracks']:,} tracks",
            )
        )
        names = _FIGURES | ({"model": _EXACT} if is_exact(report) else {})
        for key, name in names.items():
            value = Estimate.from_json(report["bits_per_token"][key])
            text = f"{value.mean:.3f}"
            if value.half_width is not None:
                text += f" ± {value.half_width:.3f} ({interval_name(value.num_artists)})"
            rows.append((name, text))
    return rows
