"""The arguments of commands that measure a model on held-out music."""

from sedd_jax import config_arguments
from tokenizer_bridge.token_dataset.command import Parser, integer, local_path


def add_held_out_arguments(parser: Parser, *, steps: int) -> None:
    """--workdir, --audio, --output and how many tracks, steps (so many by default), which seed."""
    add = parser.add_argument
    add(
        "--workdir",
        type=local_path,
        required=True,
        metavar="RUN",
        help="Directory of a run or of an exported model; demo; or user/name on the hub.",
    )
    config_arguments.add_step(parser)
    add(
        "--audio",
        type=local_path,
        required=True,
        metavar="HELD_OUT",
        help="Folder of music that neither model nor codec has heard.",
    )
    add("--output", type=local_path, required=True, metavar="JSON", help="File for the figures.")
    add("--num_tracks", type=integer(2), help="Take so many tracks only.")
    add("--steps", type=integer(1), default=steps, help="Steps from noise to data.")
    add("--seed", type=integer(0, 2**32 - 1), default=0, help="Of all that is drawn.")
    add(
        "--codec_dir",
        type=local_path,
        metavar="DIR",
        help="Folder with the codec's weights and YAML.",
    )
