"""Edits a song: goes on with it, replaces a stretch, varies it.

    python -m launch.edit --workdir=RUN --audio=SONG --output=DIR --continue_s=20
    python -m launch.edit --workdir=RUN --audio=SONG --output=DIR --replace=12.5:18,30:31
    python -m launch.edit --workdir=RUN --audio=SONG --output=DIR --vary=0.4
    python -m launch.edit --workdir=RUN --audio=SONG --output=DIR --keep_every=13

RUN is the directory of a run or of an exported model, or demo. SONG, of any length and format,
becomes tokens of the model's codec; some are kept, the model draws the others given them, and
DIR gets --variations WAV files, named after SONG, and their token dataset DIR/tokens.

--continue_s and --replace leave SONG as it is elsewhere: its sample rate, channels and every sample
but those within 0.3 s of what is new, where the two are faded into each other. What is new is mono.
--vary and --keep_every leave no stretch untouched: what they make comes from the codec alone, mono
and at its rate, as all does with --no_keep_audio.

In a song longer than the model's context, what is new is drawn in windows around it, one after
another. Variation i depends on --seed and i alone. Stopped, the same command goes on where it was,
and with more --variations it makes those that are missing.

Encoding and decoding are processes of their own, since they need PyTorch. Where there is none,
--tokens=TOKENS takes the place of --audio: a token dataset with one track, or --track=ID of it. Its
edits become audio elsewhere: python -m tokenizer_bridge.decode_edits.
"""

import argparse
import importlib.util
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from launch.codec_arguments import add_codec_dir
from sedd_jax import model_arguments
from sedd_jax.diffusion.choices import SCHEDULES
from sedd_jax.sample import add_drawing, parse_vector, vectors_asked_for
from tokenizer_bridge.token_dataset.command import (
    Parser,
    Switch,
    comma_list,
    integer,
    local_path,
    number,
    path_or_url,
    run_command,
)
from tokenizer_bridge.token_dataset.errors import UserError

MODES = ("continue_s", "replace", "vary", "keep_every")


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    model_arguments.add_model(parser)
    add("--audio", type=local_path, metavar="SONG", help="The song: an audio file.")
    add(
        "--tokens",
        type=path_or_url,
        metavar="TOKENS",
        help="The song's token dataset, in place of --audio.",
    )
    add("--track", metavar="ID", help="With --tokens: which of several tracks is the song.")
    add("--output", type=local_path, required=True, metavar="DIR", help="Directory of the results.")
    edit = parser.add_argument_group("the edit, one of these").add_argument
    edit(
        "--continue_s",
        type=number(0.0),
        metavar="SECONDS",
        help="Keep all of the song, and go on for so long.",
    )
    edit(
        "--replace",
        type=parse_stretches,
        metavar="START:STOP,…",
        help="Stretches to draw anew, in seconds; without START from the start, without STOP to "
        "the end.",
    )
    edit(
        "--vary",
        type=number(0.0, 1.0),
        metavar="SHARE",
        help="Keep this share of the tokens, drawn at random from --seed for each variation.",
    )
    edit("--keep_every", type=integer(2), metavar="N", help="Keep one token in N.")
    add(
        "--variations",
        type=integer(1, 100_000),
        default=4,
        metavar="N",
        help="How many to make.",
    )
    add(
        "--keep_audio",
        action=Switch,
        default=True,
        help="Leave the song's own audio wherever nothing is changed.",
    )
    add("--overwrite", action="store_true", help="Replace audio files that exist.")
    add_codec_dir(parser)
    add_sampling(parser)
    return parser


