"""All that is worth knowing of a token dataset before training on it, as one JSON-able map.

    {dataset, codec, tokens_per_second, origin, warnings: [line, …],
     splits: {NAME: {
        tracks, tokens, hours,
        artists: {known, tracks_without, largest: {artist, share_of_tokens} | null},
        lengths_s: {min, median, mean, max, histogram: {edges_s, tracks}},
        codebook: {codes_used, share_used, perplexity, most_common: [{code, share}, …]},
        bits: {uniform, unigram: {plug_in, miller_madow},
               bigram: {plug_in, miller_madow, pairs, distinct_pairs} | null,
               held_out: {fitted_on, measured_on, tokens,
                          unigram: {mean, interval_95_by_artist: [low, high] | null, num_artists},
                          bigram: likewise | null} | null},
        repeats: {share_equal_to_previous, by_chance, longest_run: {track, start_s, tokens, seconds,
                  code}, long_runs: {at_least_s, count, share_of_tokens}},
        tags: {CATEGORY: {TAG: tracks}}, tracks_without_tags}},
     duplicates: {
        equal_tracks: {groups, tracks, groups_across_splits, examples: [[{split, track}, …], …]},
        ngrams: {tokens, looked_at, one_in, share_repeated | null},
        stretches: [{tokens, seconds, first: {split, track, start_s}, second: {…}}, …]}}

Shares are of 1. `bits` are per token; entropy.py says which of them are too low or too high.
"""

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from tokenizer_bridge.inspection import entropy
from tokenizer_bridge.inspection.concerns import concerns
from tokenizer_bridge.inspection.counts import CodeCounts, TrackCounts
from tokenizer_bridge.inspection.stretches import NGRAM, StretchFinder
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.intervals import artist_numbers, per_token
from tokenizer_bridge.token_dataset.records import Record, TokenDataset

TRAIN = "train"
LONG_RUN_S = 0.5  # a code held so long is silence, or a fault
_HELD_OUT_EVERY = 10  # tracks, where a split must be measured against itself
_MAX_BINS = 20
_NUM_STRETCHES = 10
_NUM_EXAMPLES = 10
_NUM_COMMON_CODES = 10


def summarise(dataset: TokenDataset, on_track: Callable[[], None] = lambda: None) -> dict:
    """The map of the module's docstring. Reads every record once, and the held-out ones
    and a few others again.

    on_track: called after each track. Raises UserError for a dataset without tracks, or damaged.
    """
    names = sorted(dataset.splits, key=lambda name: (name != TRAIN, name))
    places = [(name, i) for name in names for i in range(dataset.num_records(name))]
    if not places:
        raise UserError(f"{dataset.path} holds no tracks")
    num_codes = dataset.codec["codebook_size"]
    rate = dataset.codec["sample_rate"] / dataset.codec["hop_length"]
    num_tokens = sum(int(dataset.lengths(name).sum()) for name in names)
    finder = StretchFinder(num_tokens, num_codes)
    splits, artists = {}, {}
    train = None
    for name in names:
        codes, tracks = CodeCounts(num_codes), TrackCounts(round(LONG_RUN_S * rate))
        held = CodeCounts(num_codes) if len(names) == 1 and len(places) > 1 else None
        for index, record in enumerate(dataset.records(name)):
            codes.add(record.tokens)
            tracks.add(record)
            finder.add(record.tokens)
            if held is not None and index % _HELD_OUT_EVERY == 1:
                held.add(record.tokens)
            on_track()
        lengths = dataset.lengths(name)
        splits[name] = {
            "tracks": len(lengths),
            "tokens": int(lengths.sum()),
            "hours": float(lengths.sum() / rate / 3600),
            "artists": _artists(tracks, lengths.sum()),
            "lengths_s": _lengths(lengths / rate),
            "codebook": _codebook(codes.codes_V),
            "bits": _bits(codes),
            "repeats": _repeats(tracks, codes.codes_V, rate),
            "tags": {
                category: dict(tags.most_common()) for category, tags in sorted(tracks.tags.items())
            },
            "tracks_without_tags": tracks.tracks_without_tags,
        }
        bits = splits[name]["bits"]
        if held is not None:
            fitted_on, measured_on = f"9 of 10 tracks of {name}", f"every tenth track of {name}"
            held_out = range(1, len(lengths), _HELD_OUT_EVERY)
            tracks_again = (dataset.read(name, index) for index in held_out)
            bits["held_out"] = _held_out(codes.without(held), tracks_again, fitted_on, measured_on)
        elif name != TRAIN and train is not None:
            bits["held_out"] = _held_out(train, dataset.records(name), TRAIN, name)
        if name == TRAIN:
            train = codes
        artists[name] = set(tracks.tokens_by_artist)
    summary = {
        "dataset": str(dataset.path),
        "codec": dataset.codec,
        "tokens_per_second": rate,
        "origin": dataset.origin,
        "splits": splits,
        "duplicates": _duplicates(dataset, finder, places, rate),
    }
    return summary | {"warnings": concerns(summary, artists)}


