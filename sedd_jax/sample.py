"""New token sequences from a trained run, as a token dataset.

    python -m sedd_jax.sample --workdir=RUN --num_samples=300 --output=NEW [--wavs=WAVS]

Sample i depends on --seed and i alone: neither on the batch size nor on the devices. A job that was
stopped goes on where it was when the same command is given again. --wavs also decodes the samples
to audio, in a process of its own: python -m tokenizer_bridge.decode --input=NEW --output=WAVS.

A model that was trained with tags (config.conditioning) can be steered:

    python -m sedd_jax.sample --workdir=RUN --list_tags
    python -m sedd_jax.sample … --tags=instrument---flute,genre---jig --guidance=2

Several processes (sedd_jax/parallel/distributed.py) make each batch together; process 0 writes.
"""

import dataclasses
import importlib.util
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
from absl import flags

from sedd_jax.compilation_cache import use_compilation_cache
from sedd_jax.conditions import Vocabulary, category
from sedd_jax.diffusion.guidance import SCHEDULES
from sedd_jax.diffusion.sampler import SAMPLERS
from sedd_jax.errors import UserError, run_door
from sedd_jax.model import ModelDef, load_run
from sedd_jax.parallel import distributed
from sedd_jax.parallel.consensus import array_from_first, is_first
from sedd_jax.progress import progress_bar
from sedd_jax.sampling.generate import Pace, Sampling, fingerprint, generate, length_warning
from sedd_jax.sampling.guide import Guide
from sedd_jax.sampling.store import SampleStore
from sedd_jax.sampling.tags import Tags, draw_tags, make_guide, read_table
from sedd_jax.sampling.tags import fingerprint as tags_fingerprint
from sedd_jax.stop import StopRequest
from tokenizer_bridge.token_dataset.records import TokenDataset

flags.adopt_module_key_flags(distributed)
WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the trained run.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "Token dataset to write.")
NUM_SAMPLES = flags.DEFINE_integer("num_samples", None, "How many.", lower_bound=1)
STEP = flags.DEFINE_integer("step", None, "Checkpoint; the newest by default.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of the samples.", 0, 2**32 - 1)
SAMPLER = flags.DEFINE_enum(
    "sampler",
    None,
    SAMPLERS,
    "How a step is taken; config.sampling.sampler by default. Both are the same for a run of the "
    "absorbing graph with log-linear noise.",
)
STEPS = flags.DEFINE_integer(
    "steps", None, "Steps from noise to data; config.sampling.steps by default.", lower_bound=1
)
LENGTH = flags.DEFINE_integer(
    "length", None, "Tokens per sample; config.model.length by default.", lower_bound=1
)
BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", None, "Samples at a time; config.sampling.batch_size by default.", lower_bound=1
)
LIST_TAGS = flags.DEFINE_bool("list_tags", False, "Print the model's tags and do nothing else.")
TAGS = flags.DEFINE_list("tags", None, "Tags of all samples, category---name, commas between them.")
TAGS_FILE = flags.DEFINE_string(
    "tags_file", None, "Text file with the tags of each sample: a line as --tags for each."
)
TAGS_FROM = flags.DEFINE_string(
    "tags_from", None, "Token dataset: each sample gets the tags of a track of it drawn at random."
)
AVOID = flags.DEFINE_list("avoid", [], "Tags to stay away from; needs --guidance.")
GUIDANCE = flags.DEFINE_float(
    "guidance",
    1.0,
    "How much the tags count: 1 is the conditional model, 0 the unconditional one, more than 1 "
    "exaggerates. Other values than 1 take twice the time.",
    lower_bound=0.0,
)
GUIDANCE_SCHEDULE = flags.DEFINE_enum(
    "guidance_schedule",
    "constant",
    SCHEDULES,
    "Over the steps: --guidance throughout; rising to it from 1; falling from it to 1.",
)
WAVS = flags.DEFINE_string("wavs", None, "Directory to decode the samples into.")
CODEC_DIR = flags.DEFINE_string("codec_dir", None, "With --wavs: the codec's own directory.")


def main(argv: list[str]) -> int:
    del argv
    if CODEC_DIR.value and not WAVS.value:
        raise UserError("--codec_dir is for --wavs, which is missing")
    if WAVS.value and importlib.util.find_spec("torch") is None:
        raise UserError(
            "--wavs needs PyTorch, which is not installed here: sample without it, then run "
            "tokenizer_bridge.decode where it is"
        )
    if LIST_TAGS.value:
        print(tag_table(load_run(WORKDIR.value, STEP.value)[0].vocabulary))
        return 0
    if not OUTPUT.value or not NUM_SAMPLES.value:
        raise UserError("--output=NEW and --num_samples=N are both needed")
    with distributed.joined():
        use_compilation_cache()
        return sample()


