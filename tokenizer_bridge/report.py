r"""Measures how far generated music is from real music: the paper's table, with its error bars.

    python -m tokenizer_bridge.report --audio=WAVS --reference jamendo=JAMENDO \
        --reference nlakh=NLAKH --codec=demo --output=REPORT

writes report.md, report.json and report.html (complete in itself) into REPORT. A reference is a
folder of music, MTG-Jamendo or Nlakh; which is told by its layout, or said as NAME=SOURCE:DIR.

Each file gives --clips_per_file clips of --clip_s seconds, evenly spread: one of 10 s, for Nlakh
(whose pieces are of 5 s) 4.9 s. Both arguments, and --num_reference, hold for all sets, or for one
as NAME=VALUE, where the generated music is called generated. It is cut to the length of each
reference's clips. For every reference and embedding there are FAD, FAD∞ and KAD, beside those of
controls made from the reference itself (tokenizer_bridge/fad/controls.py); they need the codec that
the music was decoded with.

A file that cannot be used, or is shorter than its clips, is refused; --skip_unusable leaves such
files out and lists them. Vectors and controls are kept in --cache_dir, so that the same command
goes on where an interrupted one stopped.
"""

import argparse
import functools
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizer_bridge.audio.decoder_notes import without_decoder_notes
from tokenizer_bridge.cleaning import check_target
from tokenizer_bridge.fad.choices import EMBEDDINGS
from tokenizer_bridge.memory import keep_freed_memory
from tokenizer_bridge.reporting.arguments import parse_paths, parse_per_name, parse_references
from tokenizer_bridge.reporting.names import GENERATED
from tokenizer_bridge.token_dataset.command import (
    Parser,
    Switch,
    comma_list,
    integer,
    local_path,
    local_paths,
    naming,
    number,
    run_command,
)
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import make_writable

if TYPE_CHECKING:
    from tokenizer_bridge.fad.embeddings import Embedding
    from tokenizer_bridge.reporting.run import Plan


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add(
        "--audio", type=local_path, required=True, metavar="WAVS", help="Folder of generated audio."
    )
    add(
        "--reference",
        type=local_paths,
        action="append",
        required=True,
        metavar="NAME=MUSIC",
        help="NAME=DIR or NAME=SOURCE:DIR of real music; may be repeated.",
    )
    add(
        "--output",
        type=local_path,
        required=True,
        metavar="REPORT",
        help="Directory of the report.",
    )
    add(
        "--embeddings",
        type=comma_list,
        default="musicnn",
        help=f"Comma-separated, of {', '.join(EMBEDDINGS)}.",
    )
    several = functools.partial(add, action="append", default=[])
    several(
        "--weights",
        type=local_paths,
        metavar="NAME=FILE",
        help="An embedding's weights, if they are not in a cache.",
    )
    several("--clip_s", help="Seconds of a clip, or NAME=seconds; 10, for Nlakh 4.9.")
    several("--clips_per_file", help="Clips, or NAME=clips; 1.")
    several(
        "--num_reference",
        help="Take so many of a reference's tracks, or NAME=tracks; 0, all.",
    )
    several(
        "--metadata",
        type=local_paths,
        metavar="NAME=TSV",
        help="TSV of an MTG-Jamendo reference that has several.",
    )
    add("--loudness", type=number(), help="LUFS to bring clips to, as far as peaks allow.")
    add("--seed", type=integer(0), default=0, help="Of tracks, halves, subsets and noise.")
    add("--codec", default="demo", help="Name of the codec that decoded the music.")
    add(
        "--codec_dir",
        type=local_path,
        metavar="DIR",
        help="Folder with a codec's weights and YAML.",
    )
    add("--controls", action=Switch, default=True, help="Measure the controls, by the codec.")
    add("--skip_unusable", action="store_true", help="Leave out files that cannot be used.")
    add(
        "--cache_dir",
        type=local_path,
        metavar="DIR",
        help="Where vectors are kept; a user's cache.",
    )
    add(
        "--num_workers",
        type=integer(1),
        help="Threads that read and embed; as many as cores without.",
    )
    add("--batch_size", type=integer(1), default=8, help="Clips in a batch.")
    add("--device", default="cpu", help="PyTorch device, such as cpu or cuda:0.")
    return parser


@without_decoder_notes()
def main(argv: Sequence[str] | None = None) -> None:
    arguments = make_parser().parse_args(argv)
    output = Path(arguments.output)
    make_writable(output)

    from tokenizer_bridge.jobs.report import write_report
    from tokenizer_bridge.reporting.compare import TokensNotAudio, UnusableFiles

    keep_freed_memory()
    try:
        write_report(plan(arguments), embeddings(arguments), output)
    except UnusableFiles as error:
        shorter = "" if error.fitting_s is None else f"--clip_s={error.fitting_s:g} or "
        raise UserError(f"{error} ({shorter}--skip_unusable)") from error
    except TokensNotAudio as error:
        decode = f"python -m tokenizer_bridge.decode --tokens={shlex.quote(arguments.audio)}"
        raise UserError(f"{error}: {decode} --output=WAVS, then --audio=WAVS") from error


def plan(arguments: argparse.Namespace) -> "Plan":
    """The plan that the arguments ask for. Raises UserError."""
    from tokenizer_bridge.fad.weights import cache_folder
    from tokenizer_bridge.reporting.compare import EmbedOptions
    from tokenizer_bridge.reporting.run import Plan
    from tokenizer_bridge.wavtokenizer.registry import load_codec

    with naming("--reference"):
        references = parse_references(arguments.reference)
    names = [reference.name for reference in references]
    with naming("--clip_s"):
        clip_s = parse_per_name(arguments.clip_s, {r.name: r.clip_s for r in references}, 0.1)
    with naming("--clips_per_file"):
        defaults = dict.fromkeys([GENERATED, *names], 1)
        clips_per_file = parse_per_name(arguments.clips_per_file, defaults, 1)
    with naming("--num_reference"):
        num_tracks = parse_per_name(arguments.num_reference, dict.fromkeys(names, 0), 0)
    with naming("--metadata"):
        metadata = parse_paths(arguments.metadata, names)
    with naming("--loudness"):
        check_target(arguments.loudness)
    codec = None
    if arguments.controls:
        codec = load_codec(arguments.codec, codec_dir=arguments.codec_dir, device=arguments.device)
    return Plan(
        generated=arguments.audio,
        references=references,
        clip_s=clip_s,
        clips_per_file=clips_per_file,
        num_tracks=num_tracks,
        metadata=metadata,
        codec=codec,
        options=EmbedOptions(
            cache_dir=Path(arguments.cache_dir or cache_folder() / "vectors"),
            num_workers=arguments.num_workers,
            batch_size=arguments.batch_size,
            loudness=arguments.loudness,
        ),
        seed=arguments.seed,
        skip_unusable=arguments.skip_unusable,
    )


def embeddings(arguments: argparse.Namespace) -> "list[Embedding]":
    """The embeddings that the arguments name. Raises UserError."""
    from tokenizer_bridge.fad.embeddings import load_embedding, parts_of
    from tokenizer_bridge.fad.weights import parse_weights, require_weights

    names = list(dict.fromkeys(arguments.embeddings))
    with naming("--weights"):
        weights = parse_weights(arguments.weights)
    needed = parts_of(names)
    if unused := sorted(weights.keys() - set(needed)):
        raise UserError(f"--weights={unused[0]}=…: no embedding in --embeddings needs them")
    with naming("--weights"):
        require_weights(needed, weights)
    return [load_embedding(name, weights, arguments.device) for name in names]


if __name__ == "__main__":
    run_command(main)