def add_sampling(parser: Parser) -> None:
    """The arguments that say how the model draws."""
    group = parser.add_argument_group("how the model draws")
    add = group.add_argument
    add("--seed", type=integer(0, 2**32 - 1), default=0, help="Seed of the variations.")
    add_drawing(group)
    add(
        "--overlap",
        type=integer(0),
        help="In songs longer than the model's context: how many tokens before what is new the "
        "model is told; half of the context by default.",
    )
    add(
        "--batch_size",
        type=integer(1),
        help="Variations at a time; config.sampling.batch_size by default.",
    )
    add("--tags", type=comma_list, help="Tags of what is new, category---name, commas between.")
    add("--avoid", type=comma_list, default=(), help="Tags to stay away from; needs --guidance.")
    add(
        "--vector",
        type=parse_vector,
        action="append",
        default=[],
        metavar="KIND:FILE.npy",
        help="A vector of this kind; once for each kind.",
    )
    add(
        "--guidance",
        type=number(0.0),
        default=1.0,
        help="How much tags and vectors count: 1 as in training, more exaggerates.",
    )
    add(
        "--guidance_schedule",
        choices=SCHEDULES,
        default="constant",
        help="Over the steps: --guidance throughout; rising to it from 1; falling from it to 1.",
    )


def parse_stretches(text: str) -> list[tuple[float | None, float | None]]:
    """The type of --replace: (start, stop) of each stretch in seconds, None where it is open."""
    stretches = []
    for item in comma_list(text):
        start, colon, stop = item.partition(":")
        if not colon or ":" in stop or item == ":":
            raise argparse.ArgumentTypeError(
                f"{item!r} must be START:STOP in seconds, such as 12.5:18"
            )
        seconds = number(0.0)
        stretches.append((seconds(start) if start else None, seconds(stop) if stop else None))
    return stretches


def main(argv: Sequence[str] | None = None) -> int:
    arguments = make_parser().parse_args(argv)
    given = [name for name in MODES if getattr(arguments, name) is not None]
    if len(given) != 1:
        asked = " and ".join(f"--{name}" for name in given) or "nothing to do"
        raise UserError(f"{asked}: give one of {', '.join(f'--{name}' for name in MODES)}")
    if (arguments.audio is None) == (arguments.tokens is None):
        raise UserError("the song is named by --audio or by --tokens: give one of the two")
    if arguments.track is not None and arguments.tokens is None:
        raise UserError("--track is for --tokens, which is missing")
    if arguments.audio is not None:
        if not Path(arguments.audio).is_file():
            is_folder = Path(arguments.audio).is_dir()
            what = "is a folder: one song at a time is edited" if is_folder else "no such file"
            raise UserError(f"--audio: {arguments.audio}: {what}")
        if importlib.util.find_spec("torch") is None:
            raise UserError(
                "--audio needs PyTorch, which is not installed here: run tokenizer_bridge.encode "
                "where it is, then this command with --tokens"
            )
    vectors = vectors_asked_for(arguments.vector)
    words = sys.argv[1:] if argv is None else argv

    from launch.changes import BY_MODE
    from launch.jobs.edit import edit
    from sedd_jax.sampling.tags import Steering

    (mode,) = given
    return edit(
        BY_MODE[mode](getattr(arguments, mode)),
        workdir=arguments.workdir,
        audio=arguments.audio,
        tokens=arguments.tokens,
        track=arguments.track,
        output=Path(arguments.output),
        variations=arguments.variations,
        keep_audio=arguments.keep_audio,
        overwrite=arguments.overwrite,
        codec_dir=arguments.codec_dir,
        step=arguments.step,
        seed=arguments.seed,
        sampler=arguments.sampler,
        steps=arguments.steps,
        schedule=arguments.schedule,
        strength=arguments.strength,
        overlap=arguments.overlap,
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        top_p=arguments.top_p,
        batch_size=arguments.batch_size,
        steering=Steering(
            tags=arguments.tags,
            avoid=arguments.avoid,
            guidance=arguments.guidance,
            schedule=arguments.guidance_schedule,
            vectors=vectors,
        ),
        command=shlex.join(["python", "-m", "launch.edit", *words]),
    )


if __name__ == "__main__":
    run_command(main)
