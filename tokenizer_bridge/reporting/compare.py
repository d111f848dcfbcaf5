"""The two sides of a comparison: their files, the clips of these, and the vectors of those."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tokenizer_bridge import sources
from tokenizer_bridge.fad.clips import Clip, TooShort, plan_clips
from tokenizer_bridge.fad.controls import Halves, split_halves
from tokenizer_bridge.fad.embed import Embedded, EmbedOptions, embed
from tokenizer_bridge.fad.embeddings import Embedding
from tokenizer_bridge.fad.measured_set import MIN_FILES
from tokenizer_bridge.reporting.arguments import Reference
from tokenizer_bridge.reporting.names import GENERATED
from tokenizer_bridge.sources import Failure, Track
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import as_text
from tokenizer_bridge.token_dataset.records import DATASET_FILE


@dataclass(frozen=True)
class Side:
    """A set of files and the clips of them that are compared."""

    name: str  # "generated", or the reference's
    num_files: int  # before any were left out
    clips: tuple[Clip, ...]

    def halves(self, seed: int) -> Halves:
        """The halves that controls are made of."""
        return split_halves(
            [clip.id for clip in self.clips], [clip.artist for clip in self.clips], seed
        )


@dataclass(frozen=True)
class Pairing:
    """Generated music against one reference, in clips of one length."""

    generated: Side
    reference: Side

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.generated, self.reference

    def without(self, unusable: "Unusable") -> "Pairing":
        """The pairing of the files that could be used."""
        return Pairing(*map(unusable.without, self.sides))

    def num_common(self) -> int:
        """The number of files that are on both sides, under whatever name."""
        paths, others = ({os.path.realpath(clip.path) for clip in s.clips} for s in self.sides)
        return len(paths & others)

    def require_enough(self, seed: int | None, unusable: "Unusable") -> None:
        """Raise UserError for fewer files than distances, or halves of the reference, need.

        seed: of the halves; None without controls. unusable: what the sides lack.
        """
        for side in self.sides:
            count = len({clip.id for clip in side.clips})
            if count < MIN_FILES:
                raise UserError(
                    f"{side.name}: {count} usable files; distances need at least {MIN_FILES}"
                    f"{unusable.summary_of(side.name)}"
                )
            if side is self.reference and seed is not None:
                half = len({side.clips[i].id for i in side.halves(seed).a})
                if half < MIN_FILES:
                    raise UserError(
                        f"{side.name}: {count} usable files, of which halves that share no artist "
                        f"have {half}; controls need {MIN_FILES} in each: add some, or leave the "
                        f"controls out{unusable.summary_of(side.name)}"
                    )


class UnusableFiles(UserError):
    """Files that cannot be used. fitting_s: seconds of clips for which the short ones have room."""

    def __init__(self, text: str, fitting_s: float | None):
        super().__init__(text)
        self.fitting_s = fitting_s


class TokensNotAudio(UserError):
    """A token dataset lies where audio is needed."""


class Unusable:
    """Files that could not be used, in the order in which they were met, each with one reason."""

    def __init__(self):
        self._reasons: dict[tuple[str, str], str] = {}  # set, path -> reason
        self._fitting_s: dict[tuple[str, str], float] = {}  # of those that are too short

    def __len__(self) -> int:
        return len(self._reasons)

    def add(self, name: str, failures: Sequence[Failure]) -> None:
        for failure in failures:
            key = (name, str(failure.path))
            self._reasons.setdefault(key, failure.reason)
            if isinstance(failure, TooShort):
                self._fitting_s[key] = failure.fitting_s

    def listed(self) -> list[dict[str, str]]:
        """The files and reasons, as they stand in a report."""
        return [
            {"set": name, "path": as_text(path), "reason": reason}
            for (name, path), reason in self._reasons.items()
        ]

    def summary_of(self, name: str) -> str:
        """The end of a message about a set: how many of these are its own, and the first."""
        reasons = [
            (path, reason) for (of_set, path), reason in self._reasons.items() if of_set == name
        ]
        if not reasons:
            return ""
        (path, reason), *_ = reasons
        return f"; {len(reasons)} cannot be used, the first: {path}: {reason}"

    def refuse(self, num_files: int, least_s: float) -> None:
        """Raise UserError if there are any.

        num_files: looked at in all. least_s: of the shortest clips that all embeddings can use;
        where files are too short, clips that would fit them are named unless they are shorter.
        """
        if self._reasons:
            (name, path), reason = next(iter(self._reasons.items()))
            fitting_s = math.floor(10 * min(self._fitting_s.values(), default=0)) / 10
            if fitting_s < least_s:
                fitting_s, remedy = None, "mend or remove them"
            elif len(self._fitting_s) == len(self._reasons):
                remedy = f"all have room for clips of {fitting_s:g} s: take those"
            else:
                remedy = f"those too short have room for clips of {fitting_s:g} s: mend the others"
            raise UnusableFiles(
                f"{len(self._reasons)} of {num_files} files cannot be used, the first of {name}: "
                f"{path}: {reason}; {remedy}, or leave them out",
                fitting_s,
            )

    def without(self, side: Side) -> Side:
        """A set without the files that could not be used, each left out with all of its clips."""
        kept = [clip for clip in side.clips if (side.name, str(clip.path)) not in self._reasons]
        return replace(side, clips=tuple(kept))


def generated_tracks(directory: str) -> list[Track]:
    """Every audio file of a folder; folders name no artists here.

    Raises UserError without any, and for a token dataset.
    """
    if (Path(directory) / DATASET_FILE).is_file():
        raise TokensNotAudio(f"{directory}: holds tokens, not audio: decode them first")
    tracks = sources.load("folder", directory)
    return [replace(track, artist=None) for track in tracks]


def reference_tracks(
    reference: Reference, num_tracks: int, seed: int, metadata: str | None = None
) -> list[Track]:
    """Tracks of a reference, `num_tracks` of them (0: all) as the seed has it. Raises UserError."""
    tracks = sources.load(reference.source, reference.directory, metadata=metadata)
    if num_tracks > len(tracks):
        raise UserError(f"{reference.name} has {len(tracks)} tracks, fewer than {num_tracks}")
    return sources.subset(tracks, num_tracks, seed) if num_tracks else tracks


def plan_side(
    name: str,
    tracks: Sequence[Track],
    clip_s: float,
    clips_per_file: int,
    unusable: Unusable,
    num_workers: int | None,
    on_track: Callable[[], None],
) -> Side:
    """Clips of a set; files without are added to `unusable`."""
    clips, failures = plan_clips(tracks, clip_s, clips_per_file, num_workers, on_track)
    unusable.add(name, failures)
    return Side(name, len(tracks), tuple(clips))


def embed_side(
    embedding: Embedding,
    side: Side,
    options: EmbedOptions,
    unusable: Unusable,
    on_clip: Callable[[], None],
) -> dict[Clip, Embedded]:
    """A set's clips, embedded; files of which one cannot be read are added to `unusable`.

    A generated file that is silent is one that the model made: left out, it would flatter it.
    """
    embedded = {}
    silent_ok = side.name == GENERATED
    for one in embed(embedding, side.clips, options, silent_ok=silent_ok):
        if isinstance(one, Failure):
            unusable.add(side.name, [one])
        else:
            embedded[one.clip] = one
        on_clip()
    return embedded


def control_halves(pairing: Pairing, seed: int) -> Halves:
    """The halves of a reference that controls are made of.

    Of the first, which is turned into other sounds, no more files are taken than were generated:
    controls are then sets as large as the generated one, and a large reference makes no more work.
    """
    ids = [clip.id for clip in pairing.reference.clips]
    halves = pairing.reference.halves(seed)
    count = len({clip.id for clip in pairing.generated.clips})
    kept = sources.draw({ids[i] for i in halves.a}, count, seed)
    return replace(halves, a=tuple(i for i in halves.a if ids[i] in kept))
