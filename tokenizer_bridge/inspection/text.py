"""The summary of a token dataset as text for a terminal."""

from collections.abc import Iterator, Mapping

from tokenizer_bridge.token_dataset.intervals import Estimate, interval_name

_BAR = 40  # characters of the longest bar
_MAX_TAGS = 8  # of a category


def as_text(summary: Mapping) -> str:
    return "\n".join(_lines(summary))


def _lines(summary: Mapping) -> Iterator[str]:
    codec = summary["codec"]
    yield summary["dataset"]
    yield (
        f"codec {codec['name']}: {codec['codebook_size']:,} codes, "
        f"{summary['tokens_per_second']:g} tokens/s, {codec['sample_rate']:,} Hz, "
        f"weights {codec['weights_sha256'][:12] or 'unknown'}"
    )
    if summary["origin"]:
        yield "origin " + ", ".join(f"{key}={value}" for key, value in summary["origin"].items())
    for name, split in summary["splits"].items():
        yield ""
        yield from _split(name, split)
    yield ""
    yield from _duplicates(summary["duplicates"])
    if summary["warnings"]:
        yield ""
        yield "look into"
        yield from (f"  {line}" for line in summary["warnings"])


def _split(name: str, split: Mapping) -> Iterator[str]:
    artists, codebook, repeats = split["artists"], split["codebook"], split["repeats"]
    yield f"{name}: {split['tracks']:,} tracks, {split['hours']:.2f} h, {split['tokens']:,} tokens"
    text = f"{artists['known']:,} known, {artists['tracks_without']:,} tracks without"
    if artists["largest"]:
        largest = artists["largest"]
        text += f"; largest {largest['artist']} with {largest['share_of_tokens']:.1%} of the tokens"
    yield _row("artists", text)
    yield _row(
        "codebook",
        f"{codebook['codes_used']:,} codes used ({codebook['share_used']:.1%}), perplexity "
        f"{codebook['perplexity']:,.0f}; most common "
        + ", ".join(f"{c['code']} ({c['share']:.2%})" for c in codebook["most_common"][:3]),
    )
    yield from _bits(split["bits"])
    yield _row(
        "repeats",
        f"{repeats['share_equal_to_previous']:.2%} of tokens equal the one before "
        f"({repeats['by_chance']:.2%} by chance)",
    )
    run, runs = repeats["longest_run"], repeats["long_runs"]
    yield _row(
        "runs",
        f"longest {run['tokens']} tokens ({run['seconds']:.2f} s of code {run['code']}) in "
        f"{run['track']} at {run['start_s']:.1f} s; {runs['count']:,} of {runs['at_least_s']:g} s "
        f"or more hold {runs['share_of_tokens']:.2%} of the tokens",
    )
    lengths = split["lengths_s"]
    yield _row(
        "lengths",
        f"{lengths['min']:.1f} to {lengths['max']:.1f} s, median {lengths['median']:.1f}, mean "
        f"{lengths['mean']:.1f}",
    )
    yield from _histogram(lengths["histogram"])
    yield from _tags(split)


def _bits(bits: Mapping) -> Iterator[str]:
    """Plug-in ≤ truth ≤ held-out, but for the chance of which tracks are held out."""
    unigram, bigram, held = bits["unigram"], bits["bigram"], bits["held_out"]
    yield _row("bits per token", f"{bits['uniform']:.3f} if all codes were equally likely")
    yield _row(
        "  unigram",
        f"{unigram['plug_in']:.3f} plug-in (too low), about {unigram['miller_madow']:.3f} "
        "(Miller-Madow)",
    )
    if bigram:
        yield _row(
            "  given the last",
            f"{bigram['plug_in']:.3f} plug-in (too low), {bigram['miller_madow']:.3f} Miller-Madow "
            f"(too low while pairs are few: {bigram['pairs']:,}, {bigram['distinct_pairs']:,} of "
            "them distinct)",
        )
    if held:
        pairs = "" if held["bigram"] is None else f", bigram {with_interval(held['bigram'])}"
        yield _row(
            "  held out",
            f"unigram {with_interval(held['unigram'])}{pairs} (too high but for chance): "
            f"{held['measured_on']}, models of {held['fitted_on']}; {interval_of(held)}",
        )


def with_interval(figure: Mapping) -> str:
    """A mean and, where it is known, half of its interval."""
    return Estimate.from_json(figure).text(".3f", ".3f")


def interval_of(held: Mapping) -> str:
    """The words for what stands behind the ± of held-out costs."""
    known = held["unigram"]["interval_95_by_artist"] is not None
    name = interval_name(held["unigram"]["num_artists"])
    return f"±: half of the {name}" if known else f"no {name}"


def _histogram(histogram: Mapping) -> Iterator[str]:
    edges, counts = histogram["edges_s"], histogram["tracks"]
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        bar = "█" * -(-_BAR * count // max(counts))
        yield f"    {low:8.1f} – {high:8.1f} s {count:7,} {bar}"


def _tags(split: Mapping) -> Iterator[str]:
    for category, tags in split["tags"].items():
        common = list(tags.items())[:_MAX_TAGS]
        text = ", ".join(f"{tag} {count:,}" for tag, count in common)
        more = f", … {len(tags):,} in all" if len(tags) > len(common) else ""
        yield _row(f"tags {category}".strip(), text + more)
    if split["tags"] and split["tracks_without_tags"]:
        yield _row("", f"{split['tracks_without_tags']:,} tracks have no tags")


def _duplicates(duplicates: Mapping) -> Iterator[str]:
    equal, ngrams = duplicates["equal_tracks"], duplicates["ngrams"]
    yield "all splits"
    yield _row(
        "equal tracks",
        f"{equal['tracks']:,} (groups: {equal['groups']:,}, across splits: "
        f"{equal['groups_across_splits']:,})"
        if equal["groups"]
        else "none",
    )
    for group in equal["examples"]:
        yield _row("", " = ".join(f"{place['track']} ({place['split']})" for place in group))
    if ngrams["share_repeated"] is not None:
        sampled = "" if ngrams["one_in"] == 1 else f", one in {ngrams['one_in']}"
        longest = "; the longest:" if duplicates["stretches"] else ""
        yield _row(
            "stretches",
            f"{ngrams['share_repeated']:.3%} of all stretches of {ngrams['tokens']} tokens occur "
            f"more than once ({ngrams['looked_at']:,} looked at{sampled}){longest}",
        )
    for stretch in duplicates["stretches"]:
        places = [
            f"{place['track']} ({place['split']}) at {place['start_s']:.1f} s"
            for place in (stretch["first"], stretch["second"])
        ]
        yield _row("", f"{stretch['seconds']:.1f} s: {' and '.join(places)}")


def _row(name: str, text: str) -> str:
    return f"  {name:<18}{text}"
