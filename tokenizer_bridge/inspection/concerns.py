"""The points of a summary that one should look into before training, each in one line."""

from collections.abc import Mapping

# From where on a figure is worth a line.
_LONG_RUNS_SHARE = 0.01
_REPEATED_SHARE = 0.05
_CODES_USED_SHARE = 0.5
_ARTIST_SHARE = 0.5


def concerns(summary: Mapping, artists: Mapping[str, set[str]]) -> list[str]:
    """The lines. summary: of summary.py, but for its warnings; artists: of each split."""
    lines = []
    for name, split in summary["splits"].items():
        lines += _of_split(name, split)
    few = [name for name, split in summary["splits"].items() if _has_few_pairs(split)]
    if few:
        lines.append(
            f"{', '.join(few)}: fewer pairs of tokens than pairs of codes, so that the bigram "
            "entropies estimated on themselves are far too low; the held-out one is a bound"
        )
    names = list(artists)
    for i, name in enumerate(names):
        for other in names[i + 1 :]:
            if shared := sorted(artists[name] & artists[other]):
                lines.append(
                    f"{name} and {other} share {len(shared)} artists, the first {shared[0]!r}"
                )
    duplicates = summary["duplicates"]
    equal = duplicates["equal_tracks"]
    if equal["groups"]:
        lines.append(
            f"{equal['tracks']} tracks are equal to others, token by token (groups: "
            f"{equal['groups']}, across splits: {equal['groups_across_splits']})"
        )
    share = duplicates["ngrams"]["share_repeated"]
    if share is not None and share > _REPEATED_SHARE:
        lines.append(
            f"{share:.1%} of all stretches of {duplicates['ngrams']['tokens']} tokens occur more "
            "than once: duplicates or loops"
        )
    return lines


def _of_split(name: str, split: Mapping) -> list[str]:
    lines = []
    runs, codebook = split["repeats"]["long_runs"], split["codebook"]
    if runs["share_of_tokens"] > _LONG_RUNS_SHARE:
        lines.append(
            f"{name}: {runs['share_of_tokens']:.1%} of the tokens lie in runs of one code for "
            f"{runs['at_least_s']:g} s or more: silence, or stuck"
        )
    possible = min(_num_codes(split), split["tokens"])
    if codebook["codes_used"] < _CODES_USED_SHARE * possible:
        lines.append(f"{name}: only {codebook['share_used']:.1%} of the codes occur")
    largest = split["artists"]["largest"]
    if largest and split["artists"]["known"] > 2 and largest["share_of_tokens"] > _ARTIST_SHARE:
        lines.append(
            f"{name}: {largest['share_of_tokens']:.0%} of the tokens are by one artist, "
            f"{largest['artist']!r}"
        )
    return lines


def _has_few_pairs(split: Mapping) -> bool:
    bigram = split["bits"]["bigram"]
    return bool(bigram) and bigram["pairs"] < _num_codes(split) ** 2


def _num_codes(split: Mapping) -> int:
    return round(2 ** split["bits"]["uniform"])
