"""The figures of a dataset whose every figure is known, and what is said about them."""

import numpy as np
import pytest

from tokenizer_bridge.inspection.summary import summarise
from tokenizer_bridge.inspection.text import as_text
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.records import Record, TokenDataset, TokenDatasetWriter

CODEC = {
    "name": "toy", "weights_sha256": "0" * 64, "sample_rate": 1000, "hop_length": 100,
    "codebook_size": 16,
}  # fmt: skip


def write(path, **splits: list[Record]) -> TokenDataset:
    with TokenDatasetWriter(path, CODEC, {"source": "test"}) as writer:
        for split, records in splits.items():
            for record in records:
                writer.write(split, record)
    return TokenDataset(path)


def record(name: str, tokens, **more) -> Record:
    return Record(name, np.asarray(tokens, np.uint16), len(tokens) / 10, **more)


def random_record(name: str, length: int, **more) -> Record:
    rng = np.random.default_rng(sum(map(ord, name)))
    return record(name, rng.integers(0, 16, length), **more)


def test_every_figure_of_a_small_dataset(tmp_path):
    tags = ("genre---rock", "mood/theme---dark", "live")
    dataset = write(
        tmp_path / "tokens",
        train=[
            record("a", [0, 0, 1, 1, 2, 3] * 10, artist="x", tags=tags),
            record("b", [4] * 8 + [5, 6], artist="y", tags=("genre---rock",)),
            record("c", [7, 8]),
        ],
        validation=[random_record("d", 300, artist="z")],
    )
    told = []
    summary = summarise(dataset, lambda: told.append(1))
    assert len(told) == 4
    train = summary["splits"]["train"]
    assert (train["tracks"], train["tokens"]) == (3, 72)
    assert train["hours"] == pytest.approx(7.2 / 3600)
    assert train["artists"] == {
        "known": 2, "tracks_without": 1, "largest": {"artist": "x", "share_of_tokens": 60 / 72},
    }  # fmt: skip
    assert train["lengths_s"]["median"] == pytest.approx(1.0)
    assert sum(train["lengths_s"]["histogram"]["tracks"]) == 3
    assert train["codebook"]["codes_used"] == 9
    assert train["codebook"]["most_common"][0] == {"code": 0, "share": 20 / 72}
    assert np.log2(train["codebook"]["perplexity"]) == pytest.approx(
        train["bits"]["unigram"]["plug_in"]
    )
    assert train["bits"]["bigram"]["pairs"] == 72 - 3  # none across tracks
    assert train["repeats"]["share_equal_to_previous"] == pytest.approx((20 + 7) / 69)
    assert train["repeats"]["longest_run"] == {
        "track": "b", "start_s": 0.0, "tokens": 8, "seconds": 0.8, "code": 4,
    }  # fmt: skip
    assert train["repeats"]["long_runs"] == {
        "at_least_s": 0.5, "count": 1, "share_of_tokens": 8 / 72,
    }  # fmt: skip
    assert train["tags"] == {"": {"live": 1}, "genre": {"rock": 2}, "mood/theme": {"dark": 1}}
    assert train["tracks_without_tags"] == 1
    held = summary["splits"]["validation"]["bits"]["held_out"]
    assert (held["fitted_on"], held["tokens"]) == ("train", 300)
    assert held["unigram"]["mean"] > 4  # dearer than knowing nothing: the splits are unlike
    assert "11.1% of the tokens lie in runs of one code" in " ".join(summary["warnings"])


def test_splits_that_share_artists_or_tracks_are_told(tmp_path):
    twin = random_record("twin", 400, artist="x")
    dataset = write(
        tmp_path / "tokens",
        train=[random_record("a", 500, artist="x"), random_record("b", 500, artist="y")],
        test=[twin],
        validation=[record("other name", twin.tokens, artist="z")],
    )
    summary = summarise(dataset)
    assert summary["duplicates"]["equal_tracks"]["groups_across_splits"] == 1
    warnings = "\n".join(summary["warnings"])
    assert "train and test share 1 artists, the first 'x'" in warnings
    assert "2 tracks are equal to others" in warnings
    assert "twin (test) = other name (validation)" in as_text(summary)


def test_a_split_alone_is_measured_against_its_own_tracks(tmp_path):
    dataset = write(
        tmp_path / "tokens", generated=[random_record(f"s{i}", 4_000) for i in range(12)]
    )
    bits = summarise(dataset)["splits"]["generated"]["bits"]
    assert bits["held_out"]["tokens"] == 8_000  # tracks 1 and 11
    assert bits["held_out"]["measured_on"] == "every tenth track of generated"
    # Uniform over 16 codes: 4 bits, by every estimator that is not starved of tokens.
    for value in (bits["unigram"]["plug_in"], bits["bigram"]["miller_madow"]):
        assert value == pytest.approx(4, abs=0.01)
    assert 4 < bits["held_out"]["bigram"]["mean"] < 4.02
    low, high = bits["held_out"]["bigram"]["interval_95_by_artist"]
    assert low < bits["held_out"]["bigram"]["mean"] < high < low + 0.5
    assert bits["held_out"]["bigram"]["num_artists"] == 2


def test_held_out_costs_count_artists_not_tracks(tmp_path):
    tracks = [random_record(f"v{i}", 300, artist="z" if i > 1 else "y") for i in range(6)]
    dataset = write(tmp_path / "tokens", train=[random_record("a", 500)], validation=tracks)
    summary = summarise(dataset)
    assert summary["splits"]["validation"]["bits"]["held_out"]["unigram"]["num_artists"] == 2
    assert "half of the 95% interval, by artist (G = 2)" in as_text(summary)
    dataset = write(tmp_path / "one", train=[random_record("a", 500)], validation=tracks[2:])
    assert "no 95% interval, by artist (G = 1)" in as_text(summarise(dataset))


def test_one_track_and_tracks_of_one_token(tmp_path):
    one = summarise(write(tmp_path / "one", train=[record("a", [3])]))
    bits = one["splits"]["train"]["bits"]
    assert bits["bigram"] is None and bits["held_out"] is None
    assert one["duplicates"]["ngrams"]["share_repeated"] is None
    assert "1 tracks" in as_text(one)


def test_an_empty_dataset_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no tracks"):
        summarise(write(tmp_path / "tokens"))
