"""Count-based baselines: what a score model must beat, in bits per token.

Letters: K codes, N tokens, P distinct pairs, W windows, L tokens per window.

- Unigram, add-α: p(b) = (n_b + α) / (n + αK).
- Bigram, interpolated Kneser–Ney with a concentration: the hierarchical Pitman–Yor model with one
  table per type (Teh 2006, "A hierarchical Bayesian language model based on Pitman–Yor processes"),

      p(b | a) = [ max(n_ab − d, 0) + (θ + d·t_a)·q(b) ] / (n_a + θ),   t_a = #{b: n_ab > 0}.

  θ = 0 is interpolated Kneser–Ney; d = 0 is the Dirichlet bigram of MacKay and Peto. q is add-α
  over token counts or over Kneser–Ney's continuation counts #{a: n_ab > 0}.

Every free number (α, d, θ, the kind of q) is chosen on the training tracks alone, by
cross-validation over whole tracks. Leaving out single tokens instead would flatter weak smoothing:
music repeats itself within a track.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from sedd_jax.errors import UserError

NUM_FOLDS = 5
# Held-back tokens per fold that the search looks at; more than this hardly moves the choice.
MAX_SEARCH_TOKENS = 1 << 16
ALPHAS = tuple(np.logspace(-3, 3, 25).tolist())
DISCOUNTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
CONCENTRATIONS = (0.0, *np.logspace(-1, 4, 21).tolist())
BASES = ("tokens", "continuations")

T = TypeVar("T")


@dataclass(frozen=True)
class PairCounts:
    """Counts of tokens and of neighbouring pairs (a, b) within tracks, all int64."""

    tokens_K: np.ndarray  # n_b over all tokens
    pair_keys_P: np.ndarray  # distinct a·K + b, ascending
    pair_counts_P: np.ndarray  # n_ab
    outgoing_K: np.ndarray  # n_a = Σ_b n_ab; the last token of a track starts no pair
    followers_K: np.ndarray  # t_a = #{b: n_ab > 0}
    continuations_K: np.ndarray  # #{a: n_ab > 0}

    def pairs(self, a_N: np.ndarray, b_N: np.ndarray) -> np.ndarray:
        """n_ab of each pair, int64 (N,)."""
        keys_N = a_N.astype(np.int64) * len(self.tokens_K) + b_N
        at_N = np.searchsorted(self.pair_keys_P, keys_N)
        at_N = np.minimum(at_N, len(self.pair_keys_P) - 1)
        return np.where(self.pair_keys_P[at_N] == keys_N, self.pair_counts_P[at_N], 0)

    def base(self, kind: str, alpha: float) -> np.ndarray:
        """q, float64 (K,)."""
        return add_alpha(self.tokens_K if kind == "tokens" else self.continuations_K, alpha)


def count_pairs(tracks: Iterable[np.ndarray], num_codes: int) -> PairCounts:
    """Counts over `tracks`, each an integer array (N,) of tokens < num_codes.

    Raises:
      UserError: no track has two tokens.
    """
    tokens_K = np.zeros(num_codes, np.int64)
    keys = [np.zeros(0, np.int64)]
    for track_N in tracks:
        tokens_K += np.bincount(track_N, minlength=num_codes)
        keys.append(track_N[:-1].astype(np.int64) * num_codes + track_N[1:])
    pair_keys_P, pair_counts_P = np.unique(np.concatenate(keys), return_counts=True)
    if not pair_keys_P.size:
        raise UserError("baselines need a training track of at least two tokens")
    a_P, b_P = np.divmod(pair_keys_P, num_codes)
    outgoing_K = np.zeros(num_codes, np.int64)
    np.add.at(outgoing_K, a_P, pair_counts_P)
    followers_K, continuations_K = (np.bincount(x_P, minlength=num_codes) for x_P in (a_P, b_P))
    return PairCounts(
        tokens_K, pair_keys_P, pair_counts_P, outgoing_K, followers_K, continuations_K
    )


def add_alpha(counts_K: np.ndarray, alpha: float) -> np.ndarray:
    """Add-α probabilities, float64 (K,)."""
    return (counts_K + alpha) / (counts_K.sum() + alpha * len(counts_K))


def kneser_ney(n_ab, n_a, t_a, q_b, discount: float, concentration: float):
    """p(b | a) of the module's docstring, elementwise; q(b) where the context a was never seen."""
    seen = np.maximum(n_ab - discount, 0.0)
    prob = seen + (concentration + discount * t_a) * q_b
    return np.where(n_a > 0, prob / np.maximum(n_a + concentration, 1.0), q_b)


@dataclass(frozen=True)
class Unigram:
    """Add-α unigram."""

    probs_K: np.ndarray
    alpha: float

    def bits(self, windows_WxL: np.ndarray, below: int | None = None) -> np.ndarray:
        """−log2 p of every token, float64 (W, L); given that it is a code below `below`."""
        known = 1.0 if below is None else self.probs_K[:below].sum()
        return -np.log2(self.probs_K / known)[windows_WxL]

    def describe(self) -> dict:
        return {"smoothing": "add-alpha", "alpha": self.alpha}