def tag_table(vocabulary: Vocabulary) -> str:
    """The tags of each category with their training tracks, the most frequent first."""
    require_tags(vocabulary)
    ordered = sorted(
        vocabulary.tracks.items(), key=lambda item: (category(item[0]), -item[1], item[0])
    )
    width = max(map(len, vocabulary.tracks))
    return "\n".join([f"{'tag':<{width}}  tracks", *(f"{t:<{width}}  {n:>6}" for t, n in ordered)])


def require_tags(vocabulary: Vocabulary) -> None:
    if not vocabulary:
        raise UserError(f"{WORKDIR.value} holds a model without tags: it was trained without")


def wanted_tags(vocabulary: Vocabulary) -> Tags | None:
    """The tags of each sample, as the flags ask for them; None where they ask for nothing."""
    given = [f"--{flag.name}" for flag in (TAGS, TAGS_FILE, TAGS_FROM) if flag.value is not None]
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)}: one of them says what the tags are")
    if not given and not AVOID.value:
        if GUIDANCE.value != 1.0:
            raise UserError("--guidance needs tags: --tags, --tags_file, --tags_from or --avoid")
        return None
    require_tags(vocabulary)
    if AVOID.value and GUIDANCE.value <= 1.0:
        raise UserError("--avoid needs --guidance above 1: how far to stay away from its tags")
    num_samples = NUM_SAMPLES.value
    if TAGS_FILE.value:
        return read_table(TAGS_FILE.value, num_samples)
    if TAGS_FROM.value:
        return draw_tags(TokenDataset(TAGS_FROM.value), vocabulary, num_samples, SEED.value)
    return [[tag.strip() for tag in TAGS.value or []]] * num_samples


def sample() -> int:
    """Makes what the flags ask for; returns the exit code."""
    run, params, step = load_run(WORKDIR.value, STEP.value)
    defaults = run.config.sampling
    sampling = Sampling(
        sampler=SAMPLER.value or defaults.sampler,
        steps=STEPS.value or defaults.steps,
        seed=SEED.value,
        length=LENGTH.value or run.config.model.length,
    )
    tags_N = wanted_tags(run.vocabulary)
    guide, condition = None, None
    if tags_N is not None:
        guide = make_guide(
            run.vocabulary,
            tags_N,
            avoid=AVOID.value,
            weight=GUIDANCE.value,
            schedule=GUIDANCE_SCHEDULE.value,
        )
        condition = {
            "tags_fingerprint": tags_fingerprint(tags_N),
            "avoid": AVOID.value,
            "guidance": GUIDANCE.value,
            "guidance_schedule": GUIDANCE_SCHEDULE.value,
        }
    settings = dataclasses.asdict(sampling) | {
        "num_samples": NUM_SAMPLES.value,
        "checkpoint_step": step,
        "checkpoint_fingerprint": fingerprint(params),
        "condition": condition,
    }
    if is_first() and (warning := length_warning(run, sampling.length)):
        print(f"warning: {warning}", file=sys.stderr)
    store = SampleStore(OUTPUT.value, settings, run.codec, tags_N) if is_first() else None
    batch_size = BATCH_SIZE.value or defaults.batch_size
    with StopRequest() as stop:
        try:
            make_samples(run, params, sampling, guide, store, NUM_SAMPLES.value, batch_size, stop)
        except KeyboardInterrupt:
            if store:
                missing = len(store.missing())
                print(f"stopped with {missing} samples missing; the same command goes on")
            sys.exit(128 + (stop.signal_number or signal.SIGINT))
        except UserError:
            if store:
                store.withdraw()
            raise
    if store is None:
        return 0
    print(f"{store.num_samples} samples of {sampling.length} tokens in {store.path}")
    return decode(store.path, WAVS.value, CODEC_DIR.value) if WAVS.value else 0


def make_samples(
    run: ModelDef,
    params,
    sampling: Sampling,
    guide: Guide | None,
    store: SampleStore | None,
    num_samples: int,
    batch_size: int,
    stop: StopRequest,
) -> None:
    """Makes and stores what the store still misses, with a progress bar; no store: for another
    process that has one. Raises KeyboardInterrupt between two dispatches when it is to stop."""
    is_missing_N = np.zeros(num_samples, bool)
    if store and store.is_whole:
        print(f"{store.path} already holds these samples")
    elif store:
        is_missing_N[store.missing()] = True
    missing_N = np.nonzero(array_from_first(is_missing_N))[0]
    if store and store.is_whole:
        return
    pace = Pace()
    done = num_samples - len(missing_N)
    if 0 < done < num_samples and store:
        print(f"going on after {done} finished samples")
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
            if store:
                store.save(indices_b, tokens_bxL)
    if store:
        seconds = pace.seconds_per_step
        store.finish(seconds_per_sample=seconds and seconds * sampling.evaluations)


def decode(tokens: Path, wavs: str, codec_dir: str | None) -> int:
    """Decodes a token dataset in a process of its own, which has PyTorch; its exit code."""
    command = [sys.executable, "-m", "tokenizer_bridge.decode"]
    command += [f"--input={tokens}", f"--output={wavs}"]
    if codec_dir:
        command.append(f"--codec_dir={codec_dir}")
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    run_door(main)
