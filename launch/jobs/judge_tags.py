"""Judging guidance: pieces are asked for, drawn at several strengths, and judged."""

import csv
import io
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from sedd_jax.conditions import Vocabulary, category
from sedd_jax.weights import exported
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import atomic_file
from tokenizer_bridge.token_dataset.records import TRAIN_SPLIT, TokenDataset

TAGS_FILE = "asked.txt"


def judge_guidance(
    workdir: str,
    tokens: str,
    output: str | Path,
    *,
    step: int | str | None = None,
    guidance: Sequence[float] = (0, 1, 2, 3),
    guidance_schedule: Sequence[str] = ("constant",),
    asked: str = "tracks",
    num_samples: int = 64,
    length: int = 384,
    sampler: str | None = None,
    steps: int | None = None,
    batch_size: int = 8,
    seed: int = 0,
    categories: Sequence[str] | None = None,
    num_train: int = 600,
    codec_dir: str | None = None,
) -> int:
    """Draws pieces of a model, and judges them against a data set's; returns the exit code.

    The arguments are those of the command. Raises UserError.
    """
    output = Path(output)
    kinds = settings(guidance, guidance_schedule)
    dataset = TokenDataset(tokens)
    definition, _, step = exported.load(workdir, step)
    dataset.require_codec(definition.codec)
    if not definition.vocabulary.tracks:
        raise UserError(f"{workdir}: the model knows no tags: it was trained without")
    if asked == "tracks":
        asked_N = of_tracks(dataset, definition.vocabulary, num_samples)
    else:
        asked_N = of_tags(definition.vocabulary, num_samples, categories)
    told_of = sorted({category(tag) for tags in asked_N for tag in tags})
    if unknown := [name for name in categories or () if name not in told_of]:
        raise UserError(
            f"category {unknown[0]}: pieces are told tags of {', '.join(told_of)} alone"
        )
    write_table(output / TAGS_FILE, asked_N)
    folders = []
    for name, steering in kinds:
        folders.append(output / name)
        told = [f"--tags_file={output / TAGS_FILE}", *steering] if steering else []
        code = run(
            "sedd_jax.sample",
            f"--workdir={workdir}",
            f"--step={step}",  # a run that trains on would mix checkpoints
            f"--num_samples={num_samples}",
            f"--length={length}",
            *([f"--sampler={sampler}"] if sampler else []),
            *([f"--steps={steps}"] if steps else []),
            f"--batch_size={batch_size}",
            f"--seed={seed}",
            *told,
            f"--output={folders[-1]}",
        )
        if code:
            return code
    return run(
        "tokenizer_bridge.judge_tags",
        f"--tokens={tokens}",
        *(f"--samples={folder}" for folder in folders),
        *([f"--categories={','.join(categories)}"] if categories else []),
        f"--num_train={num_train}",
        *([f"--codec_dir={codec_dir}"] if codec_dir else []),
        f"--output={output}",
    )


def run(module: str, *flags: str) -> int:
    """Runs a command in a process of its own; its exit code."""
    return subprocess.run([sys.executable, "-m", module, *flags], check=False).returncode


def settings(
    strengths: Iterable[float], schedules: Sequence[str]
) -> list[tuple[str, Sequence[str]]]:
    """(folder, flags of `sample`) of each kind of guidance; no flags where nothing is told.

    At strength 1 nothing rises or falls. Raises UserError where it is so for all strengths.
    """
    strengths = list(strengths)
    if not {*strengths} - {0, 1} and {*schedules} != {"constant"}:
        said = " and ".join(f"{strength:g}" for strength in strengths)
        raise UserError(f"nothing rises or falls at {said}: guidance needs another strength")
    found: list[tuple[str, Sequence[str]]] = []
    for strength in strengths:
        if strength == 0:
            found.append(("guidance-0", []))
            continue
        for schedule in schedules if strength != 1 else ("constant",):
            flags = [f"--guidance={strength:g}", f"--guidance_schedule={schedule}"]
            found.append((f"guidance-{strength:g}-{schedule}", flags))
    return found


def of_tracks(dataset: TokenDataset, vocabulary: Vocabulary, count: int) -> list[tuple[str, ...]]:
    """The known tags of held-out tracks, chosen so that tags occur about equally often.

    One after the other, the track is taken whose tags have been taken least: by the sum over its
    tags of their count, relative to how many tags their category has. A track may come again once
    all have been taken. Raises UserError when no held-out track has a known tag.
    """
    splits = [split for split in dataset.splits if split != TRAIN_SPLIT]
    tracks = [vocabulary.known(r.tags) for split in splits for r in dataset.records(split)]
    tracks = [tags for tags in tracks if tags]
    if not tracks:
        raise UserError(f"{dataset.path}: no held-out track has a tag that the model knows")
    sizes = Counter(category(tag) for tag in vocabulary.tracks)
    taken: Counter[str] = Counter()
    left: list[int] = []
    chosen = []
    for _ in range(count):
        left = left or list(range(len(tracks)))
        best = min(left, key=lambda i: sum(taken[t] * sizes[category(t)] for t in tracks[i]))
        left.remove(best)
        taken.update(tracks[best])
        chosen.append(tracks[best])
    return chosen


def of_tags(
    vocabulary: Vocabulary, count: int, categories: Sequence[str] | None
) -> list[tuple[str, ...]]:
    """One tag each, all tags of the categories in turn. Raises UserError for an unknown one."""
    known = sorted({category(tag) for tag in vocabulary.tracks})
    if unknown := [name for name in categories or () if name not in known]:
        raise UserError(f"the model knows no category {unknown[0]!r}, only {', '.join(known)}")
    tags = [tag for tag in vocabulary.tracks if category(tag) in (categories or known)]
    return [(tags[i % len(tags)],) for i in range(count)]


def write_table(path: Path, asked: Sequence[Sequence[str]]) -> None:
    """Writes tags as `sample` reads them, a line a piece. Raises UserError where others stand."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(asked)
    text = buffer.getvalue()
    if path.exists() and path.read_text(encoding="utf-8", errors="replace") != text:
        raise UserError(f"{path} asks for other pieces: choose another directory")
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