@dataclass(frozen=True)
class Bigram:
    """Interpolated Kneser–Ney bigram with a concentration."""

    counts: PairCounts
    base_kind: str  # one of BASES
    base_K: np.ndarray  # q
    discount: float  # d
    concentration: float  # θ
    unigram: Unigram  # for the first token of a window, which has no left neighbour

    def prob(self, a_N: np.ndarray, b_N: np.ndarray) -> np.ndarray:
        """p(b | a) of each pair, float64 (N,)."""
        n_ab_N = self.counts.pairs(a_N, b_N)
        n_a_N, t_a_N = self.counts.outgoing_K[a_N], self.counts.followers_K[a_N]
        return kneser_ney(n_ab_N, n_a_N, t_a_N, self.base_K[b_N], self.discount, self.concentration)

    def bits(
        self,
        windows_WxL: np.ndarray,
        begin_W: np.ndarray | int = 0,
        below: int | None = None,
    ) -> np.ndarray:
        """−log2 p of every token given its left neighbour, float64 (W, L).

        begin_W: the position in each window where a track begins; its first token has no neighbour.
        below: a token is known to be a code below this one; its neighbour may be any.
        """
        bits_WxL = self.unigram.bits(windows_WxL, below)
        first_W = bits_WxL[np.arange(len(bits_WxL)), begin_W]
        a_N = windows_WxL[:, :-1].ravel()
        prob_N = self.prob(a_N, windows_WxL[:, 1:].ravel())
        if below is not None:
            others = range(below, len(self.base_K))
            prob_N = prob_N / (1 - sum(self.prob(a_N, np.full_like(a_N, b)) for b in others))
        bits_WxL[:, 1:] = -np.log2(prob_N).reshape(len(windows_WxL), -1)
        bits_WxL[np.arange(len(bits_WxL)), begin_W] = first_W
        return bits_WxL

    def describe(self) -> dict:
        return {
            "smoothing": "interpolated Kneser-Ney with concentration",
            "discount": self.discount,
            "concentration": self.concentration,
            "base": self.base_kind,
        }


def fit(tracks: Sequence[np.ndarray], num_codes: int) -> tuple[Unigram, Bigram]:
    """Both baselines from the training tracks.

    Args:
      tracks: token arrays (N,), one a track, tokens < num_codes.
      num_codes: K; codes never seen in `tracks` still get probability.

    Raises:
      UserError: no track has two tokens.
    """
    counts = count_pairs(tracks, num_codes)
    folds = [
        _Fold.of(kept, held, num_codes)
        for kept, held in _folds(tracks)
        if any(len(track_N) > 1 for track_N in kept)
    ]

    def argmin(candidates: Iterable[T], nats: Callable[[_Fold, T], float]) -> T:
        return min(candidates, key=lambda candidate: sum(nats(fold, candidate) for fold in folds))

    alpha = argmin(ALPHAS, _Fold.unigram_nats)
    unigram = Unigram(add_alpha(counts.tokens_K, alpha), alpha)

    base_alpha = {
        kind: argmin(ALPHAS, lambda fold, alpha, kind=kind: fold.base_nats(kind, alpha))
        for kind in BASES
    }
    kind, discount, concentration = argmin(
        # With neither discount nor concentration an unseen pair would have probability zero.
        [c for c in itertools.product(BASES, DISCOUNTS, CONCENTRATIONS) if c[1] + c[2] > 0],
        lambda fold, c: fold.bigram_nats(c[0], base_alpha[c[0]], *c[1:]),
    )
    base_K = counts.base(kind, base_alpha[kind])
    return unigram, Bigram(counts, kind, base_K, discount, concentration, unigram)


def _folds(
    tracks: Sequence[np.ndarray],
) -> Iterator[tuple[list[np.ndarray], list[np.ndarray]]]:
    """Yields (kept, held back) lists of tracks; a single track is cut into pieces."""
    if len(tracks) == 1:
        tracks = np.array_split(tracks[0], NUM_FOLDS)
    num_folds = min(NUM_FOLDS, len(tracks))
    for fold in range(num_folds):
        kept = [track_N for i, track_N in enumerate(tracks) if i % num_folds != fold]
        yield kept, list(tracks[fold::num_folds])


@dataclass(frozen=True)
class _Fold:
    """Counts of the kept tracks, and what they say about the pairs of those held back."""

    counts: PairCounts
    held_N: np.ndarray  # held-back tokens b that have a left neighbour a
    n_ab_N: np.ndarray
    n_a_N: np.ndarray
    t_a_N: np.ndarray

    @classmethod
    def of(cls, kept: Sequence[np.ndarray], held: Sequence[np.ndarray], num_codes: int) -> "_Fold":
        counts = count_pairs(kept, num_codes)
        a_N = np.concatenate([track_N[:-1] for track_N in held])
        b_N = np.concatenate([track_N[1:] for track_N in held])
        stride = -(-len(a_N) // MAX_SEARCH_TOKENS) or 1
        a_N, b_N = a_N[::stride], b_N[::stride]
        return cls(
            counts,
            b_N,
            counts.pairs(a_N, b_N),
            counts.outgoing_K[a_N],
            counts.followers_K[a_N],
        )

    def unigram_nats(self, alpha: float) -> float:
        return -np.log(add_alpha(self.counts.tokens_K, alpha))[self.held_N].sum()

    def base_nats(self, kind: str, alpha: float) -> float:
        """Cost of q on the pairs never seen, the ones for which q decides."""
        return -np.log(self.counts.base(kind, alpha))[self.held_N[self.n_ab_N == 0]].sum()

    def bigram_nats(self, kind: str, alpha: float, discount: float, concentration: float) -> float:
        q_N = self.counts.base(kind, alpha)[self.held_N]
        prob_N = kneser_ney(self.n_ab_N, self.n_a_N, self.t_a_N, q_N, discount, concentration)
        return -np.log(prob_N).sum()
