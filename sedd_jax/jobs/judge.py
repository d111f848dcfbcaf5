"""Judging: an autoregressive run's bits of pieces, beside those of as many real ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sedd_jax.data import fingerprint
from sedd_jax.errors import UserError
from sedd_jax.jobs.autoregressive import AutoregressiveRun
from sedd_jax.likelihood.held_out import cut_windows
from sedd_jax.likelihood.judging import Judgement, judge, num_rows
from sedd_jax.parallel.consensus import is_first
from sedd_jax.progress import progress_bar
from tokenizer_bridge.token_dataset.intervals import Estimate, artist_numbers, interval_name
from tokenizer_bridge.token_dataset.records import Record, TokenDataset

_COLUMNS = {
    "entropy_bits": "entropy",
    "piece_entropy_bits": "in a piece",
    "distinct_codes": "codes",
    "distinct_2": "2-grams",
    "distinct_4": "4-grams",
}


def judge_pieces(
    workdir: str | Path,
    tokens: str | Path,
    *,
    split: str = "validation",
    step: int | str | None = None,
    batch_size: int | None = None,
) -> dict | None:
    """Judges the pieces of a token dataset, all its splits; None except in process 0.

    Args:
      workdir: of the autoregressive run; step: of its checkpoint, the newest by default, or "best".
      tokens: path of the pieces; a conditional judge is told their own tags and vectors.
      split: of the run's training data, whose tracks give the real pieces: as many, or all there
        are, each of the median length of those that are judged.
      batch_size: windows at a time; config.sampling.batch_size by default.

    Raises UserError: there is no such run or data, or the run's model is one of diffusion.
    """
    judging = AutoregressiveRun.load(workdir, step)
    run = judging.run
    dataset = TokenDataset(tokens)
    judging.require(dataset, run.graph.num_codes)
    records = [record for name in dataset.splits for record in dataset.records(name)]
    pieces_N = [record.tokens for record in records]
    if not pieces_N:
        raise UserError(f"{tokens} holds no piece")

    def measured(pieces_N: Sequence[np.ndarray], records: Sequence[Record], name: str) -> Judgement:
        with progress_bar(num_rows(pieces_N, run.config.model.length), "window", name=name) as bar:
            return judge(
                run,
                judging.params,
                pieces_N,
                artist_N=artist_numbers([record.artist for record in records]),
                tags_N=[record.tags for record in records],
                vectors_N=[record.vectors for record in records],
                batch_size=batch_size,
                on_rows=bar.update,
            )

    length = int(np.median([len(piece) for piece in pieces_N]))
    pieces = measured(pieces_N, records, "pieces")
    real, reason = None, ""
    try:
        real_N, real_records = _real_pieces(run.config.data.path, split, length, len(pieces_N))
        real = measured(real_N, real_records, split)
    except UserError as error:
        reason = str(error)
    if not is_first():
        return None
    return {
        "workdir": str(workdir),
        "step": judging.step,
        "tokens": dataset.place,
        "fingerprint": {name: fingerprint(dataset, name) for name in dataset.splits},
        "split": split,
        "length": length,
        "pieces": pieces.as_json(),
        "real": None if real is None else real.as_json(),
        "why_no_real": reason,
    }


def _real_pieces(
    path: str, split: str, length: int, num: int
) -> tuple[list[np.ndarray], list[Record]]:
    """Windows (length,) of a split, of one track each, `num` at most, and their tracks' records.

    No token is in two of them.

    Raises UserError when there is none.
    """
    if not path:
        raise UserError("the run does not say where its data lies")
    dataset = TokenDataset(path)
    windows = cut_windows(dataset, split, length)
    windows = windows.take(np.flatnonzero(windows.new_W == length))
    if not len(windows):
        raise UserError(f"no track of split {split!r} is as long as a piece, {length:,} tokens")
    windows = windows.spread(num)
    records = list(dataset.records(split))
    return list(windows.tokens_WxL), [records[i] for i in windows.track_W]


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    rows = {"pieces": report["pieces"], report["split"]: report["real"]}
    lines = [
        f"{report['tokens']} judged by checkpoint {report['step']} of {report['workdir']}",
        "",
        f"{'':<12}{'pieces':>8}{'tokens':>11}{'bits/token':>12}{'±':>9}"
        + "".join(f"{title:>12}" for title in _COLUMNS.values()),
    ]
    for name, measures in rows.items():
        if measures is None:
            lines.append(f"no figures of real music beside: {report['why_no_real']}")
            continue
        bits = Estimate.from_json(measures["bits_per_token"])
        half_width = "–" if bits.half_width is None else f"{bits.half_width:.4f}"
        cells = f"{measures['num_pieces']:>8,}{measures['num_tokens']:>11,}{bits.mean:>12.4f}"
        cells += f"{half_width:>9}"
        for key in _COLUMNS:
            value = measures[key]
            cells += f"{value:>12,}" if isinstance(value, int) else f"{value:>12.4f}"
        lines.append(f"{name:<12}{cells}")
    num_artists = report["pieces"]["bits_per_token"]["num_artists"]
    lines.append(
        f"±: half of the {interval_name(num_artists)}; a piece whose artist is unknown counts as "
        "one"
    )
    lines.append(
        "entropy: bits of the codes, of all pieces and in one; n-grams: different ones as a share "
        "of all"
    )
    real = report["real"]
    if real and real["num_tokens"] != report["pieces"]["num_tokens"]:
        lines.append(
            "the numbers of tokens differ: with more of them the entropy of all is higher, and "
            "fewer n-grams are new"
        )
    return "\n".join(lines)


def file_name(report: dict[str, Any]) -> str:
    """The name of a report's file: that of the pieces is in it."""
    of_pieces = next(iter(report["fingerprint"].values()))[:8]
    return f"judgement_{report['step']}_{Path(report['tokens']).name}-{of_pieces}.json"
