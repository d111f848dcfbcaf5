"""The cost of seams of long pieces under the model's bound, and the drift of pieces to their end.

Letters: N pieces, P stretches, T tokens of a piece, W of a window.
"""

import math
from typing import Any

import numpy as np
import torch

from sedd_jax import Model
from sedd_jax.likelihood.infilling import infill_nats
from sedd_jax.sampling.store import SPLIT
from tokenizer_bridge import Codec
from tokenizer_bridge.audio.resample import resample
from tokenizer_bridge.cleaning.loudness import loudness
from tokenizer_bridge.fad.embeddings import load_embedding
from tokenizer_bridge.fad.kernel import KernelReference, kernel_distance
from tokenizer_bridge.fad.units import alone
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.intervals import Estimate, mean_by_artist, per_token
from tokenizer_bridge.token_dataset.records import TokenDataset

EMBEDDING = "musicnn"
PLACES = ("across", "midway", "another piece behind")
_MIN_PIECES = 4  # of the kernel distance


def measure_seams(
    tokens: str,
    workdir: str,
    *,
    step: int | str | None = None,
    stretch: int = 64,
    num_levels: int = 8,
    ends_s: float = 10.0,
    codec_dir: str | None = None,
) -> dict[str, Any]:
    """The figures, as the JSON file has them. Arguments are the command's. Raises UserError."""
    pieces = TokenDataset(tokens)
    window, overlap = (pieces.origin.get(key) for key in ("window", "overlap"))
    if window is None or overlap is None:
        raise UserError(f"{tokens} holds no samples of several windows: they have no seams")
    records = list(pieces.records(SPLIT))
    if len(records) < _MIN_PIECES:
        raise UserError(f"{tokens} holds {len(records)} pieces: {_MIN_PIECES} are needed")
    tokens_NxT = np.stack([record.tokens for record in records])
    model = Model.load(workdir, step=step)
    model.definition.require_diffusion("the cost of a seam given what stands around it")
    pieces.require_codec(model.codec)
    codec = Codec.load(model.codec, directory=codec_dir)
    if stretch > window // 2:
        raise UserError(f"a stretch of {stretch} tokens is more than half of a window, {window}")
    end = round(ends_s * codec.token_rate)
    if 2 * end > tokens_NxT.shape[1]:
        raise UserError(f"the pieces are too short for two ends of {ends_s:g} s")
    tags_N = [record.tags for record in records]
    bits = seam_bits(model, tokens_NxT, tags_N, window, overlap, stretch, num_levels)
    return {
        "workdir": str(workdir),
        "step": model.step,
        "num_pieces": len(records),
        "window": window,
        "overlap": overlap,
        "stretch": stretch,
        "ends_s": ends_s,
        "bits_per_token": bits,
        "end_less_beginning": drift(codec, tokens_NxT[:, :end], tokens_NxT[:, -end:]),
    }


