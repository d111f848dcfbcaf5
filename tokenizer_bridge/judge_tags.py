"""Tells by independent judges whether samples are what their tags asked for.

    python -m tokenizer_bridge.judge_tags --tokens=TOKENS --samples=NEW --output=DIR

TOKENS is a data set with tags, NEW what `python -m sedd_jax.sample --tags_from=TOKENS …` wrote;
--samples may be given several times, for samples of several kinds of guidance. For each category of
tags (instrument, genre, …) a judge is made from real pieces of the split `train`, which have gone
through the codec as generated ones have: a classifier of musicnn's vectors; of transcribed notes'
times for tempo and metre; key and mode are those whose profile fits the notes. Its share of right
answers on held-out real pieces is the ceiling; the floor is that of samples without tags, where a
NEW has them, or guidance 0. Beside it stands KAD, the distance to the held-out pieces.

DIR gets judged.json, judged.md and judged.png. What is heard is kept in DIR/heard: a command that
was stopped goes on where it was. `python -m launch.judge_tags` draws the samples as well.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tokenizer_bridge.fad.extrapolation import Estimate
from tokenizer_bridge.judging import measure, report
from tokenizer_bridge.judging.accuracy import Share
from tokenizer_bridge.judging.hearing import LISTENERS, hear
from tokenizer_bridge.judging.judges import listeners_of, make_judge
from tokenizer_bridge.judging.pieces import categories_in, read_pieces
from tokenizer_bridge.memory import keep_freed_memory
from tokenizer_bridge.token_dataset.command import (
    Parser,
    comma_list,
    integer,
    local_path,
    run_command,
)
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import atomic_file, make_writable, write_json_atomically
from tokenizer_bridge.token_dataset.records import TRAIN_SPLIT, TokenDataset
from tokenizer_bridge.wavtokenizer.registry import load_codec


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add(
        "--tokens",
        type=local_path,
        required=True,
        metavar="TOKENS",
        help="Token dataset of real music with tags.",
    )
    add(
        "--samples",
        type=local_path,
        required=True,
        action="append",
        metavar="NEW",
        help="Token dataset of samples; several times for several.",
    )
    add("--output", type=local_path, required=True, metavar="DIR", help="Directory for results.")
    add(
        "--splits",
        type=comma_list,
        help="Held-out splits of the real music; all but train by default.",
    )
    add("--categories", type=comma_list, help="Categories to judge; all by default.")
    add(
        "--num_train",
        type=integer(16),
        default=600,
        metavar="N",
        help="Real pieces, one a track, that judges are trained on, at most.",
    )
    add(
        "--codec_dir",
        type=local_path,
        metavar="DIR",
        help="Folder with the codec's weights and YAML.",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = make_parser().parse_args(argv)
    keep_freed_memory()
    output = Path(arguments.output)
    make_writable(output)
    result = judge_tags(
        arguments.tokens,
        arguments.samples,
        output / "heard",
        splits=arguments.splits,
        categories=arguments.categories,
        num_train=arguments.num_train,
        codec_dir=arguments.codec_dir,
    )
    write_json_atomically(output / "judged.json", result)
    text = report.as_markdown(result)
    with atomic_file(output / "judged.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    with atomic_file(output / "judged.png") as temporary:
        report.figure(result).savefig(temporary, format="png", dpi=120)
    print(text)
    print(f"in {output}: judged.json, judged.md, judged.png")


def judge_tags(
    tokens: str | Path,
    samples: Sequence[str | Path],
    folder: Path,
    *,
    splits: Sequence[str] | None = None,
    categories: Sequence[str] | None = None,
    num_train: int = 600,
    codec_dir: str | None = None,
) -> dict[str, Any]:
    """The report as JSON values; prints which categories cannot be judged, and why.

    folder: where what is heard is kept; the other arguments are those of the command.
    Raises UserError.
    """
    dataset = TokenDataset(tokens)
    sets = measure.read_sets(samples)
    for one in sets:
        TokenDataset(one.path).require_codec(dataset.codec)
    length = sets[0].origin["length"]
    splits = splits or [split for split in dataset.splits if split != TRAIN_SPLIT]
    if not splits:
        raise UserError(f"{tokens} has no split but {TRAIN_SPLIT!r}: nothing is held out")
    training = read_pieces(dataset, [TRAIN_SPLIT], length, num_train)
    held_out = read_pieces(dataset, splits, length)
    told = [piece for one in sets if one.is_told for piece in one.pieces]
    there = sorted({*categories_in(training)} & {*categories_in(told)})
    if unknown := sorted({*(categories or ())} - {*there}):
        raise UserError(
            f"category {unknown[0]}: no tags of it in both the real music and the samples; "
            f"there are {', '.join(there) or 'none'}"
        )
    codec, info = load_codec(dataset.codec["name"], codec_dir=codec_dir)
    dataset.require_codec(vars(info))
    needed = {measure.DISTANCE_LISTENER}.union(*map(listeners_of, categories or there))
    listeners = [LISTENERS[name]() for name in sorted(needed)]
    seconds = length * info.hop_length / info.sample_rate
    for listener in listeners:
        if seconds < listener.least_s:
            raise UserError(
                f"samples of {seconds:.3g} s are too short to be judged: {listener.name} needs "
                f"{listener.least_s:.3g} s"
            )
    groups = [training, held_out, *(one.pieces for one in sets)]
    with tqdm(total=sum(map(len, groups)), unit="piece", desc="hear") as bar:
        heard = [hear(group, codec, info, listeners, folder, bar.update) for group in groups]
    of_training, of_held_out, of_sets = heard[0], heard[1], heard[2:]

    facts, right = {}, {}
    for category in categories or there:
        try:
            judge = make_judge(category, training, of_training)
            facts[category], right[category] = measure.measure_category(
                judge, (held_out, of_held_out), list(zip(sets, of_sets, strict=True))
            )
        except UserError as error:
            if categories:
                raise
            print(error)
    if not facts:
        raise UserError("no category can be judged")
    kads = measure.distances(
        (held_out, of_held_out),
        [(training, of_training), *((s.pieces, h) for s, h in zip(sets, of_sets, strict=True))],
    )
    return {
        "tokens": str(dataset.path),
        "splits": list(splits),
        "codec": dataset.codec["name"],
        "length": length,
        "seconds": seconds,
        "num_trained_on": len(training),
        "num_held_out": len(held_out),
        "checkpoint_step": sets[0].origin["checkpoint_step"],
        "checkpoint_fingerprint": sets[0].origin["checkpoint_fingerprint"],
        "categories": facts,
        "kad_of_training_pieces": _kad(kads[0]),
        "sets": [
            _set(one, {category: shares[i] for category, shares in right.items()}, kads[i + 1])
            for i, one in enumerate(sets)
        ],
    }


def _set(
    one: measure.SampleSet, right: Mapping[str, Share | None], kad: Estimate | None
) -> dict[str, Any]:
    return {
        "samples": str(one.path),
        "guidance": one.guidance,
        "schedule": one.schedule,
        "steps": one.origin.get("steps"),
        "num_pieces": len(one.pieces),
        "right": {category: share and share.as_json() for category, share in right.items()},
        "kad": _kad(kad),
    }


def _kad(kad: Estimate | None) -> dict[str, Any] | None:
    return None if kad is None else {"value": kad.value, "interval_95": [kad.low, kad.high]}


if __name__ == "__main__":
    run_command(main)
