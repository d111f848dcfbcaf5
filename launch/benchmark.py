"""Measures how fast this machine trains, samples, encodes, decodes and reads: a table and JSON.

    python -m launch.benchmark [--config=CONFIG] [--parts=train,sample,codec,…]

Every part runs in a process of its own, so that its peak memory is its own. Times are medians of
several repetitions after a warm-up; on a shared machine trust ratios more than seconds.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from sedd_jax import config_arguments
from sedd_jax.errors import UserError
from tokenizer_bridge.token_dataset.command import (
    Parser,
    comma_list,
    integer,
    local_path,
    number,
    run_command,
)
from tokenizer_bridge.token_dataset.files import write_json_atomically

PARTS = ("train", "sample", "tags", "codec", "data", "bucket", "embeddings")


def make_parser() -> Parser:
    parser = Parser(__doc__)
    config_arguments.add_arguments(parser, required=False, default="demo")
    parser.add_argument(
        "--parts", type=_parts, default=",".join(PARTS), help="Which of them to measure."
    )
    parser.add_argument(
        "--repeats", type=integer(1), default=7, help="Timed repetitions of everything."
    )
    parser.add_argument(
        "--codebook_size", type=integer(2), default=4096, help="Codes, without the mask."
    )
    parser.add_argument(
        "--codec",
        default="demo",
        help="Codec to time; 'full-size' is the published one's size.",
    )
    parser.add_argument(
        "--clip_s",
        type=number(1.0),
        default=10.0,
        metavar="SECONDS",
        help="Length of a clip to encode, decode or embed.",
    )
    parser.add_argument(
        "--tracks",
        type=integer(1),
        default=512,
        help="Tracks of the data that is read; 55701 are as much as MTG-Jamendo, and take 1.5 GB "
        "of the temporary folder.",
    )
    parser.add_argument(
        "--readers",
        type=integer(1),
        default=min(8, os.cpu_count() or 1),
        help="Processes that read at once, as those of a training on several devices do.",
    )
    parser.add_argument(
        "--eats",
        type=_tokens_per_s,
        metavar="RATE",
        help="Tokens/s that training eats, to compare the reading with: a number, or a file that "
        "launch.compile_check wrote; by default those of the part train.",
    )
    parser.add_argument(
        "--output", type=local_path, metavar="FILE", help="JSON file for the figures."
    )
    parser.add_argument(
        "--in_process", action="store_true", help="Measure in this process and print JSON."
    )
    return parser


def _parts(text: str) -> list[str]:
    """The type of an argument that lists parts."""
    names = comma_list(text)
    for name in names:
        if name not in PARTS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(PARTS)}")
    return names


def _tokens_per_s(text: str) -> float:
    """The type of an argument that is tokens/s, or a file with those of a compiled train step."""
    if not Path(text).is_file():
        try:
            return number(1e-9)(text)
        except argparse.ArgumentTypeError:
            message = f"{text!r} is neither a number above 0 nor a file"
            raise argparse.ArgumentTypeError(message) from None
    try:
        report = json.loads(Path(text).read_text(encoding="utf-8"))
    except ValueError:  # no JSON, or no text
        report = None
    if not isinstance(report, dict) or report.get("program") != "train step":
        raise argparse.ArgumentTypeError(f"{text} is no report of launch.compile_check on training")
    return report["tokens_per_s"]


def main(argv: Sequence[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else list(argv)
    arguments, chosen = config_arguments.parse(make_parser(), argv)
    if arguments.in_process:
        from launch.jobs.benchmark import Settings, measure

        settings = Settings(
            chosen.config,
            arguments.repeats,
            arguments.codebook_size,
            arguments.codec,
            arguments.clip_s,
            arguments.tracks,
            arguments.readers,
        )
        for part in arguments.parts:
            print(json.dumps(measure(part, settings)))
        return
    if arguments.output:
        Path(arguments.output).parent.mkdir(parents=True, exist_ok=True)  # fails now, not later
    report = {part: in_process_of_its_own(part, argv) for part in arguments.parts}
    if "data" in report:
        eats = arguments.eats or report.get("train", {}).get("tokens/s")
        report["data"] |= fed(report["data"], eats) if eats else {}
    print(table(report))
    if arguments.output:
        write_json_atomically(Path(arguments.output), report)


def fed(data: dict[str, float], eats: float) -> dict[str, float]:
    """Ratios of the tokens/s that are read to those that training eats."""
    return {
        "tokens/s that training eats": eats,
        "ratio of reading to that": data["tokens/s"] / eats,
        "ratio of all processes to that": data["tokens/s of them together"] / eats,
        "cores that read twice that": 2 * eats / data["tokens a second of CPU time"],
    }


def in_process_of_its_own(part: str, argv: Sequence[str]) -> dict[str, float]:
    command = [sys.executable, "-m", "launch.benchmark", *argv]
    command += [f"--parts={part}", "--in_process"]
    print(f"measuring {part}…", file=sys.stderr)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise UserError(f"the part {part!r} failed; its message is above")
    return json.loads(done.stdout.splitlines()[-1])


def table(report: dict[str, dict[str, float]]) -> str:
    lines = []
    for part, figures in report.items():
        lines += [part, *(f"  {name:<42}{value:>14,.4g}" for name, value in figures.items())]
    return "\n".join(lines)


if __name__ == "__main__":
    run_command(main)
