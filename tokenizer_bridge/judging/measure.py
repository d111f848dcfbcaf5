"""The worth of tags: shares of right answers, and distances to real music, of sets of samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizer_bridge.fad.extrapolation import Estimate
from tokenizer_bridge.fad.kernel import KernelReference, kernel_distance
from tokenizer_bridge.fad.units import by_artist
from tokenizer_bridge.judging.accuracy import Share, share_by_chance, share_right
from tokenizer_bridge.judging.hearing import Heard
from tokenizer_bridge.judging.judges import Judge
from tokenizer_bridge.judging.pieces import Piece, read_pieces
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.records import TokenDataset

LEAST_FOR_DISTANCE, LEAST_FOR_REFERENCE = 16, 4  # artists; a sample counts as one
DISTANCE_LISTENER = "musicnn"


@dataclass(frozen=True)
class SampleSet:
    """Samples of one setting. guidance: 0 for samples that were told nothing; their origin."""

    path: Path
    guidance: float
    schedule: str
    pieces: Sequence[Piece]
    origin: Mapping[str, Any]

    @property
    def is_told(self) -> bool:
        return self.guidance > 0


def read_sets(paths: Sequence[str | Path]) -> list[SampleSet]:
    """Sets of samples as `sample` wrote them: of one model, one length, and of different guidance.

    Raises UserError when they are not.
    """
    sets = []
    for path in paths:
        dataset = TokenDataset(path)
        origin = dataset.origin
        if "checkpoint_fingerprint" not in origin or "length" not in origin:
            raise UserError(f"{path} holds no samples of a model")
        told = origin.get("condition") or {"guidance": 0.0, "guidance_schedule": "constant"}
        try:
            guidance, schedule = float(told["guidance"]), str(told["guidance_schedule"])
            if type(origin["length"]) is not int:
                raise TypeError("a length that is no integer")
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path}: its dataset.json does not say how it was sampled ({error}): sample again"
            ) from error
        if guidance in (0.0, 1.0):  # nothing rises or falls
            schedule = "constant"
        pieces = read_pieces(dataset, dataset.splits, origin["length"])
        sets.append(SampleSet(Path(path), guidance, schedule, pieces, origin))
    first = sets[0]
    seen: dict[tuple[float, str], Path] = {}
    for one in sets:
        for key in ("checkpoint_fingerprint", "length"):
            if one.origin[key] != first.origin[key]:
                raise UserError(
                    f"{one.path} has {key} {one.origin[key]}, {first.path} has "
                    f"{first.origin[key]}: sets of one model and length can be compared"
                )
        setting = one.guidance, one.schedule
        if setting in seen:
            raise UserError(f"{one.path} and {seen[setting]} have the same guidance")
        seen[setting] = one.path
    return sorted(sets, key=lambda one: (one.guidance, one.schedule))


def measure_category(
    judge: Judge,
    real: tuple[Sequence[Piece], Heard],
    sets: Sequence[tuple[SampleSet, Heard]],
) -> tuple[dict[str, Any], list[Share | None]]:
    """A category's ceiling and floor as JSON values, and the share of every set, None for none.

    real: held-out pieces. The ceiling is the share of their tags that the judge hears; the floor is
    the share of the wishes of all sets that pieces have which were told nothing. Wishes for a name
    that the judge does not know are left out everywhere.
    """
    pieces, heard = real
    ceiling = _share(judge, pieces, heard)
    if ceiling is None:
        raise UserError(
            f"category {judge.category}: no held-out piece has one of {', '.join(judge.names)}"
        )
    shares = [_share(judge, one.pieces, heard) if one.is_told else None for one, heard in sets]
    wishes = [
        name
        for one, _ in sets
        if one.is_told
        for name in (piece.name_of(judge.category) for piece in one.pieces)
        if name in judge.names
    ]
    untold = [answer for one, heard in sets if not one.is_told for answer in judge.judge(heard)]
    floor = share_by_chance(untold, wishes) if untold and wishes else None
    facts = {
        "names": list(judge.names),
        "method": judge.method,
        **judge.facts,
        "ceiling": ceiling.as_json(),
        "floor": floor and floor.as_json(),
    }
    return facts, shares


def _share(judge: Judge, pieces: Sequence[Piece], heard: Heard) -> Share | None:
    asked = [piece.name_of(judge.category) for piece in pieces]
    used = [i for i, name in enumerate(asked) if name in judge.names]
    if not used:
        return None
    answers = judge.judge(heard)
    return share_right([answers[i] == asked[i] for i in used], [pieces[i].artist for i in used])


def distances(
    held_out: tuple[Sequence[Piece], Heard], others: Sequence[tuple[Sequence[Piece], Heard]]
) -> list[Estimate | None]:
    """KAD of sets to the held-out pieces, each with its 95% interval; None where one is too small.

    The held-out pieces must be of at least four artists, any other set of LEAST_FOR_DISTANCE.
    """
    units = _units(*held_out)
    if len(units) < LEAST_FOR_REFERENCE:
        return [None] * len(others)
    reference = KernelReference(units)
    return [
        kernel_distance(own, reference) if len(own) >= LEAST_FOR_DISTANCE else None
        for own in (_units(*one) for one in others)
    ]


def _units(pieces: Sequence[Piece], heard: Heard):
    return by_artist(heard[DISTANCE_LISTENER], [piece.artist for piece in pieces])
