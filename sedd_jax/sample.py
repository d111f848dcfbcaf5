"""New token sequences from a trained run, as a token dataset.

    python -m sedd_jax.sample --workdir=RUN --num_samples=300 --output=NEW [--audio=WAVS]

RUN is the directory of a run or of an exported model; --workdir=demo takes the model that comes
with the project.

Sample i depends on --seed and i alone: neither on the batch size nor on the devices. A job that was
stopped goes on where it was when the same command is given again, and a larger --num_samples makes
those that are missing. --audio also decodes the samples
to WAV files, in a process of its own: python -m tokenizer_bridge.decode --tokens=NEW --output=WAVS.

A model that was trained with tags or vectors (config.conditioning) can be steered:

    python -m sedd_jax.sample --workdir=RUN --list_tags
    python -m sedd_jax.sample … --tags=instrument---flute,genre---jig --guidance=2
    python -m sedd_jax.sample … --vector=clip:PICTURE.npy --guidance=2

Several processes (sedd_jax/parallel/distributed.py) make each batch together; process 0 writes.
"""

import argparse
import dataclasses
import importlib.util
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sedd_jax import config_arguments
from sedd_jax.compilation_cache import use_compilation_cache
from sedd_jax.conditions import Vocabulary, category
from sedd_jax.diffusion.guidance import SCHEDULES
from sedd_jax.diffusion.sampler import SAMPLERS
from sedd_jax.errors import UserError
from sedd_jax.model import ModelDef
from sedd_jax.parallel import distributed
from sedd_jax.parallel.consensus import array_from_first, is_first
from sedd_jax.progress import progress_bar, say
from sedd_jax.sampling.generate import Pace, Sampling, fingerprint, generate, length_warning
from sedd_jax.sampling.guide import Guide
from sedd_jax.sampling.store import NoStore, SampleStore
from sedd_jax.sampling.tags import UNSTEERED, Steering
from sedd_jax.stop import StopRequest
from sedd_jax.weights import exported
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


