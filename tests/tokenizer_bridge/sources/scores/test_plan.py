"""Which performances make a corpus, and how each is played."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from tests.tokenizer_bridge.sources.scores.toy_scores import chorale, tune
from tokenizer_bridge.sources.scores.performance import (
    INSTRUMENTS,
    KEYS,
    LEAD_S,
    MAX_S,
    perform,
    soundings,
    transpositions,
)
from tokenizer_bridge.sources.scores.plan import plan
from tokenizer_bridge.sources.scores.score import Note, Score

SCORES = [tune(i, genre) for i, genre in enumerate(["reel"] * 9 + ["jig"] * 4)]
SCORES += [chorale(i) for i in range(4)]


def test_fewer_hours_are_the_beginning_of_more():
    more = plan(SCORES, 0.5, seed=1)
    assert plan(SCORES, 0.2, seed=1) == more[: len(plan(SCORES, 0.2, seed=1))]
    assert 0.5 <= sum(p.seconds + LEAD_S for p in more) / 3600 < 0.5 + MAX_S / 3600
    assert plan(SCORES, 0.2, seed=2) != plan(SCORES, 0.2, seed=1)


def test_a_score_comes_again_when_all_have_come_and_then_on_another_instrument():
    reels = [p for p in plan(SCORES, 0.7, seed=0) if p.score.genre == "reel"]
    assert len(reels) > 18
    for first in range(0, 18, 9):
        assert len({p.score.id for p in reels[first : first + 9]}) == 9
    for score in SCORES[:9]:
        played_on = [p.instrument.name for p in reels if p.score is score]
        assert len(set(played_on[:6])) == min(len(played_on), 6)


def test_instruments_keys_and_tempi_are_even_and_no_genre_in_excess():
    performances = plan(SCORES, 4, seed=0)
    tunes = [p for p in performances if p.score.genre != "chorale"]
    on = Counter(p.instrument.name for p in tunes)
    assert set(on) == {i.name for i in INSTRUMENTS}
    assert max(on.values()) <= 1.2 * min(on.values())
    assert {p.instrument.chorales for p in performances if p.score.genre == "chorale"} == {True}
    assert set(Counter(p.key for p in tunes)) == set(KEYS)
    tempi = Counter(p.tempo for p in tunes)
    assert max(tempi.values()) <= 1.1 * min(tempi.values())
    seconds = Counter()
    for p in performances:
        seconds[p.score.genre] += p.seconds
    assert seconds["reel"] / seconds["jig"] == pytest.approx((9 / 4) ** 0.5, rel=0.05)


@pytest.mark.parametrize("instrument", INSTRUMENTS, ids=lambda i: i.name)
def test_a_piece_lies_within_the_instruments_range_in_every_key(instrument):
    score = tune(3)
    steps = transpositions(score, instrument)
    assert len({step % 12 for step in steps}) == len(steps) == 12
    for key in range(12):
        performance = perform(score, instrument, key, 5.0, "slow")
        pitches = [n.pitch for n in soundings(performance, np.random.default_rng(key))]
        assert instrument.low <= min(pitches) and max(pitches) <= instrument.high
        written = [n.pitch for n in sorted(score.notes, key=lambda note: note.onset)]
        assert np.ptp(np.subtract(pitches, written)) == 0


def test_a_score_that_is_too_wide_is_not_planned():
    wide = Score(
        "wide", "", "reel", "2/4", 2.0, 0.0, 0, "major",
        tuple(Note(float(i), 1.0, 30 + 70 * (i % 2)) for i in range(32)),
    )  # fmt: skip
    assert all(perform(wide, i, 0, 5.0, "slow") is None for i in INSTRUMENTS)
    assert plan([wide], 1, seed=0) == []


def test_the_pace_is_notes_of_the_highest_voice_a_second():
    performance = perform(chorale(0), INSTRUMENTS[0], 0, 1.6, "fast")
    assert performance.seconds == pytest.approx(16 / 1.6)
    assert perform(tune(0), INSTRUMENTS[0], 0, 4.0, "slow").seconds == pytest.approx(64 / 4.0)


def test_tags_say_what_is_played():
    performance = perform(tune(0), INSTRUMENTS[3], 0, 5.0, "slow")
    expected = KEYS[(2 + performance.transposition) % 12]
    assert performance.tags() == [
        "instrument---flute", "genre---reel", f"key---{expected}", "mode---major",
        "metre---2/4", "tempo---slow",
    ]  # fmt: skip


def test_playing_is_uneven_by_milliseconds_and_louder_on_the_beat():
    performance = perform(tune(0), INSTRUMENTS[0], 0, 5.0, "slow")
    played = [soundings(performance, np.random.default_rng(seed)) for seed in range(20)]
    starts = np.array([[n.start_s for n in notes] for notes in played])
    off = starts - LEAD_S - np.arange(64) / 5.0
    assert 0.002 < off[:, 1:].std() < 0.01 and np.abs(off).max() < 0.02
    velocity = np.array([[n.velocity for n in notes] for notes in played]).mean(axis=0)
    assert velocity[::4].mean() > velocity[1::2].mean() + 5
    assert all(a.end_s <= b.start_s + 0.03 for a, b in pairwise(played[0]))


def test_a_long_piece_ends_after_two_minutes():
    performance = perform(tune(0, length=1000), INSTRUMENTS[0], 0, 5.0, "slow")
    played = soundings(performance, np.random.default_rng(0))
    assert performance.seconds < MAX_S
    assert max(n.end_s for n in played) <= LEAD_S + performance.seconds
    assert len(played) < 600
