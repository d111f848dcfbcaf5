"""The split that each track goes to, whole or in parts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from tokenizer_bridge.sources import Track
from tokenizer_bridge.sources.splits import assign_splits, default_way, end_of_track
from tokenizer_bridge.token_dataset.records import Record

FIRST_TOKEN = "first_token"  # in a record's source: where in its track the record begins


@dataclass(frozen=True)
class Division:
    """The split of every track.

    splits: track id → split; way: one of the WAYS, or None for the source's own splits; origin:
    what dataset.json says of it, where it is not the usual one.
    """

    splits: Mapping[str, str]
    way: str | None
    origin: Mapping[str, str]

    def parts(self, record: Record) -> Iterator[tuple[str, Record]]:
        """(split, record) of a track: the whole, or its beginning and its end."""
        num_tokens = len(record.tokens)
        end = end_of_track(num_tokens, record.duration_s) if self.way == "within_track" else 0
        if not end:
            yield self.splits[record.id], record
            return
        first = num_tokens - end
        first_s = record.duration_s * first / num_tokens
        yield "train", replace(record, tokens=record.tokens[:first], duration_s=first_s)
        yield (
            "validation",
            replace(
                record,
                tokens=record.tokens[first:],
                duration_s=record.duration_s - first_s,
                source=dict(record.source) | {FIRST_TOKEN: first},
            ),
        )


def divide(
    tracks: Sequence[Track],
    contents: Mapping[str, str],
    way: str | None,
    kept: Mapping[str, str] = MappingProxyType({}),
    kept_way: str | None = None,
) -> Division:
    """Divide tracks in a way, by default that of their source, or of sources/splits.py.

    contents: track id → digest of its audio. kept, kept_way: the splits of tracks that have them
    already and keep them, and the way that they came of, which is the default then.
    """
    # A source gives splits to all of its tracks or to none.
    official = {track.id: track.split for track in tracks if track.split is not None}
    if way is None and official:
        return Division(official, None, {})
    origin = {}
    if way is None and (way := kept_way or default_way(len(tracks))) != "by_artist":
        origin = {"splits": way}
    if way in ("within_track", "none"):
        return Division({track.id: "train" for track in tracks}, way, origin)
    artists = {track.id: track.artist if way == "by_artist" else None for track in tracks}
    return Division(assign_splits(artists, contents, kept), way, origin)
