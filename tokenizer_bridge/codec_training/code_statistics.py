"""Statistics of a codec's codes: how many it uses, and how hard the next one is to foretell.

K codes, L codes of a clip.
"""

from collections.abc import Sequence

import numpy as np

DISCOUNT = 0.75  # of each pair's count (Kneser & Ney 1995)


def perplexity_and_use(clips: Sequence[np.ndarray], codebook_size: int) -> tuple[float, float]:
    """exp of the codes' unigram entropy, and the share of the codebook seen at all."""
    counts_K = np.bincount(np.concatenate(clips), minlength=codebook_size)
    share = counts_K[counts_K > 0] / counts_K.sum()
    return float(np.exp(-(share * np.log(share)).sum())), len(share) / codebook_size


def repeats(clips: Sequence[np.ndarray]) -> float:
    """The share of codes that equal the one before."""
    return float(np.mean(np.concatenate([clip_L[1:] == clip_L[:-1] for clip_L in clips])))


def bits_per_code(
    train: Sequence[np.ndarray], held_out: Sequence[np.ndarray], codebook_size: int
) -> tuple[float, float]:
    """Bits a code of held-out clips cost a unigram, and a bigram, counted on the others.

    Unigram: add-one. Bigram: absolute discounting, interpolated with that unigram. Each clip is an
    integer array (L,); its first code is left out.
    """
    counts_K = np.bincount(np.concatenate(train), minlength=codebook_size)
    unigram_K = (counts_K + 1) / (counts_K.sum() + codebook_size)
    keys = np.concatenate([c[:-1].astype(np.int64) * codebook_size + c[1:] for c in train])
    keys, pairs = np.unique(keys, return_counts=True)
    before = keys // codebook_size
    total_K = np.bincount(before, pairs, minlength=codebook_size)
    kinds_K = np.bincount(before, minlength=codebook_size)

    a = np.concatenate([clip_L[:-1] for clip_L in held_out]).astype(np.int64)
    b = np.concatenate([clip_L[1:] for clip_L in held_out]).astype(np.int64)
    at = np.minimum(np.searchsorted(keys, a * codebook_size + b), len(keys) - 1)
    count = np.where(keys[at] == a * codebook_size + b, pairs[at], 0)
    seen = np.maximum(total_K[a], 1)
    rest = np.where(total_K[a] > 0, DISCOUNT * kinds_K[a] / seen, 1.0)
    bigram = np.maximum(count - DISCOUNT, 0) / seen + rest * unigram_K[b]
    return float(-np.log2(unigram_K[b]).mean()), float(-np.log2(bigram).mean())
