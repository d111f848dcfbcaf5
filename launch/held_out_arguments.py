"""The arguments of commands that measure a model on held-out music."""

from launch.codec_arguments import add_codec_dir
from sedd_jax import model_arguments
from sedd_jax.diffusion.choices import SAMPLERS
from tokenizer_bridge.token_dataset.command import Parser, integer, local_path


def add_held_out_arguments(parser: Parser) -> None:
    """--workdir, --audio, --output, and how many tracks, which sampler, steps and seed."""
    add = parser.add_argument
    model_arguments.add_model(parser)
    add(
        "--audio",
        type=local_path,
        required=True,
        metavar="HELD_OUT",
        help="Folder of music that neither model nor codec has heard.",
    )
    add("--output", type=local_path, required=True, metavar="JSON", help="File for the figures.")
    add("--num_tracks", type=integer(2), help="Take so many tracks only.")
    add_steps(parser)
    add("--seed", type=integer(0, 2**32 - 1), default=0, help="Of all that is drawn.")
    add_codec_dir(parser)


def add_steps(parser: Parser) -> None:
    """--sampler and --steps of commands that leave the rest of the drawing as it is."""
    parser.add_argument(
        "--sampler", choices=SAMPLERS, help="How a step is taken; the model's own by default."
    )
    parser.add_argument(
        "--steps",
        type=integer(1),
        help="Steps from noise to data; the model's own, or else the sampler's, by default.",
    )
