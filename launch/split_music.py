"""Divides a folder of music into what is learnt from and what is held out, by links.

    python -m launch.split_music --music=CORPUS --tags=CORPUS/tags.csv --output=MUSIC

MUSIC/train/ARTIST/… and MUSIC/held_out/ARTIST/… then have a link to every track, in the splits that
`python -m tokenizer_bridge.encode` takes of the same folder and tags (validation and test together
are held out). So a codec can be trained on what the model is trained on, and nothing that measures
either was heard by one of them; and since folders are named after artists, whatever takes MUSIC
knows who is whose. Repeated, the command changes nothing; links of another division are refused.
"""

from collections.abc import Sequence
from pathlib import Path

from tokenizer_bridge import sources
from tokenizer_bridge.sources import Track
from tokenizer_bridge.sources.splits import assign_splits
from tokenizer_bridge.token_dataset.command import Parser, local_path, run_command
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import make_writable, safe_file_stems

FOLDERS = {"train": "train", "validation": "held_out", "test": "held_out"}


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--music", type=local_path, required=True, metavar="MUSIC", help="Folder of audio files.")
    add(
        "--tags",
        type=local_path,
        default="none",
        help="Where artists come from, as encode takes it.",
    )
    add("--output", type=local_path, required=True, metavar="DIR", help="Folder for the links.")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = make_parser().parse_args(argv)
    tracks = sources.load("folder", arguments.music, tags=arguments.tags, tell=print)
    counts = split_music(tracks, Path(arguments.output))
    print(f"{arguments.output}: " + ", ".join(f"{n} tracks in {f}" for f, n in counts.items()))


def split_music(tracks: Sequence[Track], output: Path) -> dict[str, int]:
    """Makes the links; returns the tracks of each folder. Raises UserError for other links."""
    splits = assign_splits({track.id: track.artist for track in tracks})
    artists = sorted({track.artist for track in tracks if track.artist})
    folder_of = dict(zip(artists, safe_file_stems(artists), strict=True))
    names = safe_file_stems([track.path.stem for track in tracks])
    counts = dict.fromkeys(FOLDERS.values(), 0)
    wanted = {}
    for track, name in zip(tracks, names, strict=True):
        folder = FOLDERS[splits[track.id]]
        counts[folder] += 1
        place = Path(folder, folder_of.get(track.artist, ""), f"{name}{track.path.suffix}")
        wanted[place] = track.path.resolve()
    make_writable(output)
    found = {path.relative_to(output) for path in output.rglob("*") if not path.is_dir()}
    if others := sorted(found - wanted.keys()):
        raise UserError(f"{output / others[0]} is other music: choose another folder")
    for place, path in wanted.items():
        link = output / place
        if link.is_symlink() and link.resolve() == path:
            continue
        if link.is_symlink() or link.exists():
            raise UserError(f"{link} is not a link to {path}: choose another folder")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    return counts


if __name__ == "__main__":
    run_command(main)
