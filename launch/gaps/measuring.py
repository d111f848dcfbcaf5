"""Distances of repairs to what was there, with intervals by artist.

Letters: N clips, T samples, D values of an embedding.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from launch.gaps.cases import Case
from tokenizer_bridge.audio.resample import resample
from tokenizer_bridge.fad.embeddings import Embedding
from tokenizer_bridge.repairs.spectral_distance import log_spectral_distance
from tokenizer_bridge.token_dataset.intervals import artist_numbers, mean_by_artist


def measure(
    original_NxT: np.ndarray,
    repairs: dict[str, np.ndarray],
    case: Case,
    sample_rate: int,
    embedding: Embedding,
    artists_N: Sequence[str | None],
) -> dict[str, dict[str, Any]]:
    """Name of a repair → "lsd_db", and "embedding" unless clips are too short for one.

    Each is a mean over clips with its interval. "embedding" is the cosine distance, 0 to 2, of the
    window of the embedding in whose middle the gap lies.
    """
    real_NxD = _embed(original_NxT, case, sample_rate, embedding)
    artist_N = artist_numbers(artists_N)
    found: dict[str, dict[str, Any]] = {}
    for name, repaired_NxT in repairs.items():
        lsd_N = [
            log_spectral_distance(original_T, repaired_T, case.begin, case.end)
            for original_T, repaired_T in zip(original_NxT, repaired_NxT, strict=True)
        ]
        found[name] = {"lsd_db": _estimate(np.array(lsd_N), artist_N)}
        if real_NxD is not None:
            repaired_NxD = _embed(repaired_NxT, case, sample_rate, embedding)
            found[name]["embedding"] = _estimate(_cosine_distance(real_NxD, repaired_NxD), artist_N)
    return found


def _embed(
    audio_NxT: np.ndarray, case: Case, sample_rate: int, embedding: Embedding
) -> np.ndarray | None:
    """Vectors (N, D) of the window around the gap; None for clips shorter than a window."""
    window = embedding.min_samples
    at_rate_NxT = np.stack(
        [resample(audio_T, sample_rate, embedding.info.sample_rate) for audio_T in audio_NxT]
    )
    if at_rate_NxT.shape[1] < window:
        return None
    middle = (case.begin + case.end) / 2 / sample_rate * embedding.info.sample_rate
    start = int(np.clip(middle - window / 2, 0, at_rate_NxT.shape[1] - window))
    vectors_NxWxD = embedding.embed(torch.from_numpy(at_rate_NxT[:, start : start + window]))
    return vectors_NxWxD[:, 0].numpy()


def _cosine_distance(a_NxD: np.ndarray, b_NxD: np.ndarray) -> np.ndarray:
    norms_N = np.linalg.norm(a_NxD, axis=1) * np.linalg.norm(b_NxD, axis=1)
    return 1 - (a_NxD * b_NxD).sum(1) / norms_N


def _estimate(value_N: np.ndarray, artist_N: np.ndarray) -> dict[str, Any]:
    return mean_by_artist(value_N, artist_N).as_json()
