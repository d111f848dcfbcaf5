"""What is compared with what: files of both sides to clips, clips to vectors and controls."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tokenizer_bridge import sources
from tokenizer_bridge.errors import UserError
from tokenizer_bridge.fad.clips import Clip, Failure, plan_clips
from tokenizer_bridge.fad.controls import Halves, split_halves
from tokenizer_bridge.fad.embed import EmbeddingSet, embed_clips
from tokenizer_bridge.fad.embeddings import Embedding
from tokenizer_bridge.fad.measure import MIN_FILES
from tokenizer_bridge.files import as_text
from tokenizer_bridge.reporting.arguments import Reference
from tokenizer_bridge.sources import Track


@dataclass(frozen=True)
class Side:
    """A set of files and the clips of them that are compared."""

    name: str  # "generated", or the reference's
    num_files: int  # before any were left out
    clips: tuple[Clip, ...]

    def halves(self, seed: int) -> Halves:
        """As controls need them."""
        return split_halves(
            [clip.id for clip in self.clips], [clip.artist for clip in self.clips], seed
        )


@dataclass(frozen=True)
class Comparison:
    """Generated music against one reference, in clips of one length."""

    generated: Side
    reference: Side

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.generated, self.reference

    def num_common(self) -> int:
        """How many files are on both sides, under whatever name."""
        paths, others = ({os.path.realpath(clip.path) for clip in s.clips} for s in self.sides)
        return len(paths & others)

    def require_enough(self, seed: int | None) -> None:
        """Raise UserError for fewer files than distances, or halves of the reference, need.

        seed: of the halves; None without controls.
        """
        for side in self.sides:
            count = len({clip.id for clip in side.clips})
            if count < MIN_FILES:
                raise UserError(
                    f"{side.name}: {count} usable files; distances need at least {MIN_FILES}"
                )
            if side is self.reference and seed is not None:
                half = len({side.clips[i].id for i in side.halves(seed).a})
                if half < MIN_FILES:
                    raise UserError(
                        f"{side.name}: {count} usable files, of which halves that share no artist "
                        f"have {half}; controls need {MIN_FILES} in each: add some, or leave the "
                        "controls out with --nocontrols"
                    )


@dataclass(frozen=True)
class EmbedOptions:
    """How clips become vectors: see fad.embed.embed_clips."""

    cache_dir: Path
    num_workers: int
    batch_size: int
    loudness: float | None


class Unusable:
    """Files that could not be used, in the order in which they were met, each with one reason."""

    def __init__(self):
        self._reasons: dict[tuple[str, str], str] = {}  # set, path -> reason

    def __len__(self) -> int:
        return len(self._reasons)

    def add(self, name: str, failures: Sequence[Failure]) -> None:
        for failure in failures:
            self._reasons.setdefault((name, str(failure.path)), failure.reason)

    def listed(self) -> list[dict[str, str]]:
        """As in a report."""
        return [
            {"set": name, "path": as_text(path), "reason": reason}
            for (name, path), reason in self._reasons.items()
        ]

    def refuse(self, num_files: int) -> None:
        """Raise UserError if there are any; num_files: looked at in all."""
        if self._reasons:
            (name, path), reason = next(iter(self._reasons.items()))
            raise UserError(
                f"{len(self._reasons)} of {num_files} files cannot be used, the first of {name}: "
                f"{path}: {reason}; mend or remove them, or leave them out with --skip_unusable"
            )

    def without(self, side: Side) -> Side:
        """A set without the files that could not be used, each left out with all of its clips."""
        kept = [clip for clip in side.clips if (side.name, str(clip.path)) not in self._reasons]
        return replace(side, clips=tuple(kept))


def generated_tracks(directory: str) -> list[Track]:
    """Every audio file of a folder; folders name no artists here. Raises UserError without any."""
    tracks = _load("--generated=", "folder", directory)
    return [replace(track, artist=None) for track in tracks]


def reference_tracks(
    reference: Reference, num_tracks: int, seed: int, metadata: str | None = None
) -> list[Track]:
    """Tracks of a reference, `num_tracks` of them (0: all) as the seed has it. Raises UserError."""
    flag = f"--reference={reference.name}="
    tracks = _load(flag, reference.source, reference.directory, metadata)
    if num_tracks > len(tracks):
        raise UserError(
            f"--num_reference={num_tracks}: {reference.name} has only {len(tracks)} tracks"
        )
    return sources.subset(tracks, num_tracks, seed) if num_tracks else tracks


def plan_side(
    name: str, tracks: Sequence[Track], clip_s: float, clips_per_file: int, unusable: Unusable
) -> Side:
    """Clips of a set; files without are added to `unusable`."""
    clips, failures = plan_clips(tracks, clip_s, clips_per_file)
    unusable.add(name, failures)
    return Side(name, len(tracks), tuple(clips))


def embed_side(
    embedding: Embedding,
    side: Side,
    options: EmbedOptions,
    unusable: Unusable,
    on_clip: Callable[[], None],
) -> EmbeddingSet:
    """Vectors of a set's clips; files of which one cannot be read are added to `unusable`."""
    vectors, failures = embed_clips(
        embedding, side.clips, on_clip=lambda clip: on_clip(), **vars(options)
    )
    unusable.add(side.name, failures)
    return vectors


def control_halves(comparison: Comparison, seed: int) -> Halves:
    """The halves of a reference that controls are made of.

    Of the first, which is turned into other sounds, no more files are taken than were generated:
    controls are then sets as large as the generated one, and a large reference makes no more work.
    """
    ids = [clip.id for clip in comparison.reference.clips]
    halves = comparison.reference.halves(seed)
    count = len({clip.id for clip in comparison.generated.clips})
    kept = _draw({ids[i] for i in halves.a}, count, seed)
    return replace(halves, a=tuple(i for i in halves.a if ids[i] in kept))


def _draw(ids: set[str], count: int, seed: int) -> set[str]:
    """At most `count` of the ids, those with the lowest hash of seed and id."""

    def key(id: str) -> bytes:
        return hashlib.sha256(f"{seed}/{id}".encode()).digest()

    return set(sorted(ids, key=key)[:count])


def _load(flag: str, source: str, directory: str, metadata: str | None = None) -> list[Track]:
    """Tracks of a source. Its errors speak of --input, which is called otherwise here."""
    try:
        return sources.load(source, directory, metadata=metadata)
    except UserError as error:
        raise UserError(str(error).replace("--input=", flag)) from error
