"""Pieces as an autoregressive model judges them: what they cost it, and how much they vary.

Either figure alone can be fooled. Pieces that repeat one bar for ever are cheap under any model,
and codes drawn at random vary the most: so the bits a token stand beside the entropy of the codes
and the share of different n-grams, and all of them beside those of as many real pieces of the
same length. Bits near real music's with an entropy near real music's is what a sampler can hope
for. Cheaper is not better, and equal is no proof (arXiv 2602.19619).

Entropies and shares of n-grams depend on how many tokens they are counted over: compare equal
numbers. Letters: N pieces, R rows (windows of pieces), L length of a row.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import jax
import numpy as np

from sedd_jax.errors import UserError
from sedd_jax.likelihood.exact import token_nats
from sedd_jax.model import ModelDef
from sedd_jax.state import Params
from tokenizer_bridge.token_dataset.intervals import Estimate, per_token
from tokenizer_bridge.token_dataset.vectors import Vectors

NGRAMS = (2, 4)


@dataclass(frozen=True)
class Variety:
    """Measures of how much the codes of pieces vary.

    entropy_bits: of the codes of all pieces together; piece_entropy_bits: of those of a piece, the
    mean over pieces; distinct_codes: how many occur; distinct_2, distinct_4: different n-grams of
    codes, as a share of all (distinct-n, Li et al. 2016, arXiv 1510.03055).
    """

    entropy_bits: float
    piece_entropy_bits: float
    distinct_codes: int
    distinct_2: float
    distinct_4: float


@dataclass(frozen=True)
class Judgement:
    """bits_per_token: exact, its interval over pieces or their artists."""

    num_pieces: int
    num_tokens: int
    bits_per_token: Estimate
    variety: Variety

    def as_json(self) -> dict[str, Any]:
        """Plain values, those of `variety` on the same level."""
        return {
            "num_pieces": self.num_pieces,
            "num_tokens": self.num_tokens,
            "bits_per_token": self.bits_per_token.as_json(),
            **asdict(self.variety),
        }


def judge(
    run: ModelDef,
    params: Params,
    pieces_N: Sequence[np.ndarray],
    *,
    artist_N: np.ndarray | None = None,
    tags_N: Sequence[Sequence[str]] | None = None,
    vectors_N: Sequence[Vectors] | None = None,
    batch_size: int | None = None,
    on_rows: Callable[[int], None] = lambda num_rows: None,
) -> Judgement:
    """Bits per token of pieces under an autoregressive model, beside how much they vary.

    A piece longer than the model's length is read in windows of that, the last of which ends with
    it and is charged for what is new in it.

    Args:
      pieces_N: integer arrays (T,), codes of the model.
      artist_N: a number for each piece's artist; pieces are independent by default.
      tags_N, vectors_N: what a conditional model is told of each piece, nothing by default.
      batch_size: rows at a time; config.sampling.batch_size by default.
      on_rows: called with the number of rows just measured, those of `num_rows` in all.

    Raises UserError for a model that is not autoregressive, no piece, or tokens that it lacks.
    """
    num_codes, length = run.graph.num_codes, run.config.model.length
    if not len(pieces_N) or not all(len(piece) for piece in pieces_N):
        raise UserError("there is nothing to judge: no piece, or an empty one")
    if (most := max(int(np.max(piece)) for piece in pieces_N)) >= num_codes:
        raise UserError(f"a piece has token {most}, and the judge's are below {num_codes}")
    tokens_RxL, counts_RxL, piece_R = _rows(pieces_N, length)
    condition_N = run.vocabulary.condition(
        [()] * len(pieces_N) if tags_N is None else tags_N,
        vectors_B=[{}] * len(pieces_N) if vectors_N is None else vectors_N,
    )
    nats_RxL = token_nats(
        run,
        params,
        tokens_RxL,
        batch_size=batch_size or run.config.sampling.batch_size,
        condition_N=jax.tree.map(lambda values_N: values_N[piece_R], condition_N),
        on_rows=on_rows,
    )
    nats_R = np.where(counts_RxL, nats_RxL, 0.0).sum(1)
    bits_N = np.bincount(piece_R, nats_R, len(pieces_N)) / math.log(2)
    tokens_N = np.array([len(piece) for piece in pieces_N])
    artist_N = np.arange(len(pieces_N)) if artist_N is None else artist_N
    return Judgement(
        len(pieces_N),
        int(tokens_N.sum()),
        per_token(bits_N, tokens_N, artist_N),
        variety(pieces_N),
    )


def num_rows(pieces_N: Sequence[np.ndarray], length: int) -> int:
    """The number of windows of `length` that pieces are read in."""
    return sum(-(-len(piece) // length) for piece in pieces_N)


def _rows(pieces_N: Sequence[np.ndarray], length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Windows of the pieces (R, L), the tokens that count there, and each window's piece (R,).

    A piece shorter than a window stands at its beginning: what comes behind changes nothing.
    """
    num = num_rows(pieces_N, length)
    tokens_RxL, counts_RxL = np.zeros((num, length), np.int32), np.zeros((num, length), bool)
    piece_R, row = np.zeros(num, np.int64), 0
    for i, piece in enumerate(pieces_N):
        for start in range(0, len(piece), length):
            end = min(start + length, len(piece))
            first = max(end - length, 0)
            tokens_RxL[row, : end - first] = piece[first:end]
            counts_RxL[row, start - first : end - first] = True
            piece_R[row] = i
            row += 1
    return tokens_RxL, counts_RxL, piece_R


def variety(pieces_N: Sequence[np.ndarray]) -> Variety:
    """The variety of the codes, below 2^16, of pieces that have one code at least."""
    all_T = np.concatenate([np.asarray(piece, np.int64) for piece in pieces_N])
    distinct = {n: _distinct(pieces_N, n) for n in NGRAMS}
    return Variety(
        entropy_bits=_entropy_bits(all_T),
        piece_entropy_bits=float(np.mean([_entropy_bits(piece) for piece in pieces_N])),
        distinct_codes=len(np.unique(all_T)),
        distinct_2=distinct[2],
        distinct_4=distinct[4],
    )


def _entropy_bits(tokens_T: np.ndarray) -> float:
    _, count_K = np.unique(tokens_T, return_counts=True)
    share_K = count_K / count_K.sum()
    return float(-(share_K * np.log2(share_K)).sum())


def _distinct(pieces_N: Sequence[np.ndarray], n: int) -> float:
    """Different n-grams within pieces as a share of all, 1.0 where there are none; n ≤ 4."""
    keys = []
    for piece in pieces_N:
        code_T = np.asarray(piece, np.uint64)
        length = max(len(code_T) - n + 1, 0)
        key_T = np.zeros(length, np.uint64)
        for i in range(n):  # 16 bits a code
            key_T = (key_T << np.uint64(16)) | code_T[i : i + length]
        keys.append(key_T)
    key_M = np.concatenate(keys)
    return len(np.unique(key_M)) / len(key_M) if len(key_M) else 1.0
