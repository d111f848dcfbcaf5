"""Measures what a codec keeps of music, on music that it was not trained on.

    python -m tokenizer_bridge.evaluate_codec --codec=demo --audio=HELD_OUT_MUSIC

Beside the codec stand an untrained network of the same sizes, the recordings against other
recordings (what chance gives), and the recordings against themselves (the ceiling). `bits` are what
a code costs a unigram and a bigram that were counted on the other half of the clips: with few clips
far more than a model that has seen much music needs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from tokenizer_bridge.audio.decoder_notes import without_decoder_notes
from tokenizer_bridge.audio.windows import spread_starts
from tokenizer_bridge.codec_training import code_statistics, metrics
from tokenizer_bridge.codec_training.corpus import load_int16
from tokenizer_bridge.devices import map_in_threads
from tokenizer_bridge.source_arguments import add_source_arguments, load_tracks
from tokenizer_bridge.sources import Track
from tokenizer_bridge.token_dataset.command import Parser, integer, local_path, number, run_command
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import write_json_atomically
from tokenizer_bridge.wavtokenizer import registry
from tokenizer_bridge.wavtokenizer.network import WavTokenizer


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--codec", default="demo", help="Name of a known codec.")
    add(
        "--codec_dir",
        type=local_path,
        metavar="DIR",
        help="Folder with a codec's YAML and weights.",
    )
    add("--clip_s", type=number(1), default=10.0, help="Seconds of a clip.")
    add("--clips_per_track", type=integer(1), default=6, help="Clips, spread over a track.")
    add("--output", type=local_path, metavar="JSON", help="File for the figures.")
    add_source_arguments(parser)
    return parser


@without_decoder_notes()
def main(argv: Sequence[str] | None = None) -> None:
    arguments = make_parser().parse_args(argv)
    output = Path(arguments.output) if arguments.output else None
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)  # fails now, not at the end
    figures = evaluate_codec(
        load_tracks(arguments),
        codec=arguments.codec,
        codec_dir=arguments.codec_dir,
        clip_s=arguments.clip_s,
        clips_per_track=arguments.clips_per_track,
    )
    if output:
        write_json_atomically(output, figures)


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


if __name__ == "__main__":
    run_command(main)