def seam_bits(
    model: Model,
    tokens_NxT: np.ndarray,
    tags_N: list[tuple[str, ...]],
    window: int,
    overlap: int,
    stretch: int,
    num_levels: int,
) -> dict[str, Any]:
    """Bits a token of stretches at each of `PLACES`, and how many more than midway.

    A stretch lies in the middle of a window, whose other tokens are known. The same noise is drawn
    for all places.
    """
    num, length = tokens_NxT.shape
    hop, half = window - overlap, window // 2
    seams = np.arange(window, length, hop)
    seams = seams[seams + hop // 2 + half <= length]
    if not len(seams):
        raise UserError("the pieces are too short: a window does not fit around what is measured")
    piece_P, seam_P = (grid.ravel() for grid in np.meshgrid(np.arange(num), seams, indexing="ij"))

    def around(piece_P, middle_P):
        return tokens_NxT[piece_P[:, None], middle_P[:, None] + np.arange(-half, window - half)]

    across_PxW = around(piece_P, seam_P)
    other_PxW = around((piece_P + 1) % num, seam_P)
    is_before_W = np.arange(window) < half
    cuts = (
        across_PxW,
        around(piece_P, seam_P + hop // 2),
        np.where(is_before_W, across_PxW, other_PxW),
    )
    is_charged_PxW = np.broadcast_to(
        np.abs(np.arange(window) - half + 0.5) < stretch / 2, across_PxW.shape
    )
    told = [tags_N[piece] for piece in piece_P]
    bits = {
        place: infill_nats(
            model.definition,
            model.params,
            tokens_PxW,
            is_charged_PxW,
            ~is_charged_PxW,
            num_levels=num_levels,
            batch_size=model.definition.config.sampling.batch_size,
            condition_N=model.definition.vocabulary.condition(told),
        )
        / math.log(2)
        for place, tokens_PxW in zip(PLACES, cuts, strict=True)
    }

    def estimate(bits_P: np.ndarray) -> dict[str, Any]:
        return per_token(bits_P, is_charged_PxW.sum(-1), piece_P).as_json()

    midway_P = bits["midway"]
    return {
        "num_stretches": len(piece_P),
        "of": {place: estimate(bits_P) for place, bits_P in bits.items()},
        "more_than_midway": {
            place: estimate(bits_P - midway_P)
            for place, bits_P in bits.items()
            if place != "midway"
        },
    }


def drift(codec: Codec, first_NxT: np.ndarray, last_NxT: np.ndarray) -> dict[str, Any]:
    """The differences of the ends of pieces from their beginnings, each decoded alone."""
    rate = codec.sample_rate
    first_NxS, last_NxS = (codec.decode(tokens_NxT) for tokens_NxT in (first_NxT, last_NxT))

    def more(measure) -> dict[str, Any]:
        difference_N = [
            measure(last_S, rate) - measure(first_S, rate)
            for first_S, last_S in zip(first_NxS, last_NxS, strict=True)
        ]
        return mean_by_artist(np.array(difference_N), np.arange(len(difference_N))).as_json()

    embedding = load_embedding(EMBEDDING)

    def vectors(audio_NxS: np.ndarray) -> list[np.ndarray]:
        at_rate = [resample(audio_S, rate, embedding.info.sample_rate) for audio_S in audio_NxS]
        return list(embedding.embed(torch.from_numpy(np.stack(at_rate))).numpy())

    reference = KernelReference(alone(vectors(first_NxS)))
    distance = kernel_distance(alone(vectors(last_NxS)), reference)
    return {
        "loudness_db": more(loudness),
        "pitch_class_bits": more(pitch_class_bits),
        f"kad_{EMBEDDING}": [distance.value, distance.low, distance.high],
    }


def pitch_class_bits(audio_S: np.ndarray, sample_rate: int) -> float:
    """Entropy of the power over the twelve pitch classes, 65 to 2,100 Hz: log2(12) bits at most."""
    frame = 2 ** round(math.log2(sample_rate / 3))  # a third of a second tells semitones apart
    frames_FxS = np.lib.stride_tricks.sliding_window_view(audio_S, frame)[:: frame // 2]
    power_K = np.square(np.abs(np.fft.rfft(frames_FxS * np.hanning(frame)))).sum(0)
    hertz_K = np.fft.rfftfreq(frame, 1 / sample_rate)
    is_heard_K = (hertz_K > 65) & (hertz_K < 2_100)
    class_K = np.round(12 * np.log2(hertz_K[is_heard_K] / 440)).astype(int) % 12
    share_12 = np.bincount(class_K, power_K[is_heard_K], minlength=12) + 1e-12
    share_12 /= share_12.sum()
    return float(-(share_12 * np.log2(share_12)).sum())


def lines(report: dict[str, Any]) -> list[str]:
    """The figures for people."""
    bits, ends = report["bits_per_token"], report["end_less_beginning"]
    value, low, high = ends[f"kad_{EMBEDDING}"]
    return [
        f"{report['num_pieces']} pieces, {bits['num_stretches']} stretches of "
        f"{report['stretch']} tokens; bits a token:",
        *(f"  {place:<22}{_text(fields)}" for place, fields in bits["of"].items()),
        "more than midway:",
        *(f"  {place:<22}{_text(fields)}" for place, fields in bits["more_than_midway"].items()),
        f"the last {report['ends_s']:g} s less the first:",
        f"  {'loudness, dB':<22}{_text(ends['loudness_db'])}",
        f"  {'pitch classes, bits':<22}{_text(ends['pitch_class_bits'])}",
        f"  {'KAD, ' + EMBEDDING:<22}{value:.3f} ({low:.3f} to {high:.3f})",
    ]


def _text(fields: dict[str, Any]) -> str:
    return Estimate.from_json(fields).text(".3f", ".3f")
