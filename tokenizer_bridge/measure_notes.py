"""Measures the notes of generated music beside those of real music, and looks for copies.

    python -m tokenizer_bridge.measure_notes --audio=WAVS --reference=HELD_OUT --codec=demo-scores \
        --tokens=TOKENS --generated_tokens=NEW --notes=CORPUS/notes.jsonl --output=NOTES.json

Notes are transcribed from the middle of every piece. For each measure (key clarity, density,
lengths, intervals, beat) there are the medians of the real pieces, of the same through the codec,
of the generated ones and of shuffled codes, and the share of pieces within the real 10–90% range.

With --tokens, the data set that the model was trained on, it looks for the longest stretches that
the generated pieces share with the training split, beside those that held-out pieces share with it,
and those of training pieces through the codec: that is what copies would have. Stretches of tokens
need --generated_tokens, those of notes, up to transposition and tempo, the training pieces' notes
in --notes. Notes of the reference in it tell how well transcription agrees with the score.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tokenizer_bridge.devices import available_cores
from tokenizer_bridge.notes.comparison import Plan, compare
from tokenizer_bridge.notes.scores import read_scores
from tokenizer_bridge.notes.text import as_text
from tokenizer_bridge.sources import folder, subset
from tokenizer_bridge.token_dataset.command import (
    Parser,
    integer,
    local_path,
    naming,
    number,
    run_command,
)
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import make_writable, write_json_atomically
from tokenizer_bridge.token_dataset.records import TokenDataset
from tokenizer_bridge.wavtokenizer.registry import load_codec


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add(
        "--audio", type=local_path, required=True, metavar="WAVS", help="Folder of generated audio."
    )
    add(
        "--reference",
        type=local_path,
        required=True,
        metavar="MUSIC",
        help="Folder of held-out music.",
    )
    add("--output", type=local_path, required=True, metavar="JSON", help="File for the figures.")
    add("--codec", help="Name of the codec; that of --tokens by default.")
    add(
        "--codec_dir",
        type=local_path,
        metavar="DIR",
        help="Folder with a codec's weights and YAML.",
    )
    add(
        "--tokens",
        type=local_path,
        metavar="TOKENS",
        help="Token dataset that the model was trained on.",
    )
    add(
        "--generated_tokens",
        type=local_path,
        metavar="NEW",
        help="Token dataset of the generated pieces.",
    )
    add(
        "--notes",
        type=local_path,
        action="append",
        default=[],
        metavar="JSONL",
        help="Known notes, as render_scores writes them; may be repeated.",
    )
    add("--clip_s", type=number(2), default=25.0, help="Seconds from the middle of each piece.")
    add("--num_reference", type=integer(2), help="Take so many held-out pieces only.")
    add("--seed", type=integer(0), default=0, help="Of what is drawn: pieces, shuffles.")
    add("--num_workers", type=integer(1), help="Threads; as many as cores without.")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = make_parser().parse_args(argv)
    output = Path(arguments.output)
    make_writable(output.absolute().parent)
    report = measure_notes(
        arguments.audio,
        arguments.reference,
        codec=arguments.codec,
        codec_dir=arguments.codec_dir,
        tokens=arguments.tokens,
        generated_tokens=arguments.generated_tokens,
        notes=arguments.notes,
        clip_s=arguments.clip_s,
        num_reference=arguments.num_reference,
        seed=arguments.seed,
        num_workers=arguments.num_workers,
    )
    write_json_atomically(output, report)
    print(as_text(report))


def measure_notes(
    audio: str,
    reference: str,
    *,
    codec: str | None = None,
    codec_dir: str | None = None,
    tokens: str | None = None,
    generated_tokens: str | None = None,
    notes: Sequence[str] = (),
    clip_s: float = 25.0,
    num_reference: int | None = None,
    seed: int = 0,
    num_workers: int | None = None,
) -> dict[str, Any]:
    """The figures, as the JSON file has them. Arguments are the command's. Raises UserError."""
    with naming("--audio"):
        generated = folder.tracks(audio)
    with naming("--reference"):
        real = folder.tracks(reference)
        if num_reference:
            real = subset(real, num_reference, seed)
    if generated_tokens and not tokens:
        raise UserError("--generated_tokens are looked up in --tokens, which is not given")
    training = TokenDataset(tokens) if tokens else None
    new = TokenDataset(generated_tokens) if generated_tokens else None
    name, network = codec or (training.codec["name"] if training else None), None
    if name:
        network, info = load_codec(name, codec_dir=codec_dir)
        for data in filter(None, (training, new)):
            data.require_codec(vars(info))
    with naming("--notes"):
        scores = read_scores(notes)
    plan = Plan(
        generated=generated,
        reference=real,
        clip_s=clip_s,
        codec=network,
        training=training,
        generated_tokens=new,
        scores=scores,
        num_workers=num_workers or available_cores(),
        seed=seed,
    )
    return compare(plan, bar)


@contextlib.contextmanager
def bar(title: str, total: int, unit: str) -> Iterator[Callable[[], object]]:
    with tqdm(total=total, unit=unit, desc=title, leave=False) as progress:
        yield progress.update


if __name__ == "__main__":
    run_command(main)
