"""Amounts in summaries: a unit that suits them, and words that agree."""

from tokenizer_bridge.token_dataset.wording import counted, in_minutes_or_hours


def test_less_than_an_hour_is_minutes():
    assert in_minutes_or_hours(78.0) == "1.3 min"
    assert in_minutes_or_hours(5.0, 3599.0) == "0.1 of 60.0 min"
    assert in_minutes_or_hours(5.0, 3600.0) == "0.00 of 1.00 h"
    assert in_minutes_or_hours(1800.0, 10_800.0) == "0.50 of 3.00 h"


def test_one_is_singular():
    assert counted(1, "track is", "tracks are") == "1 track is"
    assert counted(0, "track is", "tracks are") == "0 tracks are"
    assert counted(55_701, "track", "tracks") == "55,701 tracks"