def make_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument(
        "--workdir",
        type=path_or_url,
        required=True,
        metavar="RUN",
        help="Directory of a run or of an exported model; demo; or user/name on the hub.",
    )
    parser.add_argument("--output", type=local_path, metavar="NEW", help="Token dataset to write.")
    parser.add_argument("--num_samples", type=integer(1), metavar="N", help="How many.")
    config_arguments.add_step(parser)
    parser.add_argument(
        "--seed", type=integer(0, 2**32 - 1), default=0, help="Seed of the samples."
    )
    parser.add_argument(
        "--sampler",
        choices=SAMPLERS,
        help="How a step is taken; config.sampling.sampler by default. Both are the same for a run "
        "of the absorbing graph with log-linear noise.",
    )
    parser.add_argument(
        "--steps",
        type=integer(1),
        help="Steps from noise to data; config.sampling.steps by default.",
    )
    parser.add_argument(
        "--length", type=integer(1), help="Tokens per sample; config.model.length by default."
    )
    parser.add_argument(
        "--batch_size",
        type=integer(1),
        help="Samples at a time; config.sampling.batch_size by default.",
    )
    parser.add_argument(
        "--audio", type=local_path, metavar="WAVS", help="Directory to decode the samples into."
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
    distributed.add_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    arguments = make_parser().parse_args(argv)
    if arguments.codec_dir and not arguments.audio:
        raise UserError("--codec_dir is for --audio, which is missing")
    if arguments.audio and importlib.util.find_spec("torch") is None:
        raise UserError(
            "--audio needs PyTorch, which is not installed here: sample without it, then run "
            "tokenizer_bridge.decode where it is"
        )
    if arguments.list_tags:
        print(tag_table(exported.load(arguments.workdir, arguments.step)[0].vocabulary))
        return 0
    if not arguments.output or not arguments.num_samples:
        raise UserError("--output and --num_samples are both required")
    steering = Steering(
        arguments.tags,
        arguments.tags_file,
        arguments.tags_from,
        arguments.avoid,
        arguments.guidance,
        arguments.guidance_schedule,
        vectors_asked_for(arguments.vector),
    )
    with distributed.joined(distributed.membership(arguments)):
        use_compilation_cache()
        store = sample(
            arguments.workdir,
            arguments.output,
            arguments.num_samples,
            step=arguments.step,
            seed=arguments.seed,
            sampler=arguments.sampler,
            steps=arguments.steps,
            length=arguments.length,
            batch_size=arguments.batch_size,
            steering=steering,
        )
        if store is None:
            return 0
        print(f"{store.num_samples} samples of {store.settings['length']} tokens in {store.path}")
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


def tag_table(vocabulary: Vocabulary) -> str:
    """The tags of each category with their training tracks, the most frequent first."""
    if not vocabulary.tracks:
        raise UserError("the model knows no tags: it was trained without")
    ordered = sorted(
        vocabulary.tracks.items(), key=lambda item: (category(item[0]), -item[1], item[0])
    )
    width = max(map(len, vocabulary.tracks))
    return "\n".join([f"{'tag':<{width}}  tracks", *(f"{t:<{width}}  {n:>6}" for t, n in ordered)])


def sample(
    workdir: str | Path,
    output: str | Path,
    num_samples: int,
    *,
    step: int | str | None = None,
    seed: int = 0,
    sampler: str | None = None,
    steps: int | None = None,
    length: int | None = None,
    batch_size: int | None = None,
    steering: Steering = UNSTEERED,
) -> SampleStore | None:
    """Makes a token dataset of samples; returns it as process 0, None as another.

    Args:
      workdir: of the run; step: of its checkpoint, the newest by default, or "best".
      output: directory of the token dataset.
      seed: of the samples.
      sampler, steps, batch_size: as in config.sampling by default.
      length: tokens of a sample; those of training by default.
      steering: what the samples are to be like, of a model that was trained with tags or vectors.

    Raises UserError, and SystemExit with 128 + n when it is stopped by signal n.
    """
    run, params, step = exported.load(workdir, step)
    defaults = run.config.sampling
    sampling = Sampling(
        sampler=sampler or defaults.sampler,
        steps=steps or defaults.steps,
        seed=seed,
        length=length or run.config.model.length,
    )
    tags_N = steering.tags_of(run.vocabulary, num_samples, seed)
    guide, vectors_N = None, None
    if tags_N is not None:
        vectors_N = steering.vectors_of(run.vocabulary, num_samples)
        guide = steering.guide(run.vocabulary, tags_N, vectors_N)
    weights = fingerprint(params)

    def settings_of(n: int) -> dict[str, Any]:
        condition = None if tags_N is None else steering.settings(tags_N[:n], vectors_N[:n])
        return dataclasses.asdict(sampling) | {
            "num_samples": n,
            "checkpoint_step": step,
            "checkpoint_fingerprint": weights,
            "condition": condition,
        }

    if is_first() and (warning := length_warning(run, sampling.length)):
        print(f"warning: {warning}", file=sys.stderr)
    store: SampleStore | NoStore = NoStore()
    if is_first():
        store = SampleStore(
            output, settings_of(num_samples), run.codec, tags_N, vectors_N, settings_of
        )
    batch_size = batch_size or defaults.batch_size
    with StopRequest() as stop:
        try:
            make_samples(run, params, sampling, guide, store, num_samples, batch_size, stop)
        except KeyboardInterrupt:
            missing = len(store.missing())
            say(f"stopped with {missing} samples missing; the same command goes on")
            sys.exit(128 + (stop.signal_number or signal.SIGINT))
        except UserError:
            store.withdraw()
            raise
    return store if isinstance(store, SampleStore) else None


def make_samples(
    run: ModelDef,
    params,
    sampling: Sampling,
    guide: Guide | None,
    store: SampleStore | NoStore,
    num_samples: int,
    batch_size: int,
    stop: StopRequest,
) -> None:
    """Makes and stores the samples that process 0's store still misses, with a progress bar.

    Raises KeyboardInterrupt between two dispatches when it is to stop.
    """
    is_missing_N = np.zeros(num_samples, bool)
    is_missing_N[store.missing()] = True
    missing_N = np.nonzero(array_from_first(is_missing_N))[0]
    done = num_samples - len(missing_N)
    if store.is_whole:
        say(f"{store.path} already holds these samples")
        return
    if 0 < done < num_samples:
        say(f"going on after {done} finished samples")
    pace = Pace()
    with progress_bar(
        num_samples * sampling.evaluations,
        "sample-step",
        done=done * sampling.evaluations,
        name="sampling",
    ) as bar:

        def on_steps(num_sample_steps: int) -> None:
            bar.update(num_sample_steps)
            if stop.signal_number:
                raise KeyboardInterrupt
            pace.add(num_sample_steps)

        for indices_b, tokens_bxL in generate(
            run, params, sampling, missing_N, batch_size=batch_size, guide=guide, on_steps=on_steps
        ):
            store.save(indices_b, tokens_bxL)
    seconds = pace.seconds_per_step
    store.finish(seconds_per_sample=seconds and seconds * sampling.evaluations)


def decode(tokens: Path, audio: str, codec_dir: str | None) -> int:
    """Decodes a token dataset in a process of its own, which has PyTorch; its exit code."""
    command = [sys.executable, "-m", "tokenizer_bridge.decode"]
    command += [f"--tokens={tokens}", f"--output={audio}"]
    if codec_dir:
        command.append(f"--codec_dir={codec_dir}")
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    run_command(main)
