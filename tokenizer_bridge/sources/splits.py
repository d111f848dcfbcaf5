"""The division of tracks into train, validation and test, in one of the WAYS.

`by_artist` is the default from five tracks on. The split of a track is then a hash of its artist,
or of its id where no artist is known: it does not change when tracks are added, and no two splits
share an artist. Small data sets need three exceptions, all deterministic:

1. One artist only: the name tells nothing apart, so the track ids decide as if it were unknown.
2. A split that the hash leaves empty takes one group (the tracks of an artist, or a lone track)
   from the split with the most tracks: train takes the largest group, validation and test the
   smallest, lowest hash first among equals.
3. Two groups fill train and validation only, one group train only.

Tracks that hold the same audio are never apart: the groups that they are in become one, which goes
by the least of their names. `by_track` is the same as if no artist were known.

With `within_track`, the default for fewer than five tracks, every track is learnt from but for its
end, which is validation: a tenth, 15 s at least and a quarter at most. There is no test split, and
what is measured is how well the model goes on with music that it knows. With `none`, all is train.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

SPLITS = ("train", "validation", "test")
WAYS = ("by_artist", "by_track", "within_track", "none")

_VALIDATION_SHARE, _TEST_SHARE = 0.05, 0.05
_FEW_TRACKS = 5  # of fewer, validation and test would take more than two fifths
_END_SHARE, _LEAST_END_S, _MOST_END_SHARE = 0.1, 15.0, 0.25


def split_of(key: str) -> str:
    """The split of an artist, or of a track id: a stable hash, 90 / 5 / 5 %."""
    share = _unit_hash(key)
    if share < _VALIDATION_SHARE:
        return "validation"
    return "test" if share < _VALIDATION_SHARE + _TEST_SHARE else "train"


def default_way(num_tracks: int) -> str:
    """The way in which so many tracks are divided where none is asked for."""
    return "by_artist" if num_tracks >= _FEW_TRACKS else "within_track"


def end_of_track(num_tokens: int, duration_s: float) -> int:
    """The number of a track's last tokens that are validation with `within_track`; 0 of 1."""
    share = max(_END_SHARE, min(_LEAST_END_S / duration_s, _MOST_END_SHARE))
    return min(max(1, round(share * num_tokens)), num_tokens - 1)


def assign_splits(
    artists: Mapping[str, str | None],
    contents: Mapping[str, str] = MappingProxyType({}),
    kept: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, str]:
    """The split of every track, from (track id -> artist or None), by the rules above.

    contents: track id -> a digest of the audio, where it is known. kept: track id -> the split of a
    track that has one already. It keeps it, and a new track goes with those of the same audio, else
    with most of those of its group, else by its hash.
    """
    known = {artist for artist in artists.values() if artist is not None}
    by_artist = len(known) > 1
    # An artist may be called like a track: the kind keeps their groups apart.
    groups = {
        track: ("artist", artist) if by_artist and artist is not None else ("track", track)
        for track, artist in artists.items()
    }  # track id -> group
    groups = _merged(groups, contents)
    if kept:
        return _grown(groups, contents, kept)
    sizes = Counter(groups.values())  # group -> tracks
    splits = {group: split_of(group[1]) for group in sizes}
    for needy in SPLITS[: len(sizes)]:
        if needy not in splits.values():
            _give_a_group(needy, splits, sizes)
    return {track: splits[group] for track, group in groups.items()}


def _grown(
    groups: Mapping[str, tuple], contents: Mapping[str, str], kept: Mapping[str, str]
) -> dict[str, str]:
    """The split of every track, where some have one already."""
    of_content = {contents[track]: kept[track] for track in kept if track in contents}
    counts = Counter((group, kept[track]) for track, group in groups.items() if track in kept)
    splits = {}
    for track, group in groups.items():
        most = max(SPLITS, key=lambda split: counts[group, split])
        of_group = most if counts[group, most] else split_of(group[1])
        splits[track] = kept.get(track) or of_content.get(contents.get(track)) or of_group
    return splits


def _merged(groups: Mapping[str, tuple], contents: Mapping[str, str]) -> dict[str, tuple]:
    """The groups of tracks, those that share a content made one: the least of them."""
    leads_to: dict[tuple, tuple] = {}

    def lead(group: tuple) -> tuple:
        while group in leads_to:
            group = leads_to[group]
        return group

    first: dict[str, tuple] = {}  # content -> a group that has it
    for track, content in contents.items():
        one, other = lead(groups[track]), lead(first.setdefault(content, groups[track]))
        if one != other:
            leads_to[max(one, other)] = min(one, other)
    return {track: lead(group) for track, group in groups.items()}


def _give_a_group(needy: str, splits: dict[tuple, str], sizes: Mapping[tuple, int]) -> None:
    """Move one group into the empty split `needy`, from the split with the most tracks."""
    tracks = Counter()
    for group, split in splits.items():
        tracks[split] += sizes[group]
    # A split's only group stays, unless the split itself is beyond what so few groups can fill.
    kept = SPLITS[: len(sizes)]
    counts = Counter(splits.values())
    donors = [split for split in counts if counts[split] > 1 or split not in kept]
    donor = max(donors, key=lambda split: (tracks[split], split))
    sign = -1 if needy == "train" else 1
    candidates = [group for group, split in splits.items() if split == donor]
    splits[min(candidates, key=lambda group: (sign * sizes[group], _unit_hash(group[1])))] = needy


def _unit_hash(key: str) -> float:
    """A number in [0, 1) that depends on the key alone."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
