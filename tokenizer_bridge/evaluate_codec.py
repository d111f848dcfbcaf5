"""Measure what a codec keeps of music, on music that it was not trained on.

    python -m tokenizer_bridge.evaluate_codec --codec=demo --input=HELD_OUT_MUSIC

Beside the codec stand an untrained network of the same sizes, the recordings against other
recordings (what chance gives), and the recordings against themselves (the ceiling). `bits` are what
a code costs a unigram and a bigram that were counted on the other half of the clips: with few clips
far more than a model that has seen much music needs.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from absl import flags
from tqdm import tqdm

from tokenizer_bridge import source_flags
from tokenizer_bridge.codec_training import code_statistics, metrics
from tokenizer_bridge.codec_training.corpus import load_int16
from tokenizer_bridge.sources import Track
from tokenizer_bridge.token_dataset.errors import UserError, run_door
from tokenizer_bridge.token_dataset.files import write_json_atomically
from tokenizer_bridge.wavtokenizer import registry
from tokenizer_bridge.wavtokenizer.network import WavTokenizer

FLAGS = flags.FLAGS

flags.adopt_module_key_flags(source_flags)
flags.DEFINE_string("codec", "demo", "Name of a known codec.")
flags.DEFINE_string("codec_dir", None, "Folder with a codec's YAML and weights.")
flags.DEFINE_float("clip_s", 10.0, "Length of a clip.", lower_bound=1.0)
flags.DEFINE_integer("clips_per_track", 6, "Clips, evenly spread over a track.", lower_bound=1)
flags.DEFINE_string("output", None, "JSON file for the figures.")


def main(argv: list[str]) -> None:
    del argv
    if FLAGS.output:
        Path(FLAGS.output).parent.mkdir(parents=True, exist_ok=True)  # fails now, not at the end
    codec, info = registry.load_codec(FLAGS.codec, codec_dir=FLAGS.codec_dir)
    tracks = source_flags.load_tracks()
    clips = read_clips(tracks, info.sample_rate, FLAGS.clip_s, FLAGS.clips_per_track)
    untrained = untrained_like(codec, clips)
    rows = {
        info.name: measure(clips, *round_trip(codec, clips, info.name), codec),
        "untrained": measure(clips, *round_trip(untrained, clips, "untrained"), codec),
        "other clips": measure(clips, clips.roll(1, 0), None, codec),
        "itself": measure(clips, clips, None, codec),
    }
    print(f"{len(clips)} clips of {FLAGS.clip_s:g} s")
    names = list(rows[info.name])
    print(f"{'':24}" + "".join(f"{name:>16}" for name in names))
    for title, row in rows.items():
        cells = (f"{row[name]:16.3f}" if name in row else f"{'':16}" for name in names)
        print(f"{title[:24]:24}" + "".join(cells))
    if FLAGS.output:
        report = {"clips": len(clips), "clip_s": FLAGS.clip_s, "weights": info.weights_sha256}
        write_json_atomically(Path(FLAGS.output), report | {"rows": rows})


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
            starts = np.linspace(0, len(samples) - length, count).astype(int)
            clips += [samples[i : i + length] for i in starts]
            too_short += [track.id] if count == 0 else []
    if len(clips) < 2:
        raise UserError(f"--input={FLAGS.input}: needs at least two clips of {clip_s:g} s")
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
    codes = [codec.encode(clip[None]) for clip in tqdm(clips, desc=name, leave=False)]
    decoded = [codec.decode(c)[0, : clips.shape[1]] for c in codes]
    return torch.stack(decoded), torch.cat(codes)


def measure(
    clips: torch.Tensor, decoded: torch.Tensor, codes: torch.Tensor | None, codec: WavTokenizer
) -> dict[str, float]:
    """Means over clips of every measure, and the use of the codebook where there are codes."""
    rate, token_rate = codec.config.sample_rate, codec.config.token_rate
    pairs = list(zip(clips, decoded, strict=True))
    row = {
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
    run_door(main)
