"""A codec as an object: audio to codes and back, as `encode` and `decode` do it.

codec = Codec.load("demo")
codes = codec.encode("song.mp3")  # (n,) uint16
audio = codec.decode(codes)  # (T,) float32 at codec.sample_rate
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tokenizer_bridge.audio.choices import DECODING, ENCODING, LOW_CUT_HZ
from tokenizer_bridge.audio.low_cut import low_cut
from tokenizer_bridge.audio.mixing import mix_down
from tokenizer_bridge.audio.read import Preparation
from tokenizer_bridge.audio.resample import resample
from tokenizer_bridge.audio.windows import Windowing
from tokenizer_bridge.decoding import decode_pieces
from tokenizer_bridge.encoding.tracks import Encoded, encode_tracks, encode_windowed
from tokenizer_bridge.sources import Track
from tokenizer_bridge.token_dataset.description import check_codec, codec_difference
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.records import check_tokens
from tokenizer_bridge.wavtokenizer.network import WavTokenizer
from tokenizer_bridge.wavtokenizer.registry import CodecInfo, load_codec

_WINDOWS_IN_A_BATCH = 16  # of decoding


class Codec:
    """A WavTokenizer with its weights, and what token data sets record about it.

    network: the PyTorch module, in eval mode; info: name, rates and sizes. `load` makes one.
    """

    def __init__(self, network: WavTokenizer, info: CodecInfo):
        self.network, self.info = network, info

    @classmethod
    def load(
        cls,
        codec: str | Mapping[str, Any],
        *,
        directory: str | os.PathLike | None = None,
        device: str | torch.device = "cpu",
    ) -> "Codec":
        """The codec of a name, or the one that a model or a token data set was made with.

        Args:
          codec: a name (`tokenizer_bridge.wavtokenizer.registry.KNOWN_CODECS`, or a new one with
            `directory`), or the description that a model or data set carries (`Model.codec`,
            `TokenDataset.codec`): weights that differ from it are refused.
          directory: a folder with the weights and their YAML; nothing is downloaded then.
          device: PyTorch device.

        Raises:
          UserError: the codec cannot be had, is damaged, or is not the described one.
        """
        name = codec if isinstance(codec, str) else _check_description(codec)["name"]
        network, info = load_codec(name, codec_dir=directory, device=device)
        if not isinstance(codec, str):
            if key := codec_difference(codec, vars(info)):
                raise UserError(
                    f"the codec {name} has {key} {vars(info)[key]} here, the tokens were made with "
                    f"one that has {codec[key]}"
                )
        return cls(network, info)

    @property
    def sample_rate(self) -> int:
        """Samples per second of its audio."""
        return self.info.sample_rate

    @property
    def hop_length(self) -> int:
        """Samples per code."""
        return self.info.hop_length

    @property
    def codebook_size(self) -> int:
        """The number of codes: every token is below it."""
        return self.info.codebook_size

    @property
    def token_rate(self) -> float:
        """Codes per second."""
        return self.info.sample_rate / self.info.hop_length

    def encode(
        self,
        audio: str | os.PathLike | np.ndarray,
        sample_rate: int | None = None,
        *,
        low_cut_hz: float = LOW_CUT_HZ,
    ) -> np.ndarray:
        """Codes (n,) uint16 of a file or of an array; those that the command `encode` gives.

        Args:
          audio: the path of a file, or samples: (T,), or (C, T) with one row a channel, whose mean
            is taken (the loudest alone where they cancel); floats in ±1.
          sample_rate: of an array, in Hz, an integer; the codec's own by default. A file knows
            its own.
          low_cut_hz: what lies far below, and a constant, is removed; 0 for nothing.

        Raises:
          UserError: the file has no usable audio, or the array no samples.
          ValueError: a sample rate that is no integer above 0, or a file's.
        """
        if sample_rate is not None and not (sample_rate >= 1 and sample_rate % 1 == 0):
            raise ValueError(f"sample_rate is {sample_rate}: an integer above 0 is needed")
        preparation = Preparation(low_cut_hz=low_cut_hz)
        windowing = Windowing.from_seconds(*ENCODING, self.token_rate)
        if not isinstance(audio, np.ndarray):
            if not isinstance(audio, str | os.PathLike):
                raise UserError(
                    f"audio must be a path or a numpy array of floats, not a {type(audio).__name__}"
                )
            if sample_rate is not None:
                raise ValueError("a file's sample rate stands in the file")
            path = Path(audio)
            (result,) = encode_tracks(
                self.network, [Track(path.name, path)], windowing, 1, preparation=preparation
            )
            if not isinstance(result, Encoded):
                raise UserError(f"{path}: {result.reason}")
            return result.codes
        if audio.ndim not in (1, 2) or not audio.size or audio.dtype.kind != "f":
            raise UserError(
                "audio must be floats of shape (samples,) or (channels, samples), not "
                f"{audio.dtype} {audio.shape}"
            )
        samples_TxC = np.atleast_2d(audio).T.astype(np.float32)
        if len(samples_TxC) < samples_TxC.shape[1]:
            raise UserError(
                f"audio of shape {audio.shape} has more channels than samples: the shape is "
                "(channels, samples)"
            )
        if not np.isfinite(samples_TxC).all():
            raise UserError("audio has samples that are not finite")
        rate = self.sample_rate if sample_rate is None else int(sample_rate)
        mono_T = resample(mix_down(samples_TxC), rate, self.sample_rate)
        if low_cut_hz:
            mono_T = np.concatenate(list(low_cut([mono_T], self.sample_rate, low_cut_hz)))
        return encode_windowed(self.network, mono_T, windowing).astype(np.uint16)

    def decode(self, tokens: np.ndarray) -> np.ndarray:
        """Audio, float32 at `sample_rate`: (T,) of codes (L,), (N, T) of codes (N, L).

        T is L · hop_length. Long pieces are decoded in windows, as by the command `decode`; nothing
        is clipped. Raises UserError for codes that are no integers below `codebook_size`.
        """
        try:
            tokens = np.asarray(tokens)
        except ValueError as error:  # rows of different lengths
            raise UserError("tokens must have shape (L,) or (N, L): the rows differ") from error
        if tokens.ndim not in (1, 2) or not tokens.size:
            raise UserError(f"tokens must have shape (L,) or (N, L), not {tokens.shape}")
        try:
            check_tokens(tokens.ravel(), self.codebook_size)
        except ValueError as error:
            raise UserError(f"tokens: {error}") from error
        windowing = Windowing.from_seconds(*DECODING, self.token_rate)
        pieces = enumerate(np.atleast_2d(tokens))
        audio = dict(decode_pieces(self.network, pieces, windowing, _WINDOWS_IN_A_BATCH))
        audio_NxT = np.stack([audio[i] for i in range(len(audio))])
        return audio_NxT if tokens.ndim == 2 else audio_NxT[0]


def _check_description(codec: Any) -> Mapping[str, Any]:
    """The description of a codec. Raises UserError when it is none."""
    try:
        check_codec(codec)
    except ValueError as error:
        raise UserError(
            f"a codec is its name, or what a model or token data set says of it: {error}"
        ) from error
    return codec
