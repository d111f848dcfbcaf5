"""A sentence on what a trained run would take to get further."""

from collections.abc import Mapping, Sequence
from typing import Any

from launch.listening.verdict import is_exact
from tokenizer_bridge.token_dataset.records import TokenDataset

_STANDS_STILL = 0.01  # bits per token, between two validations on the same windows and noise
_KEY = "validation_bits_per_token"


def outlook(
    curve: Sequence[Mapping[str, Any]],
    report: Mapping[str, Any],
    config: Mapping[str, Any],
    music: TokenDataset,
) -> str | None:
    """More steps or more music, by whether the cost of held-out music, or its bound, still falls.

    The number of steps is the least: it takes the pace between the last two validations, and
    training slows down. None for a run with fewer than two validations.

    curve: lines of the run's metrics. report: as sedd_jax.evaluate writes it. config: the run's.
    music: what it was trained on.
    """
    points = {row["step"]: row[_KEY] for row in curve if row.get(_KEY) is not None}
    if len(points) < 2:
        return None
    (before, higher), (last, lower) = sorted(points.items())[-2:]
    fell, steps = higher - lower, last - before
    tokens = int(music.lengths("train").sum())
    seconds = tokens * music.codec["hop_length"] / music.codec["sample_rate"]
    times = last * config["training"]["batch_size"] * config["model"]["length"] / tokens
    heard = f"After {last:,} steps, {times:.1f} times through {seconds / 60:,.1f} min of music"
    what = "cost" if is_exact(report) else "bound"
    if fell < _STANDS_STILL:
        return f"{heard}, its {what} no longer falls: it would take more music, not more steps."
    bits = {name: value["mean"] for name, value in report["bits_per_token"].items()}
    goals = [(f"the {name}'s figure", bits["model"] - bits[name]) for name in ("unigram", "bigram")]
    goal, gap = next((g for g in goals if g[1] > 0), ("half a bit less", 0.5))
    more = int(gap / fell * steps) + 1
    return (
        f"{heard}, its {what} still falls, by {fell:.2f} bits in the last {steps:,} steps: {goal} "
        f"would take at least {more:,} steps more."
    )
