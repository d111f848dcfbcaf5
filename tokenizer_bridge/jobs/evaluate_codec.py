"""Evaluation of a codec: clips go through it and are compared with what they were."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from tokenizer_bridge.audio.windows import spread_starts
from tokenizer_bridge.codec_training import code_statistics, metrics
from tokenizer_bridge.codec_training.corpus import load_int16
from tokenizer_bridge.devices import map_in_threads
from tokenizer_bridge.sources import Track
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.wavtokenizer import registry
from tokenizer_bridge.wavtokenizer.network import WavTokenizer


def evaluate_codec(
    tracks: Sequence[Track],
    *,
    codec: str = "demo",
    codec_dir: str | None = None,
    clip_s: float = 10.0,
    clips_per_track: int = 6,
) -> dict:
    """The figures of a codec on tracks: clips, clip_s, weights and rows. Prints them, too.

    Raises UserError.
    """
    network, info = registry.load_codec(codec, codec_dir=codec_dir)
    clips = read_clips(tracks, info.sample_rate, clip_s, clips_per_track)
    untrained = untrained_like(network, clips)
    rows = {
        info.name: measure(clips, *round_trip(network, clips, info.name), network),
        "untrained": measure(clips, *round_trip(untrained, clips, "untrained"), network),
        "other clips": measure(clips, clips.roll(1, 0), None, network),
        "itself": measure(clips, clips, None, network),
    }
    print(f"{len(clips)} clips of {clip_s:g} s")
    names = list(rows[info.name])
    print(f"{'':24}" + "".join(f"{name:>16}" for name in names))
    for title, row in rows.items():
        cells = (f"{row[name]:16.3f}" if name in row else f"{'':16}" for name in names)
        print(f"{title[:24]:24}" + "".join(cells))
    return {"clips": len(clips), "clip_s": clip_s, "weights": info.weights_sha256, "rows": rows}


def read_clips(
    tracks: Sequence[Track], sample_rate: int, clip_s: float, per_track: int
) -> torch.Tensor:
    """Float clips (N, T), evenly spread over every track that is long enough.

    Raises:
      UserError: a file has no usable audio, or there are fewer than two clips.
    """
    length = round(clip_s * sample_rate)
    clips, too_short = [], []
    with tqdm(tracks, desc="reading", unit="track", leave=False) as bar:
        for track in bar:
            samples = load_int16(track, sample_rate, min_seconds=0.0)
            count = min(per_track, len(samples) // length)
            starts = spread_starts(len(samples), length, count)
            clips += [samples[i : i + length] for i in starts]
            too_short += [track.id] if count == 0 else []
    if len(clips) < 2:
        raise UserError(f"the music must give at least two clips of {clip_s:g} s")
    if too_short:
        print(f"left out, shorter than {clip_s:g} s: {', '.join(too_short)}")
    return torch.from_numpy(np.stack(clips).astype(np.float32) / 32768)


def untrained_like(codec: WavTokenizer, clips: torch.Tensor) -> WavTokenizer:
    """A network of the same sizes at its initial values, its codes drawn from its own vectors."""
    torch.manual_seed(0)
    network = WavTokenizer(codec.config).eval()
    with torch.inference_mode():
        rows = network.encoder_output(clips[:64]).transpose(1, 2).flatten(0, 1)
        rows = rows.repeat(1 + codec.config.codebook_size // len(rows), 1)
        codebook = network.quantizer.codebook
        codebook.initialise(rows, lloyd_steps=0, generator=torch.Generator().manual_seed(0))
    return network


@torch.inference_mode()
def round_trip(
    codec: WavTokenizer, clips: torch.Tensor, name: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Decoded clips (N, T) and their codes (N, L)."""

    @torch.inference_mode()  # which each thread has for itself
    def one(clip: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        codes = codec.encode(clip[None])
        return codec.decode(codes)[0, : clips.shape[1]], codes

    done = tqdm(map_in_threads(one, clips), desc=name, total=len(clips), leave=False)
    decoded, codes = zip(*done, strict=True)
    return torch.stack(decoded), torch.cat(codes)


def measure(
    clips: torch.Tensor, decoded: torch.Tensor, codes: torch.Tensor | None, codec: WavTokenizer
) -> dict[str, float]:
    """Means over clips of every measure, and the use of the codebook where there are codes."""
    rate, token_rate = codec.config.sample_rate, codec.config.token_rate
    pairs = list(zip(clips, decoded, strict=True))
    row: dict[str, Any] = {
        "log_mel": np.mean([metrics.log_mel_distance(a, b, rate) for a, b in pairs]),
        "chroma": np.nanmean([metrics.chroma_correlation(a, b, rate) for a, b in pairs]),
        "tuned": np.nanmean([metrics.tuned_share(a, b, rate) for a, b in pairs]),
        "onset": np.mean([metrics.onset_correlation(a, b, rate) for a, b in pairs]),
        "level_db": np.mean([metrics.level_difference(a, b) for a, b in pairs]),
        "am_db": np.mean([metrics.modulation_excess(a, b, rate, token_rate) for a, b in pairs]),
        "comb_db": np.mean([metrics.comb_level(a, b, rate, token_rate) for a, b in pairs]),
    }
    if codes is not None:
        size, rows = codec.config.codebook_size, list(codes.cpu().numpy())
        row["perplexity"], row["codes_used"] = code_statistics.perplexity_and_use(rows, size)
        row["repeats"] = code_statistics.repeats(rows)
        halves = (rows[::2], rows[1::2]), (rows[1::2], rows[::2])
        bits = np.mean([code_statistics.bits_per_code(*half, size) for half in halves], axis=0)
        row["unigram_bits"], row["bigram_bits"] = bits
    return {name: float(value) for name, value in row.items()}
