"""Evaluation: measures a run's model on a split beside the baselines, and reports it.

Letters: W windows, T tracks.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sedd_jax.conditions import Vocabulary
from sedd_jax.data import fingerprint
from sedd_jax.errors import UserError
from sedd_jax.jobs.autoregressive import AutoregressiveRun
from sedd_jax.likelihood import baselines, cost, stretches
from sedd_jax.likelihood.held_out import SplitWindows, cut_windows
from sedd_jax.model import ModelDef
from sedd_jax.network.choices import AUTOREGRESSIVE
from sedd_jax.parallel.consensus import is_first
from sedd_jax.progress import progress_bar
from sedd_jax.sampling.editing import token_rate
from sedd_jax.weights import exported
from tokenizer_bridge.token_dataset.buckets import Bucket
from tokenizer_bridge.token_dataset.files import as_json, make_writable, write_json_atomically
from tokenizer_bridge.token_dataset.intervals import Estimate, interval_name, per_token
from tokenizer_bridge.token_dataset.paths import is_url
from tokenizer_bridge.token_dataset.records import TRAIN_SPLIT, TokenDataset
from tokenizer_bridge.token_dataset.vectors import Vectors
from tokenizer_bridge.token_dataset.wording import counted

DEFAULT_LEVELS = 4  # of noise, a window
_EXACT = AUTOREGRESSIVE  # of a run beside the one that is measured
_ROWS = {
    "model": "score model (bound)",
    "model_without_tags": "- told no tags",
    "model_with_other_tags": "- told another's",
    "model_without_condition": "- told nothing",
    "model_with_other_condition": "- told another's",
    _EXACT: f"{_EXACT} (exact)",
    "bigram": "bigram",
    "unigram": "unigram",
    "uniform": "uniform",
}


def evaluate(
    workdir: str | Path,
    *,
    split: str = "validation",
    step: int | str | None = None,
    tokens: str | Path | None = None,
    num_t: int | None = None,
    batch_size: int | None = None,
    stretches_s: Sequence[float] = (),
    autoregressive: str | Path | None = None,
) -> dict | None:
    """Bits per token of a run's model and of the baselines; None except in process 0.

    An autoregressive model's bits are exact, a diffusion model's a bound.
    "model" is told each track's own tags; where it knows tags there are "model_without_tags" and
    "model_with_other_tags" beside it, the latter unless all tracks have the same. Where it knows
    vectors, too, they are "model_without_condition" and "model_with_other_condition".

    Args:
      workdir: of the run.
      split: of the data.
      step: of the checkpoint; the newest by default, or "best".
      tokens: path of the data; that of the training by default.
      num_t: noise levels per window, 4 by default; of diffusion models alone.
      batch_size: windows at a time; config.sampling.batch_size by default.
      stretches_s: lengths in seconds of stretches whose cost given their context is measured, too;
        of diffusion models alone.
      autoregressive: of an autoregressive run (its newest checkpoint) that is measured beside it,
        on the same tokens, in windows of its own length.

    Raises UserError: there is no such checkpoint or split, the data is of another codec, the bound
    is not finite, windows are shorter than a stretch, or the model cannot do what is asked for.
    """
    run, params, step = exported.load(workdir, step)
    tokens = tokens or run.config.data.path
    if not tokens:
        raise UserError(f"{workdir} does not say where its data lies: name a token dataset")
    if num_t is not None:
        run.require_diffusion("a number of noise levels")
    num_levels = 0 if run.is_autoregressive else num_t or DEFAULT_LEVELS
    dataset = TokenDataset(tokens)
    dataset.require_codec(run.codec)
    dataset.num_records(TRAIN_SPLIT)  # refuses a dataset that the baselines cannot be fitted on
    run.vocabulary.require_widths(dataset)
    length, num_codes = run.config.model.length, run.graph.num_codes
    rival = None if autoregressive is None else AutoregressiveRun.load(autoregressive)
    if rival is not None:
        rival.require(dataset, num_codes)
    all_windows = cut_windows(dataset, split, length)
    windows = all_windows.knowing(num_codes)
    num_windows = len(windows)
    stretch_tokens = [_stretch_tokens(seconds, run) for seconds in stretches_s]
    told = _told(run.vocabulary, windows)
    with progress_bar(num_windows * len(told), "window", name="model") as bar:
        costs = {
            name: cost.of_windows(
                run,
                params,
                windows,
                num_levels=num_levels,
                batch_size=batch_size or run.config.sampling.batch_size,
                tags_T=tags_T,
                vectors_T=vectors_T,
                on_windows=bar.update,
            )
            for name, (tags_T, vectors_T) in told.items()
        }
    if not all(np.isfinite(measured.nats_W).all() for measured in costs.values()):
        what = "cost" if run.is_autoregressive else "bound"
        raise UserError(f"the {what} of checkpoint {step} is not finite: choose an earlier one")
    rival_bits_W = None if rival is None else rival.bits(dataset, split, windows, batch_size)
    measured_stretches = []
    if stretch_tokens:
        whole = stretches.whole_windows(windows)
        num_contexts = len(stretches.CONTEXTS) * len(stretch_tokens)
        with progress_bar(len(whole) * num_contexts, "window", name="stretches") as bar:
            for seconds, num_tokens in zip(stretches_s, stretch_tokens, strict=True):
                bits_W = stretches.stretch_bits(
                    run,
                    params,
                    whole,
                    num_tokens,
                    num_levels=num_levels,
                    batch_size=batch_size or run.config.sampling.batch_size,
                    on_windows=bar.update,
                )
                measured_stretches.append(stretches.describe(whole, num_tokens, seconds, bits_W))
    if not is_first():
        return None
    train_tracks = [record.tokens for record in dataset.records(TRAIN_SPLIT)]
    unigram, bigram = baselines.fit(train_tracks, run.codec["codebook_size"])
    below = None if num_codes == run.codec["codebook_size"] else num_codes
    bits = {name: measured.nats_W / math.log(2) for name, measured in costs.items()}
    if rival_bits_W is not None:
        bits[_EXACT] = rival_bits_W
    bits |= {
        "bigram": windows.total(bigram.bits(windows.tokens_WxL, windows.begin_W, below)),
        "unigram": windows.total(unigram.bits(windows.tokens_WxL, below)),
        "uniform": windows.counted_W * math.log2(num_codes),
    }
    return {
        "workdir": str(workdir),
        "step": step,
        "model_type": run.config.model.type,
        "data_path": dataset.place,
        "is_training_data": _is_same_data(dataset, run.config.data.path),
        "data_fingerprint": {
            split: fingerprint(dataset, split) for split in sorted({TRAIN_SPLIT, split})
        },
        "split": split,
        "codec": run.codec["name"],
        "length": length,
        "num_t": num_levels or None,
        "num_tracks": windows.num_tracks,
        "num_windows": num_windows,
        "num_tokens": int(windows.counted_W.sum()),
        "num_unknown_tokens": int(all_windows.new_W.sum() - windows.counted_W.sum()),
        "num_short_tracks": int((windows.begin_W > 0).sum()),
        "bits_per_token": {name: estimate(bits_W, windows) for name, bits_W in bits.items()},
        "model_bits_by_t": costs["model"].bits_by_t,
        "model_bits_by_masked_share": costs["model"].bits_by_masked_share,
        # Paired by artist, so its interval is narrower than the two figures' own would suggest.
        "above_model": {
            name: estimate(bits_W - bits["model"], windows)
            for name, bits_W in bits.items()
            if name != "model"
        },
        "stretches": measured_stretches,
        "baselines": {"unigram": unigram.describe(), "bigram": bigram.describe()}
        | ({} if rival is None else {_EXACT: rival.describe()}),
    }


def _stretch_tokens(seconds: float, run: ModelDef) -> int:
    """The tokens of a stretch. Raises UserError when it does not fit, before hours of measuring."""
    num_tokens = round(seconds * token_rate(run.codec))
    length = run.config.model.length
    run.require_diffusion("a stretch given what stands around it")
    if run.graph.mask_id is None:
        raise UserError("stretches are measured of absorbing models alone: this one has no mask")
    if not 0 < num_tokens < length:
        raise UserError(
            f"a stretch of {seconds:g} s, {num_tokens:,} tokens, does not lie within a window of "
            f"{length:,}"
        )
    return num_tokens


def _told(
    vocabulary: Vocabulary, windows: SplitWindows
) -> dict[str, tuple[Sequence[Sequence[str]], Sequence[Vectors]]]:
    """Name of a measurement → the tags and vectors that the model is told of every track in it."""
    tags_T, vectors_T, num_tracks = windows.tags, windows.vectors, len(windows.tags)
    told: dict[str, Any] = {"model": (tags_T, vectors_T)}
    if vocabulary:
        what = "condition" if vocabulary.vectors else "tags"
        told[f"model_without_{what}"] = ([()] * num_tracks, [{}] * num_tracks)
        other_T = vocabulary.of_others(tags_T, vectors_T)
        if (other_T != np.arange(num_tracks)).any():
            others = ([tags_T[i] for i in other_T], [vectors_T[i] for i in other_T])
            told[f"model_with_other_{what}"] = others
    return told


def _is_same_data(dataset: TokenDataset, path: str) -> bool | None:
    """True where a path is that of a dataset, or of an equal one; None for "", not known."""
    if not path:
        return None
    if path == dataset.place or Path(path).resolve() == dataset.path.resolve():
        return True
    try:
        return fingerprint(TokenDataset(path), TRAIN_SPLIT) == fingerprint(dataset, TRAIN_SPLIT)
    except UserError:  # it is gone
        return False


def check_writable(output: str) -> None:
    """Raises UserError, or OSError, when a directory or URL cannot be written to."""
    if is_url(output):
        Bucket(output).check_writable()
    elif Path(output).exists():
        make_writable(Path(output))


def write(report: dict, directory: str | Path) -> Path | str:
    """Writes the report into a directory, or at a URL; returns the file. Raises UserError."""
    is_own = report["is_training_data"]
    if is_own is None and is_url(directory):
        is_own = True
    elif is_own is None:
        path = Path(directory) / _file_name(report, True)
        is_own = not path.exists() or _fingerprints(path) == report["data_fingerprint"]
    return write_as(_file_name(report, is_own), report, directory)


def write_as(name: str, report: dict, directory: str | Path) -> Path | str:
    """Writes a report under a name of its own; see `write`."""
    if is_url(directory):
        bucket = Bucket(str(directory))
        bucket.write(name, as_json(report).encode())
        return f"{bucket.url}/{name}"
    path = Path(directory) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        write_json_atomically(path, report)
    except PermissionError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    return path


def _file_name(report: dict, is_own: bool) -> str:
    """The name of a report's file; is_own: on the data that the model was trained on."""
    stem = f"evaluation_{report['split']}_{report['step']}"
    if not is_own:
        name = Path(report["data_path"]).name
        stem += f"_{name}-{report['data_fingerprint'][report['split']][:8]}"
    return f"{stem}.json"


