"""New token sequences from a trained run, as a token dataset.

    python -m sedd_jax.sample --workdir=RUN --num_samples=300 --output=NEW [--audio=WAVS]

RUN is the directory of a run or of an exported model; --workdir=demo takes the model that comes
with the project.

Sample i depends on --seed and i alone: neither on the batch size nor on the devices. A job that was
stopped goes on where it was when the same command is given again, and a larger --num_samples makes
those that are missing. --audio also decodes the samples to WAV files, in a process of its own:
python -m tokenizer_bridge.decode --tokens=NEW --output=WAVS.

Longer pieces than the training saw are drawn in windows, each given the end of the one before:

    python -m sedd_jax.sample … --seconds=120

A model that was trained with tags or vectors (config.conditioning) can be steered:

    python -m sedd_jax.sample --workdir=RUN --list_tags
    python -m sedd_jax.sample … --tags=instrument---flute,genre---jig --guidance=2
    python -m sedd_jax.sample … --vector=clip:PICTURE.npy --guidance=2

An autoregressive run (config.model.type) draws its tokens in order: --sampler, --steps, --schedule
and --strength are of diffusion models.

Several processes (sedd_jax/parallel/distributed.py) make each batch together; process 0 writes.
"""

import argparse
import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from sedd_jax import model_arguments
from sedd_jax.diffusion.choices import SAMPLERS, SCHEDULES, STEP_SCHEDULES, TRAITS
from sedd_jax.errors import UserError
from sedd_jax.parallel import membership
from tokenizer_bridge.token_dataset.command import (
    Parser,
    comma_list,
    integer,
    local_path,
    local_paths,
    number,
    path_or_url,
    run_command,
)
from tokenizer_bridge.token_dataset.wording import counted


def make_parser() -> Parser:
    parser = Parser(__doc__)
    model_arguments.add_model(parser)
    parser.add_argument(
        "--output", type=path_or_url, metavar="NEW", help="Token dataset to write, or its URL."
    )
    parser.add_argument("--num_samples", type=integer(1, 2**32 - 1), metavar="N", help="How many.")
    parser.add_argument(
        "--seed", type=integer(0, 2**32 - 1), default=0, help="Seed of the samples."
    )
    add_drawing(parser)
    how_long = parser.add_mutually_exclusive_group()
    how_long.add_argument(
        "--length",
        type=integer(1),
        help="Tokens per sample; config.model.length by default. More are drawn in windows of that "
        "length, each given the end of the one before.",
    )
    how_long.add_argument(
        "--seconds", type=number(above=0.0), help="Length of a sample in seconds."
    )
    parser.add_argument(
        "--overlap",
        type=integer(0),
        help="Tokens that a window shares with the one before; half of a window by default.",
    )
    parser.add_argument(
        "--batch_size",
        type=integer(1),
        help="Samples at a time; config.sampling.batch_size by default.",
    )
    parser.add_argument(
        "--audio", type=path_or_url, metavar="WAVS", help="Directory to decode the samples into."
    )
    parser.add_argument(
        "--codec_dir",
        type=local_path,
        metavar="DIR",
        help="With --audio: the codec's own directory.",
    )
    steering = parser.add_argument_group("a model with tags or vectors")
    steering.add_argument(
        "--list_tags", action="store_true", help="Print the model's tags and do nothing else."
    )
    steering.add_argument(
        "--tags",
        type=comma_list,
        help="Tags of all samples, category---name, commas between them.",
    )
    steering.add_argument(
        "--tags_file",
        type=local_path,
        metavar="FILE",
        help="Text file with the tags of each sample: a line as --tags for each.",
    )
    steering.add_argument(
        "--tags_from",
        type=path_or_url,
        metavar="TOKENS",
        help="Token dataset: each sample gets the tags of a track of it drawn at random.",
    )
    steering.add_argument(
        "--avoid", type=comma_list, default=(), help="Tags to stay away from; needs --guidance."
    )
    steering.add_argument(
        "--vector",
        type=parse_vector,
        action="append",
        default=[],
        metavar="KIND:FILE.npy",
        help="A vector of this kind, such as CLIP's: one for all samples, or a row for each; once "
        "for each kind.",
    )
    steering.add_argument(
        "--guidance",
        type=number(0.0),
        default=1.0,
        help="How much tags and vectors count: 1 is the conditional model, 0 the unconditional, "
        "more than 1 exaggerates. Other values than 1 take twice the time.",
    )
    steering.add_argument(
        "--guidance_schedule",
        choices=SCHEDULES,
        default="constant",
        help="Over the steps: --guidance throughout; rising to it from 1; falling from it to 1.",
    )
    membership.add_arguments(parser)
    return parser


