"""The lines that tell what has come of an encoding."""

from collections.abc import Iterable

from tokenizer_bridge.encoding.division import FIRST_TOKEN
from tokenizer_bridge.encoding.job import FAILURES_FILE, EncodeJob, lacked_ffmpeg, read_failures
from tokenizer_bridge.sources.splits import SPLITS
from tokenizer_bridge.token_dataset.records import TokenDataset
from tokenizer_bridge.token_dataset.wording import counted, in_minutes_or_hours


def describe(job: EncodeJob, dataset: TokenDataset) -> str:
    """One or two lines on a dataset: what is in it, and what could not be used."""
    lengths = {split: dataset.lengths(split) for split in dataset.splits}
    tokens = sum(int(length.sum()) for length in lengths.values())
    length = in_minutes_or_hours(tokens * job.codec["hop_length"] / job.codec["sample_rate"])
    splits = ", ".join(f"{split} {len(length)}" for split, length in lengths.items())
    text = f"{job.output}: {length} of audio, {tokens:,} tokens; tracks: {splits}"
    if dataset.vectors:
        kinds = (f"{kind} of {width} numbers" for kind, width in dataset.vectors.items())
        text += f"; vectors: {', '.join(kinds)}"
    if (way := dataset.origin.get("splits")) == "within_track":
        text += (
            "\nvalidation is the end of every track, so that all are learnt from: it tells of the "
            "music that the model knows, and nothing of other music"
        )
    elif missing := [split for split in SPLITS if split not in lengths and way != "none"]:
        text += (
            f"\nno {' and no '.join(missing)} split: too few artists or tracks to set one apart "
            "(tokenizer_bridge/sources/splits.py)"
        )
    records = [
        (split, record.duration_s, record.source)
        for split in dataset.splits
        for record in dataset.records(split)
        if FIRST_TOKEN not in record.source  # the track is counted by its beginning
    ]
    alone = sum("channel" in source for _, _, source in records)
    if alone and job.preparation.channels == "mean":
        tracks = counted(alone, "track", "tracks")
        text += f"\n{tracks} whose channels cancel each other: the loudest one was taken"
    text += _equal_audio((split, source.get("audio", "")) for split, _, source in records)
    if job.cleaning is not None:
        figures = ((seconds, source["cleaning"]) for _, seconds, source in records)
        text += "".join(f"\n{line}" for line in job.cleaning.summary(figures))
    if failures := read_failures(job):
        first = failures[0]
        text += (
            f"\n{len(failures)} of {len(job.tracks)} files could not be used, the first is "
            f"{first['id']} ({first['reason']}): all are in {job.output / FAILURES_FILE}"
        )
        if late := sum(map(lacked_ffmpeg, failures)):
            text += f"\nffmpeg, which {late} of them need, is there now: encode anew to have them"
    return text


def _equal_audio(tracks: Iterable[tuple[str, str]]) -> str:
    """A line on tracks that hold the same audio, of (split, digest) each; empty without any."""
    splits_of: dict[str, list[str]] = {}
    for split, digest in tracks:
        splits_of.setdefault(digest, []).append(split)
    groups = [splits for digest, splits in splits_of.items() if digest and len(splits) > 1]
    if not groups:
        return ""
    across = sum(len(set(splits)) > 1 for splits in groups)
    place = f"{across} of these pairs or groups are across splits, which the source itself gives"
    copies = sum(map(len, groups)) - len(groups)
    return (
        f"\n{counted(copies, 'track is a copy', 'tracks are copies')} of others, to the sample: "
        + (place if across else "all are in the split of what they equal")
    )
