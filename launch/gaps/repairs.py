"""Repairs of a gap, none of which has heard what was there, and the codec's round trip, which has.

Letters: N clips, T samples, L tokens.
"""

from collections.abc import Callable

import numpy as np

from launch.gaps.cases import Case
from sedd_jax import Model
from sedd_jax.sampling.settings import Sampling
from tokenizer_bridge import Codec
from tokenizer_bridge.repairs.linear_prediction import fill_gap

FADE_S = 0.005  # from the original into a repair, outside the gap


def make_repairs(
    model: Model,
    codec: Codec,
    audio_NxT: np.ndarray,
    case: Case,
    *,
    sampling: Sampling,
    on_steps: Callable[[int], None] = lambda num_sample_steps: None,
) -> dict[str, np.ndarray]:
    """Name of a repair → the clips with it, (N, T) float32 at the codec's rate.

    - "silence": nothing is done;
    - "linear prediction": from both sides;
    - "model": tokens that touch the gap are drawn given the others. The others are of the clip
      with the gap filled in by linear prediction: the encoder hears some way ahead, and must not
      hear what was there;
    - "codec": the original through the codec, the best that a repair in tokens can be.

    Outside the gap, all are the original. on_steps: called with steps × clips as they are done.
    """
    silent_NxT = audio_NxT.copy()
    silent_NxT[:, case.begin : case.end] = 0
    predicted_NxT = np.stack(
        [fill_gap(audio_T, case.begin, case.end, codec.sample_rate) for audio_T in silent_NxT]
    )
    tokens_NxL = _encode(codec, predicted_NxT)
    first, last = case.tokens(codec.hop_length)
    is_known_L = np.ones(tokens_NxL.shape[1], bool)
    is_known_L[first:last] = False
    drawn_NxL = model.sample(
        len(tokens_NxL),
        known=tokens_NxL,
        is_known=is_known_L,
        sampler=sampling.sampler,
        steps=sampling.steps,
        seed=sampling.seed,
        progress=on_steps,
    )
    fade = round(FADE_S * codec.sample_rate)
    return {
        "silence": silent_NxT,
        "linear prediction": predicted_NxT,
        "model": join(audio_NxT, codec.decode(drawn_NxL), case, fade),
        "codec": join(audio_NxT, codec.decode(_encode(codec, audio_NxT)), case, fade),
    }


def join(original_NxT: np.ndarray, other_NxT: np.ndarray, case: Case, fade: int) -> np.ndarray:
    """The original outside the gap and the other inside, faded into each other just outside.

    Unlike tokenizer_bridge/audio/splice.py it leaves the other's level alone, so that one that is
    wrong counts.
    """
    time_T = np.arange(original_NxT.shape[1])
    rising_T = (time_T - case.begin + fade + 0.5) / fade
    falling_T = (case.end + fade - time_T - 0.5) / fade
    share_T = np.clip(np.minimum(rising_T, falling_T), 0, 1).astype(np.float32)
    return (1 - share_T) * original_NxT + share_T * other_NxT[:, : len(time_T)]


def _encode(codec: Codec, audio_NxT: np.ndarray) -> np.ndarray:
    num_tokens = audio_NxT.shape[1] // codec.hop_length
    return np.stack([codec.encode(audio_T)[:num_tokens] for audio_T in audio_NxT])