def add_drawing(parser: Parser | argparse._ArgumentGroup) -> None:
    """The arguments that say how a model draws, of all commands that sample."""
    parser.add_argument(
        "--sampler",
        choices=SAMPLERS,
        help="How a step is taken; config.sampling.sampler by default, which is spread for the "
        "absorbing graph and euler for the other unless the run has another. For both: euler and "
        "analytic, the paper's (the same for the absorbing graph with log-linear noise), and "
        "trapezoidal. For the absorbing graph: spread draws positions far apart; first_hitting in "
        "random order; remask masks some again; confidence and entropy draw the most certain "
        "first, which is the law of the model for entropy with --strength=0 and a step for each "
        "token alone.",
    )
    parser.add_argument(
        "--steps",
        type=integer(1),
        help="Steps from noise to data; config.sampling.steps by default, or if that is 0 "
        + ", ".join(f"{traits.steps} for {name}" for name, traits in TRAITS.items())
        + ". Each evaluates the network once, of trapezoidal twice; euler, analytic and "
        "trapezoidal do so once more at the end, and entropy may need fewer.",
    )
    parser.add_argument(
        "--schedule",
        type=local_path,
        metavar=f"{{{','.join(STEP_SCHEDULES)},EVALUATION.json}}",
        help="How much each step draws; config.sampling.schedule by default. The file that "
        "sedd_jax.evaluate wrote of an absorbing model: fitted to what that measured.",
    )
    parser.add_argument(
        "--strength",
        type=number(0.0),
        help="Of confidence, the noise on log-probabilities; of entropy, the nats that a step may "
        "draw beside its least certain token; of remask, the largest share of tokens that a step "
        "masks again. By default "
        + ", ".join(f"{name} {t.strength:g}" for name, t in TRAITS.items() if t.strength)
        + ".",
    )
    parser.add_argument(
        "--temperature",
        type=number(above=0.0),
        default=1.0,
        help="Below 1, what is probable becomes more so: which token is drawn, never when.",
    )
    parser.add_argument(
        "--top_k", type=integer(1), help="Draw from so many of the most probable tokens."
    )
    parser.add_argument(
        "--top_p",
        type=number(high=1.0, above=0.0),
        default=1.0,
        help="Draw from the most probable tokens that make up this share.",
    )


def main(argv: Sequence[str] | None = None) -> int:
    arguments = make_parser().parse_args(argv)
    if arguments.codec_dir and not arguments.audio:
        raise UserError("--codec_dir is for --audio, which is missing")
    if arguments.audio and importlib.util.find_spec("torch") is None:
        raise UserError(
            "--audio needs PyTorch, which is not installed here: sample without it, then run "
            "tokenizer_bridge.decode where it is"
        )
    if not arguments.list_tags and not (arguments.output and arguments.num_samples):
        raise UserError("--output and --num_samples are both required")
    vectors = vectors_asked_for(arguments.vector)
    job = membership.asked_for(arguments)

    from sedd_jax.compilation_cache import use_compilation_cache
    from sedd_jax.jobs.sample import sample, tag_table
    from sedd_jax.parallel.distributed import joined
    from sedd_jax.sampling.tags import Steering
    from sedd_jax.weights import exported

    if arguments.list_tags:
        print(tag_table(exported.load(arguments.workdir, arguments.step)[0].vocabulary))
        return 0
    steering = Steering(
        arguments.tags,
        arguments.tags_file,
        arguments.tags_from,
        arguments.avoid,
        arguments.guidance,
        arguments.guidance_schedule,
        vectors,
    )
    with joined(job):
        use_compilation_cache()
        store = sample(
            arguments.workdir,
            arguments.output,
            arguments.num_samples,
            step=arguments.step,
            seed=arguments.seed,
            sampler=arguments.sampler,
            schedule=arguments.schedule,
            strength=arguments.strength,
            steps=arguments.steps,
            length=arguments.length,
            seconds=arguments.seconds,
            overlap=arguments.overlap,
            temperature=arguments.temperature,
            top_k=arguments.top_k,
            top_p=arguments.top_p,
            batch_size=arguments.batch_size,
            steering=steering,
        )
        if store is None:
            return 0
        samples = counted(store.num_samples, "sample", "samples")
        print(f"{samples} of {store.settings['length']} tokens in {store.place}")
        if not arguments.audio:
            return 0
        return decode(store.path, arguments.audio, arguments.codec_dir)


def parse_vector(text: str) -> tuple[str, str]:
    """The type of --vector: (kind, file)."""
    kind, _, file = local_paths(text).partition(":")
    if not kind or not file:
        raise argparse.ArgumentTypeError(f"{text!r} must be KIND:FILE, such as clip:song.npy")
    return kind, file


def vectors_asked_for(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Kind → file. Raises UserError for a kind that is given twice."""
    if len(kinds := dict(pairs)) < len(pairs):
        raise UserError("--vector: each kind can be given once")
    return kinds


def decode(tokens: Path, audio: str, codec_dir: str | None) -> int:
    """Decodes a token dataset in a process of its own, which has PyTorch; its exit code."""
    command = [sys.executable, "-m", "tokenizer_bridge.decode"]
    command += [f"--tokens={tokens}", f"--output={audio}"]
    if codec_dir:
        command.append(f"--codec_dir={codec_dir}")
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    run_command(main)
