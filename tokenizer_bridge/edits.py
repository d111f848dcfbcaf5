"""Recordings whose tokens were edited: what is new is decoded and put into the recording.

C channels, T samples of the recording, L tokens of the edited song.
"""

import math
from collections.abc import Sequence

import numpy as np

from tokenizer_bridge.audio.choices import DECODING
from tokenizer_bridge.audio.resample import resample
from tokenizer_bridge.audio.splice import FADE_S, Patch, merged, splice
from tokenizer_bridge.audio.windows import Windowing
from tokenizer_bridge.decoding import decode_pieces
from tokenizer_bridge.wavtokenizer.network import WavTokenizer
from tokenizer_bridge.wavtokenizer.registry import CodecInfo

CONTEXT_S = 2.0  # decoded at both sides of what is new: for the decoder, the fades and the level
_BATCH_SIZE = 16  # windows of decoding


def edited_audio(
    network: WavTokenizer,
    info: CodecInfo,
    original_CxT: np.ndarray,
    sample_rate: int,
    tokens_L: np.ndarray,
    stretches: Sequence[tuple[int, int]],
) -> np.ndarray:
    """A recording with the new tokens of some stretches heard in it, (C, T') float32.

    Outside of the stretches and FADE_S at their sides every sample is the recording's. What is new
    is mono, of the codec's bandwidth, and in each channel as loud as what it stands beside. Of
    stretches that are nearer than two fades, what is between is decoded as well.

    Args:
      network, info: the codec, as `Codec` has them.
      original_CxT: float32 at sample_rate, in Hz.
      tokens_L: of the edited song; where they are more than those of the recording, it goes on.
      stretches: ascending (start, stop) of the new tokens.
    """
    length = original_CxT.shape[1]
    token_rate = info.sample_rate / info.hop_length
    # A recording's last token is filled up: to it belongs what the recording has of it alone.
    goes_on = len(tokens_L) > num_tokens(length, sample_rate, info)

    def sample_of(token: int) -> int:
        return round(token * sample_rate / token_rate)

    context = math.ceil(CONTEXT_S * token_rate)
    patches = []
    for start, stop in merged(stretches, math.ceil(2 * FADE_S * token_rate) + 1):
        first, last = max(0, start - context), min(len(tokens_L), stop + context)
        audio_S = _decode(network, tokens_L[first:last], token_rate)
        audio_S = resample(audio_S, info.sample_rate, sample_rate)
        end = sample_of(stop) if goes_on else min(sample_of(stop), length)
        # Odd rates are resampled by a ratio that is a little off.
        missing = sample_of(last) - sample_of(first) - len(audio_S)
        audio_S = np.pad(audio_S, (0, max(0, missing)))
        patches.append(Patch(audio_S, sample_of(first), sample_of(start), end))
    return splice(original_CxT, patches, round(FADE_S * sample_rate))


def num_tokens(num_samples: int, sample_rate: int, info: CodecInfo) -> int:
    """The tokens of a recording of so many samples."""
    resampled = math.ceil(num_samples * info.sample_rate / sample_rate)
    return math.ceil(resampled / info.hop_length)


def _decode(network: WavTokenizer, tokens_L: np.ndarray, token_rate: float) -> np.ndarray:
    """The audio of tokens, (L · hop,)."""
    windowing = Windowing.from_seconds(*DECODING, token_rate)
    ((_, audio_T),) = decode_pieces(network, [(None, tokens_L)], windowing, _BATCH_SIZE)
    return audio_T
