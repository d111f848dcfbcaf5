"""Judging: whether samples are what their tags asked for, told by judges made from real music."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tokenizer_bridge.fad.extrapolation import Estimate
from tokenizer_bridge.judging import measure
from tokenizer_bridge.judging.accuracy import Share
from tokenizer_bridge.judging.hearing import LISTENERS, hear
from tokenizer_bridge.judging.judges import listeners_of, make_judge
from tokenizer_bridge.judging.pieces import categories_in, read_pieces
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.records import TRAIN_SPLIT, TokenDataset
from tokenizer_bridge.wavtokenizer.registry import load_codec


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
