"""The argument of commands that decode with a codec which may be no known one."""

from tokenizer_bridge.token_dataset.command import Parser, local_path


def add_codec_dir(parser: Parser) -> None:
    """Adds --codec_dir."""
    parser.add_argument(
        "--codec_dir",
        type=local_path,
        metavar="DIR",
        help="Folder with the codec's weights and YAML, if it is no known one.",
    )
