"""Pictures of a run as data URLs, for a page that is whole in itself."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from matplotlib.figure import Figure

from tokenizer_bridge.pages.pictures import png

T = TypeVar("T")


def pick(items: Sequence[T], count: int) -> list[T]:
    """`count` of the items, evenly spread."""
    places = np.linspace(0, len(items) - 1, min(count, len(items)))
    return [items[i] for i in places.round().astype(int)]


def training_curve(rows: list[dict], report: dict | None) -> str:
    """Loss in bits per token over steps, with the baselines as lines."""
    fig = Figure(figsize=(8, 3.2))
    ax = fig.subplots()
    curves = {
        "training": ("nats_per_token", np.log(2)),
        "validation": ("validation_bits_per_token", 1.0),
    }
    for label, (key, unit) in curves.items():
        points = [(row["step"], row[key] / unit) for row in rows if row.get(key) is not None]
        if points:
            ax.plot(*zip(*points, strict=True), label=label, linewidth=1.2)
    if report:
        for key, style in (("unigram", "--"), ("bigram", ":")):
            value = report["bits_per_token"][key]["mean"]
            ax.axhline(value, color="grey", linestyle=style, linewidth=1, label=key)
    ax.set(xlabel="step", ylabel="bits per token")
    ax.legend(frameon=False, ncols=4)
    return png(fig)


def token_picture(codes: np.ndarray, order: np.ndarray) -> str:
    """One dot a code: time to the right, its place on the codebook's main axis upwards."""
    fig = Figure(figsize=(6, 1.2))
    ax = fig.subplots()
    ax.scatter(np.arange(len(codes)), order[codes], s=1.2, c=order[codes], cmap="viridis")
    ax.set(xlim=(0, len(codes)), ylim=(0, len(order)), xlabel="token", ylabel="code", yticks=[])
    return png(fig)