def _fingerprints(path: Path) -> Any:
    """The fingerprints of the data in a report; None for a file that is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["data_fingerprint"]
    except (ValueError, KeyError, TypeError):
        return None


def estimate(bits_W: np.ndarray, windows: SplitWindows) -> dict:
    return per_token(bits_W, windows.counted_W, windows.artist_W).as_json()


def table(report: dict) -> str:
    """The report for people."""
    num_unknown = report["num_unknown_tokens"]
    which = "" if num_unknown else "all "
    tracks = counted(report["num_tracks"], "track", "tracks")
    windows = counted(report["num_windows"], "window", "windows")
    lines = [
        f"checkpoint {report['step']} on {report['split']}: {which}{report['num_tokens']:,} tokens "
        f"of {tracks}, in {windows} of "
        f"{report['length']:,}",
    ]
    if num_unknown:
        lines.append(
            f"{num_unknown:,} more tokens are codes that the model does not know: they count as "
            "unknown, and in no figure"
        )
    if report["num_short_tracks"]:
        lines.append(
            f"{report['num_short_tracks']:,} of the tracks are shorter than a window and are read "
            "behind the end of the track before"
        )
    lines += [
        "",
        f"{'bits per token':<21}{'mean':>9}{'±':>10}{'above model':>15}{'±':>10}",
    ]
    for key, name in _ROWS.items():
        if key not in report["bits_per_token"]:
            continue
        if key == "model" and report["model_type"] == AUTOREGRESSIVE:
            name = _ROWS[_EXACT]
        cells = _cells(report["bits_per_token"][key], 9)
        if key in report["above_model"]:
            cells += _cells(report["above_model"][key], 15)
        lines.append(f"{name:<21}{cells}")
    interval = interval_name(report["bits_per_token"]["model"]["num_artists"])
    if report["bits_per_token"]["model"]["interval_95_by_artist"] is None:
        lines.append(f"no {interval}: these are too few, or nearly all is one artist's")
    else:
        lines.append(f"±: half of the {interval}; a track whose artist is unknown counts as one")
    for stretch in report["stretches"]:
        lines += ["", *_stretch_lines(stretch)]
    if report["split"] == TRAIN_SPLIT:
        lines.append("model and baselines were fitted on these very tracks")
    return "\n".join(lines)


def _stretch_lines(stretch: dict) -> list[str]:
    """The measurement of a stretch for people."""
    first = f"{stretch['seconds']:g} s given what is"
    lines = [f"{first:<21}{'mean':>9}{'±':>10}{'saved by it':>15}{'±':>10}"]
    for name, fields in stretch["bits_per_token"].items():
        cells = _cells(fields, 9)
        if name in stretch["saved"]:
            cells += _cells(stretch["saved"][name], 15)
        lines.append(f"{'- ' + name:<21}{cells}")
    lines.append(
        f"bits per token of the middle {stretch['num_tokens']:,} of "
        f"{stretch['num_windows']:,} windows that overlap no other"
    )
    return lines


def _cells(fields: dict, width: int) -> str:
    half_width = Estimate.from_json(fields).half_width
    return f"{fields['mean']:>{width}.4f}" + (
        f"{'–':>10}" if half_width is None else f"{half_width:>10.4f}"
    )
