"""Pictures and sounds as data URLs, for pages that are whole in themselves."""

import base64
import io
from collections.abc import Sequence
from typing import TypeVar

import matplotlib
import numpy as np
import soundfile

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (the backend must be chosen first)

T = TypeVar("T")


def pick(items: Sequence[T], count: int) -> list[T]:
    """`count` of the items, evenly spread."""
    places = np.linspace(0, len(items) - 1, min(count, len(items)))
    return [items[i] for i in places.round().astype(int)]


def training_curve(rows: list[dict], report: dict | None) -> str:
    """Loss in bits per token over steps, with the baselines as lines."""
    fig, ax = plt.subplots(figsize=(8, 3.2))
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
    return picture(fig)


def spectrogram(samples: np.ndarray, rate: int) -> str:
    """dB magnitudes over time, up to half the sample rate."""
    fig, ax = plt.subplots(figsize=(6, 1.9))
    safe = np.pad(samples, (0, max(0, 1024 - len(samples))))
    ax.specgram(safe + 1e-9, NFFT=1024, Fs=rate, noverlap=768, cmap="magma", vmin=-120, vmax=-30)
    ax.set(xlabel="s", ylabel="Hz")
    return picture(fig)


def token_picture(codes: np.ndarray, order: np.ndarray) -> str:
    """One dot a code: time to the right, its place on the codebook's main axis upwards."""
    fig, ax = plt.subplots(figsize=(6, 1.2))
    ax.scatter(np.arange(len(codes)), order[codes], s=1.2, c=order[codes], cmap="viridis")
    ax.set(xlim=(0, len(codes)), ylim=(0, len(order)), xlabel="token", ylabel="code", yticks=[])
    return picture(fig)


def picture(fig) -> str:
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=90, bbox_inches="tight")
    plt.close(fig)
    return data_url(buffer.getvalue(), "image/png")


def player(samples: np.ndarray, rate: int) -> str:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(samples, -1, 1), rate, format="FLAC", subtype="PCM_16")
    return data_url(buffer.getvalue(), "audio/flac")


def data_url(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
