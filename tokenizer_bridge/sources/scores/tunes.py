"""Scores that are versions of one tune."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from tokenizer_bridge.sources.scores.score import Score

_GRAM = 8  # intervals
_SHARED = 0.3  # of the shorter melody's grams


def tune_names(scores: Sequence[Score]) -> list[str]:
    """The tune of each score, named by the id of the first score that is a version of it.

    Two melodies are versions of one tune if they share at least 30% of the shorter one's different
    runs of eight intervals. Intervals do not change with key or tempo. It is transitive: a version
    of a version is one too.
    """
    grams = [_grams(score) for score in scores]
    holders = defaultdict(list)
    for index, own in enumerate(grams):
        for gram in own:
            holders[gram].append(index)
    shared = Counter()
    for indices in holders.values():
        shared.update((a, b) for i, a in enumerate(indices) for b in indices[i + 1 :])
    parent = list(range(len(scores)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for (a, b), count in sorted(shared.items()):
        if count >= _SHARED * min(len(grams[a]), len(grams[b])):
            low, high = sorted((root(a), root(b)))
            parent[high] = low
    return [scores[root(index)].id for index in range(len(scores))]


def _grams(score: Score) -> set[tuple[int, ...]]:
    pitches = [note.pitch for note in score.melody()]
    steps = [b - a for a, b in zip(pitches, pitches[1:], strict=False)]
    return {tuple(steps[i : i + _GRAM]) for i in range(len(steps) - _GRAM + 1)}