def _artists(tracks: TrackCounts, num_tokens: int) -> dict:
    largest = None
    if tracks.tokens_by_artist:
        artist, tokens = tracks.tokens_by_artist.most_common(1)[0]
        largest = {"artist": artist, "share_of_tokens": float(tokens / num_tokens)}
    return {
        "known": len(tracks.tokens_by_artist),
        "tracks_without": tracks.tracks_without_artist,
        "largest": largest,
    }


def _lengths(seconds_N: np.ndarray) -> dict:
    bins = 1 if np.ptp(seconds_N) == 0 else min(_MAX_BINS, math.ceil(math.sqrt(len(seconds_N))))
    counts, edges = np.histogram(seconds_N, bins)
    return {
        "min": float(seconds_N.min()),
        "median": float(np.median(seconds_N)),
        "mean": float(seconds_N.mean()),
        "max": float(seconds_N.max()),
        "histogram": {"edges_s": edges.tolist(), "tracks": counts.tolist()},
    }


def _codebook(codes_V: np.ndarray) -> dict:
    common = np.argsort(-codes_V, kind="stable")[:_NUM_COMMON_CODES]
    return {
        "codes_used": int(np.count_nonzero(codes_V)),
        "share_used": float(np.count_nonzero(codes_V) / len(codes_V)),
        "perplexity": float(2 ** entropy.plug_in(codes_V)),
        "most_common": [
            {"code": int(code), "share": float(codes_V[code] / codes_V.sum())}
            for code in common
            if codes_V[code]
        ],
    }


def _bits(codes: CodeCounts) -> dict:
    bits = {
        "uniform": float(np.log2(len(codes.codes_V))),
        "unigram": {
            "plug_in": entropy.plug_in(codes.codes_V),
            "miller_madow": entropy.miller_madow(codes.codes_V),
        },
        "bigram": None,
        "held_out": None,
    }
    if codes.pairs_VxV is not None and codes.pairs_VxV.any():
        bits["bigram"] = {
            "plug_in": entropy.conditional_plug_in(codes.pairs_VxV),
            "miller_madow": entropy.conditional_miller_madow(codes.pairs_VxV),
            "pairs": int(codes.pairs_VxV.sum(dtype=np.int64)),
            "distinct_pairs": int(np.count_nonzero(codes.pairs_VxV)),
        }
    return bits


def _held_out(fit: CodeCounts, records: Iterable[Record], fitted_on: str, measured_on: str) -> dict:
    """The cost of tracks under models of the counts `fit`."""
    model = entropy.CodeModel(fit.codes_V, fit.pairs_VxV)
    artists, lengths, unigram, bigram = [], [], [], []
    for record in records:
        tokens_L = record.tokens
        artists.append(record.artist)
        lengths.append(len(tokens_L))
        unigram.append(model.unigram_bits(tokens_L))
        bigram.append(0.0 if fit.pairs_VxV is None else model.bigram_bits(tokens_L))
    pairs_N, artist_N = np.array(lengths) - 1, artist_numbers(artists)
    paired = fit.pairs_VxV is not None and pairs_N.any()
    return {
        "fitted_on": fitted_on,
        "measured_on": measured_on,
        "tokens": sum(lengths),
        "unigram": per_token(unigram, lengths, artist_N).as_json(),
        "bigram": per_token(bigram, pairs_N, artist_N).as_json() if paired else None,
    }


def _repeats(tracks: TrackCounts, codes_V: np.ndarray, rate: float) -> dict:
    run = tracks.longest_run
    share_V = codes_V / codes_V.sum()
    return {
        "share_equal_to_previous": tracks.num_repeats / max(1, tracks.num_pairs),
        "by_chance": float((share_V**2).sum()),
        "longest_run": {
            "track": run.track,
            "start_s": run.start / rate,
            "tokens": run.length,
            "seconds": run.length / rate,
            "code": run.code,
        },
        "long_runs": {
            "at_least_s": LONG_RUN_S,
            "count": tracks.num_long_runs,
            "share_of_tokens": float(tracks.tokens_in_long_runs / codes_V.sum()),
        },
    }


def _duplicates(
    dataset: TokenDataset, finder: StretchFinder, places: Sequence[tuple[str, int]], rate: float
) -> dict:
    def name(track: int) -> dict:
        split, index = places[track]
        return {"split": split, "track": dataset.read(split, index).id}

    groups = finder.equal_tracks()
    across = sum(len({places[track][0] for track in group}) > 1 for group in groups)
    looked_at, repeated, stretches = finder.repeated(
        lambda track: dataset.read(*places[track]).tokens, _NUM_STRETCHES
    )
    return {
        "equal_tracks": {
            "groups": len(groups),
            "tracks": sum(map(len, groups)),
            "groups_across_splits": across,
            "examples": [
                [name(track) for track in group[:_NUM_EXAMPLES]] for group in groups[:_NUM_EXAMPLES]
            ],
        },
        "ngrams": {
            "tokens": NGRAM,
            "looked_at": looked_at,
            "one_in": finder.one_in,
            "share_repeated": repeated / looked_at if looked_at else None,
        },
        "stretches": [
            {
                "tokens": stretch.length,
                "seconds": stretch.length / rate,
                "first": name(stretch.first[0]) | {"start_s": stretch.first[1] / rate},
                "second": name(stretch.second[0]) | {"start_s": stretch.second[1] / rate},
            }
            for stretch in stretches
        ],
    }
