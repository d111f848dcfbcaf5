r"""Measures the notes of generated music beside those of real music, and looks for copies.

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

from collections.abc import Sequence
from pathlib import Path

from tokenizer_bridge.token_dataset.command import Parser, integer, local_path, number, run_command
from tokenizer_bridge.token_dataset.files import make_file_writable, write_json_atomically


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
    make_file_writable(output)

    from tokenizer_bridge.jobs.measure_notes import measure_notes
    from tokenizer_bridge.notes.text import as_text

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


if __name__ == "__main__":
    run_command(main)
