"""One HTML page of a run, complete in itself: new pieces, the codec's round trip, curve, figures.

    python -m launch.page --workdir=RUN --input=MUSIC --tokens=TOKENS --generated=NEW --wavs=WAVS

Writes RUN/index.html: sounds and pictures are inside the file, so that it can be sent to anybody.
"""

import json
from pathlib import Path

import jinja2
import numpy as np
import soundfile
import torch
from absl import flags

from launch.listening.pictures import pick, token_picture, training_curve
from tokenizer_bridge.audio.read import stream_mono
from tokenizer_bridge.pages.pictures import player, spectrogram
from tokenizer_bridge.token_dataset.errors import UserError, run_door
from tokenizer_bridge.token_dataset.files import atomic_file
from tokenizer_bridge.token_dataset.records import Record, TokenDataset
from tokenizer_bridge.wavtokenizer import registry
from tokenizer_bridge.wavtokenizer.network import WavTokenizer

FLAGS = flags.FLAGS

flags.DEFINE_string("workdir", None, "The trained run; the page is written into it.", required=True)
flags.DEFINE_string("input", None, "The music that was encoded.", required=True)
flags.DEFINE_string("tokens", None, "Token dataset of that music.", required=True)
flags.DEFINE_string("generated", None, "Token dataset of the new pieces.", required=True)
flags.DEFINE_string("wavs", None, "Folder with the decoded new pieces.", required=True)
flags.DEFINE_string("codec_dir", None, "Folder with the codec, if it is not a known one.")
flags.DEFINE_integer("num_real", 4, "Real clips to show beside the new pieces.", lower_bound=0)
flags.DEFINE_float("real_s", 8.0, "Length of a real clip.", lower_bound=1.0)


def main(argv: list[str]) -> None:
    del argv
    workdir = Path(FLAGS.workdir)
    tokens = TokenDataset(FLAGS.tokens)
    generated = TokenDataset(FLAGS.generated)
    codec, info = registry.load_codec(tokens.codec["name"], codec_dir=FLAGS.codec_dir)
    order = code_order(codec)
    split = "validation" if "validation" in tokens.splits else "train"
    page = {
        "title": f"New music from {Path(FLAGS.input).resolve().name}",
        "pieces": [new_piece(r, Path(FLAGS.wavs), order) for r in generated.records("generated")],
        "clips": [
            real_clip(record, codec, order)
            for record in pick(list(tokens.records(split)), FLAGS.num_real)
        ],
        "curve": training_curve(read_jsonl(workdir / "metrics.jsonl"), evaluation(workdir)),
        "figures": figures(tokens, generated, evaluation(workdir), info),
        "codec": info,
        "config": json.dumps(json.loads(read_text(workdir / "config.json")), indent=1),
    }
    template = jinja2.Template(
        (Path(__file__).parent / "listening" / "page.html.j2").read_text(), autoescape=True
    )
    output = workdir / "index.html"
    with atomic_file(output) as partial:
        Path(partial).write_text(template.render(page))
    print(f"page written to {output} ({output.stat().st_size / 2**20:.1f} MiB)")


def new_piece(record: Record, wavs: Path, order: np.ndarray) -> dict:
    matches = [path for path in wavs.iterdir() if path.stem == record.id]
    if not matches:
        raise UserError(f"{wavs}: no {record.id}.wav; run tokenizer_bridge.decode first")
    samples, rate = soundfile.read(matches[0], dtype="float32")
    return {
        "name": record.id,
        "source": json.dumps(record.source) if isinstance(record.source, dict) else record.source,
        "player": player(samples, rate),
        "spectrogram": spectrogram(samples, rate),
        "tokens": token_picture(record.tokens, order),
    }


def real_clip(record: Record, codec: WavTokenizer, order: np.ndarray) -> dict:
    """A few seconds from the middle of a track, and what is left of them after the codec."""
    rate, hop = codec.config.sample_rate, codec.config.hop_length
    count = min(round(FLAGS.real_s * rate) // hop, len(record.tokens))
    first = (len(record.tokens) - count) // 2
    blocks = stream_mono(Path(FLAGS.input) / record.id, rate)
    original = np.concatenate(list(blocks))[first * hop : (first + count) * hop]
    codes = record.tokens[first : first + count]
    with torch.inference_mode():
        decoded = codec.decode(torch.from_numpy(codes.astype(np.int64))[None])[0].numpy()
    return {
        "name": record.id,
        "original": player(original, rate),
        "original_spectrogram": spectrogram(original, rate),
        "decoded": player(decoded, rate),
        "decoded_spectrogram": spectrogram(decoded, rate),
        "tokens": token_picture(codes, order),
    }


def code_order(codec: WavTokenizer) -> np.ndarray:
    """Rank of every code along the codebook's first principal axis: near codes look near."""
    embed = codec.quantizer.codebook.embed.float()
    centred = embed - embed.mean(0)
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    return (centred @ axes[0]).argsort().argsort().numpy()


def evaluation(workdir: Path) -> dict | None:
    """The newest evaluation of the run, if there is one."""
    files = sorted(workdir.glob("evaluation_*.json"), key=lambda p: p.stat().st_mtime)
    return json.loads(files[-1].read_text()) if files else None


def figures(
    tokens: TokenDataset, generated: TokenDataset, report: dict | None, info: registry.CodecInfo
) -> list[tuple[str, str]]:
    """The table of measured numbers."""
    rate = info.sample_rate / info.hop_length
    rows = []
    for split in tokens.splits:
        lengths = tokens.lengths(split)
        if len(lengths):
            minutes = lengths.sum() / rate / 60
            text = f"{len(lengths)} tracks, {lengths.sum():,} tokens, {minutes:.1f} min"
            rows.append((f"Music, {split}", text))
    lengths = generated.lengths("generated")
    rows.append(("New pieces", f"{len(lengths)} × {lengths.max() / rate:.1f} s"))
    if report:
        rows.append(("Measured on", f"{report['split']}, {report['num_tokens']:,} tokens"))
        names = {
            "model": "Score model, bits per token (upper bound)",
            "bigram": "Bigram baseline, bits per token",
            "unigram": "Unigram baseline, bits per token",
        }
        for key, name in names.items():
            value = report["bits_per_token"][key]
            error = value["standard_error"]
            text = f"{value['mean']:.3f}" + (f" ± {error:.3f}" if error is not None else "")
            rows.append((name, text))
    return rows


def read_jsonl(path: Path) -> list[dict]:
    return [json.loads(line) for line in read_text(path).splitlines()]


def read_text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


if __name__ == "__main__":
    run_door(main)
