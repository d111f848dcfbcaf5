"""Tells by independent judges whether samples are what their tags asked for.

    python -m tokenizer_bridge.judge_tags --tokens=TOKENS --samples=NEW --output=DIR

TOKENS is a data set with tags, NEW what `python -m sedd_jax.sample --tags_from=TOKENS …` wrote;
--samples may be given several times, for samples of several kinds of guidance. For each category of
tags (instrument, genre, …) a judge is made from real pieces of the split `train`, which have gone
through the codec as generated ones have: a classifier of musicnn's vectors; of transcribed notes'
times for tempo and metre; key and mode are those whose profile fits the notes. Its share of right
answers on held-out real pieces is the ceiling; the floor is that of samples without tags, where a
NEW has them, or guidance 0. Beside it stands KAD, the distance to the held-out pieces.

DIR gets judged.json, judged.md and judged.png. What is heard is kept in DIR/heard: a command that
was stopped goes on where it was. `python -m launch.judge_tags` draws the samples as well.
"""

from collections.abc import Sequence
from pathlib import Path

from tokenizer_bridge.memory import keep_freed_memory
from tokenizer_bridge.token_dataset.command import (
    Parser,
    comma_list,
    integer,
    local_path,
    run_command,
)
from tokenizer_bridge.token_dataset.files import atomic_file, make_writable, write_json_atomically


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add(
        "--tokens",
        type=local_path,
        required=True,
        metavar="TOKENS",
        help="Token dataset of real music with tags.",
    )
    add(
        "--samples",
        type=local_path,
        required=True,
        action="append",
        metavar="NEW",
        help="Token dataset of samples; several times for several.",
    )
    add("--output", type=local_path, required=True, metavar="DIR", help="Directory for results.")
    add(
        "--splits",
        type=comma_list,
        help="Held-out splits of the real music; all but train by default.",
    )
    add("--categories", type=comma_list, help="Categories to judge; all by default.")
    add(
        "--num_train",
        type=integer(16),
        default=600,
        metavar="N",
        help="Real pieces, one a track, that judges are trained on, at most.",
    )
    add(
        "--codec_dir",
        type=local_path,
        metavar="DIR",
        help="Folder with the codec's weights and YAML.",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = make_parser().parse_args(argv)
    output = Path(arguments.output)
    make_writable(output)

    from tokenizer_bridge.jobs.judge_tags import judge_tags
    from tokenizer_bridge.judging import report

    keep_freed_memory()
    result = judge_tags(
        arguments.tokens,
        arguments.samples,
        output / "heard",
        splits=arguments.splits,
        categories=arguments.categories,
        num_train=arguments.num_train,
        codec_dir=arguments.codec_dir,
    )
    write_json_atomically(output / "judged.json", result)
    text = report.as_markdown(result)
    with atomic_file(output / "judged.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    with atomic_file(output / "judged.png") as temporary:
        report.figure(result).savefig(temporary, format="png", dpi=120)
    print(text)
    print(f"in {output}: judged.json, judged.md, judged.png")


if __name__ == "__main__":
    run_command(main)
