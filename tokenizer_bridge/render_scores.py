"""Renders a corpus of music from scores, with tags: what the demo's codec and model learn from.

    python -m tokenizer_bridge.render_scores --output=CORPUS --hours=20
    python -m tokenizer_bridge.encode --source=folder --audio=CORPUS \\
        --tags=CORPUS/tags.csv --codec=demo-scores --output=TOKENS

The scores are four-part chorales by J. S. Bach and dance tunes of Ryan's Mammoth Collection (1883)
as the Python package music21 carries them: pip install music21==10.5.1. FluidSynth plays them on
six instruments of the sound font FluidR3: apt-get install fluidsynth fluid-soundfont-gm (Debian,
Ubuntu; MIT licence, 120 MB). tokenizer_bridge/assets/LICENSES.md has the licences.

Every piece is a FLAC file (24 kHz, mono, 16 bits, two minutes at most) whose name begins with its
genre. CORPUS/tags.csv has instrument, genre, key, mode, metre and tempo, and as artist the tune, so
that no tune is in two splits; CORPUS/notes.jsonl the notes as they were played; CORPUS/corpus.json
counts, versions, hashes, and the scores that could not be read. The same seed and versions give the
same files. Killed or interrupted, the same command goes on where it stopped.
"""

from collections.abc import Sequence
from pathlib import Path

from tokenizer_bridge.sources.scores import SOUND_FONT
from tokenizer_bridge.token_dataset.command import Parser, integer, local_path, number, run_command


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--output", type=local_path, required=True, metavar="CORPUS", help="Folder for the corpus.")
    add("--hours", type=number(0.001), default=20.0, help="Hours of music.")
    add("--seed", type=integer(0), default=0, help="Another seed, another corpus.")
    add("--num_scores", type=integer(1), help="Read so many scores only, evenly spread.")
    add(
        "--sound_font",
        type=local_path,
        default=str(SOUND_FONT),
        metavar="FILE",
        help="FluidR3_GM.sf2.",
    )
    add("--num_workers", type=integer(1), default=1, help="Pieces rendered at once.")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = make_parser().parse_args(argv)

    from tokenizer_bridge.jobs.render_scores import render_scores

    render_scores(
        Path(arguments.output),
        hours=arguments.hours,
        seed=arguments.seed,
        num_scores=arguments.num_scores,
        sound_font=Path(arguments.sound_font),
        num_workers=arguments.num_workers,
    )


if __name__ == "__main__":
    run_command(main)
