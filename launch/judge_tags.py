r"""Shows what a model's tags are worth: draws pieces at several strengths of guidance, and judges.

    python -m launch.judge_tags --workdir=RUN --tokens=TOKENS --guidance=0,1,2,3 --output=DIR

RUN is a run, an exported model or "demo"; TOKENS a data set with tags, in the codec of the model.
For every strength and schedule sedd_jax.sample draws --num_samples pieces; at 0 they are told
nothing. Then tokenizer_bridge.judge_tags, a process of its own, decodes and judges them; see there
what its judges, ceiling and floor are. --asked says what a piece is told:

    tracks   all known tags of a held-out track, tracks chosen so that all tags occur about
             equally often
    tags     one tag alone, each as often as any other

The i-th piece is told the same and begins with the same noise at all strengths. DIR gets
judged.json, judged.md and judged.png; the command goes on where it was stopped.
"""

import argparse
import csv
import io
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from sedd_jax import config_arguments
from sedd_jax.conditions import Vocabulary, category
from sedd_jax.diffusion.choices import SCHEDULES
from sedd_jax.weights import exported
from tokenizer_bridge.token_dataset.command import (
    Parser,
    comma_list,
    integer,
    local_path,
    number,
    run_command,
)
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import atomic_file, make_writable
from tokenizer_bridge.token_dataset.records import TRAIN_SPLIT, TokenDataset

ASKED = ("tracks", "tags")
TAGS_FILE = "asked.txt"


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add(
        "--workdir",
        type=local_path,
        required=True,
        metavar="RUN",
        help="Directory of a run or of an exported model; demo; or user/name on the hub.",
    )
    add(
        "--tokens",
        type=local_path,
        required=True,
        metavar="TOKENS",
        help="Token dataset of real music with tags.",
    )
    add(
        "--output",
        type=local_path,
        required=True,
        metavar="DIR",
        help="Directory for samples and results.",
    )
    config_arguments.add_step(parser)
    add(
        "--guidance",
        type=_strengths,
        default="0,1,2,3",
        help="Strengths, commas between; 0 is told nothing.",
    )
    add(
        "--guidance_schedule",
        type=_schedules,
        default="constant",
        help=f"Schedules of guidance, of {', '.join(SCHEDULES)}, commas between.",
    )
    add("--asked", choices=ASKED, default="tracks", help="What a piece is told.")
    add("--num_samples", type=integer(1), default=64, metavar="N", help="Pieces at each strength.")
    add("--length", type=integer(1), default=384, help="Tokens of a piece.")
    add("--steps", type=integer(1), default=32, help="Steps from noise to data.")
    add("--batch_size", type=integer(1), default=8, help="Pieces at a time.")
    add("--seed", type=integer(0, 2**32 - 1), default=0, help="Seed of the pieces.")
    add("--categories", type=comma_list, help="Categories to judge; all by default.")
    add("--num_train", type=integer(16), default=600, metavar="N", help="Real pieces to train on.")
    add(
        "--codec_dir",
        type=local_path,
        metavar="DIR",
        help="Folder with the codec's weights and YAML.",
    )
    return parser


def _strengths(text: str) -> list[float]:
    """The type of an argument that lists strengths, ascending."""
    return sorted({number(0.0)(item) for item in comma_list(text)})


def _schedules(text: str) -> list[str]:
    """The type of an argument that lists schedules."""
    names = list(dict.fromkeys(comma_list(text)))
    for name in names:
        if name not in SCHEDULES:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(SCHEDULES)}")
    return names


def main(argv: Sequence[str] | None = None) -> int:
    arguments = make_parser().parse_args(argv)
    output = Path(arguments.output)
    make_writable(output)
    dataset = TokenDataset(arguments.tokens)
    definition, _, step = exported.load(arguments.workdir, arguments.step)
    dataset.require_codec(definition.codec)
    if not definition.vocabulary.tracks:
        raise UserError(f"{arguments.workdir}: the model knows no tags: it was trained without")
    if arguments.asked == "tracks":
        asked = of_tracks(dataset, definition.vocabulary, arguments.num_samples)
    else:
        asked = of_tags(definition.vocabulary, arguments.num_samples, arguments.categories)
    told_of = sorted({category(tag) for tags in asked for tag in tags})
    if unknown := [name for name in arguments.categories or () if name not in told_of]:
        raise UserError(
            f"category {unknown[0]}: pieces are told tags of {', '.join(told_of)} alone"
        )
    write_table(output / TAGS_FILE, asked)
    folders = []
    for name, steering in settings(arguments.guidance, arguments.guidance_schedule):
        folders.append(output / name)
        told = [f"--tags_file={output / TAGS_FILE}", *steering] if steering else []
        code = run(
            "sedd_jax.sample",
            f"--workdir={arguments.workdir}",
            f"--step={step}",  # a run that trains on would mix checkpoints
            *(
                f"--{key}={getattr(arguments, key)}"
                for key in ("num_samples", "length", "steps", "batch_size", "seed")
            ),
            *told,
            f"--output={folders[-1]}",
        )
        if code:
            return code
    return run(
        "tokenizer_bridge.judge_tags",
        f"--tokens={arguments.tokens}",
        *(f"--samples={folder}" for folder in folders),
        *([f"--categories={','.join(arguments.categories)}"] if arguments.categories else []),
        f"--num_train={arguments.num_train}",
        *([f"--codec_dir={arguments.codec_dir}"] if arguments.codec_dir else []),
        f"--output={output}",
    )


def run(module: str, *flags: str) -> int:
    """Runs a command in a process of its own; its exit code."""
    return subprocess.run([sys.executable, "-m", module, *flags], check=False).returncode


def settings(
    strengths: Iterable[float], schedules: Sequence[str]
) -> list[tuple[str, Sequence[str]]]:
    """(folder, flags of `sample`) of each kind of guidance; no flags where nothing is told.

    At strength 1 nothing rises or falls.
    """
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


if __name__ == "__main__":
    run_command(main)
