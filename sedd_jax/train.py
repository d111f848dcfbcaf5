r"""Trains a model on a token dataset.

    python -m sedd_jax.train --config=configs/music_small.py --tokens=TOKENS --workdir=RUN
    python -m sedd_jax.train --init_from=demo --tokens=TOKENS --workdir=RUN

Where training starts, by priority:

1. the newest whole checkpoint in WORKDIR/checkpoints, so the same command resumes a run;
2. the EMA weights of the model that --init_from names, with a fresh optimizer and at step 0: a run,
   its checkpoint RUN@STEP or RUN@best, an exported folder, `demo`, or user/name on the hub. Its
   loss.type may be another where weights can be read so (sedd_jax/training/origin.py);
3. fresh parameters, drawn with config.seed.

Without --config, a run that has begun goes on with its own, and one with --init_from begins with
that of the model, but for its data, its mesh (all devices here), optim.trainable (all),
training.high_noise_share, training.span_masks and distill.steps (0). With distill.steps above 0 the
model that a run starts from teaches it to sample in fewer steps.

A resumed run computes bit for bit what it would have computed undisturbed on the same devices.
Its config may differ from the saved one only where that does not change what is computed (the
resumable keys of sedd_jax/config_keys.py), and in keys that are named to change course:

    python -m sedd_jax.train --workdir=RUN --allow_change=optim.learning_rate \
        --config.optim.learning_rate=1e-4

With `data.path` among them it goes on with other tracks; a model of tags keeps those that it knows.
What was changed at which step is kept in the history of config.json and of every checkpoint.

Ctrl-C or SIGTERM, at any of the processes, stops all with a checkpoint of the same step. A save
that fails is tried again (sedd_jax/checkpoints/save_retries.py).

WORKDIR gets config.json, codec.json, checkpoints/, metrics.jsonl, tensorboard/ and goodput.jsonl,
origin.json with --init_from, samples/ with config.evaluation.samples_every
(sedd_jax/training/samples.py), and profile/ when a trace is asked for: `touch WORKDIR/PROFILE`. It
may be a URL, such as gs://bucket/run (sedd_jax/remote_run.py).
Several processes: sedd_jax/parallel/distributed.py. Exit codes, and whether a launcher starts the
run again:

    0         trained to config.training.num_steps                            no
    1         an error that a restart does not mend: in the config or the     no
              data, a disk that stays full, a run that blew up
    75        another process was lost, or not all of them joined, or a       yes
              save could not start at one of several
    130, 143  stopped by Ctrl-C, by SIGTERM, and saved                        143: yes
    134, …    128 + n: killed by signal n; SIGABRT also where JAX found       yes
              that a process was lost
"""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from sedd_jax import config as config_lib
from sedd_jax import config_arguments
from sedd_jax.config_keys import KEYS
from sedd_jax.errors import UserError
from sedd_jax.parallel import membership
from sedd_jax.remote_run import ALL, CHECKPOINTS, local_run
from tokenizer_bridge.token_dataset.command import Parser, comma_list, path_or_url, run_command
from tokenizer_bridge.token_dataset.paths import is_url


def make_parser() -> Parser:
    parser = Parser(__doc__)
    config_arguments.add_arguments(parser, required=False)
    parser.add_argument(
        "--init_from",
        type=path_or_url,
        metavar="MODEL",
        help="Start from a model: RUN, RUN@STEP, RUN@best, an exported folder, demo, or user/name.",
    )
    parser.add_argument(
        "--allow_change",
        type=comma_list,
        default=(),
        metavar="KEYS",
        help="Keys of the config that a resumed run may have other values of than it had.",
    )
    parser.add_argument(
        "--tokens",
        type=path_or_url,
        metavar="TOKENS",
        help="Token dataset, instead of that of the config.",
    )
    parser.add_argument(
        "--workdir",
        type=path_or_url,
        required=True,
        metavar="RUN",
        help="Directory of the run, or its URL; made if missing.",
    )
    membership.add_arguments(parser)
    return parser


def config_of_model(arguments: Namespace) -> ConfigDict:
    """The config where --config is not given: that of the run, or of the model it starts from."""
    workdir = local_run(arguments.workdir, ALL)
    if any(path.name.isdigit() for path in (workdir / CHECKPOINTS).glob("*")):
        return config_lib.load(workdir / "config.json")
    if arguments.init_from is None:
        raise UserError("--config=CONFIG is needed, or --init_from=MODEL to start from a model")
    from sedd_jax.training.origin import starting_config

    return starting_config(arguments.init_from)


def main(argv: Sequence[str] | None = None) -> int:
    arguments, chosen = config_arguments.parse(
        make_parser(), argv, short_forms={"tokens": "data.path"}, default=config_of_model
    )
    if not chosen.config.data.path:
        raise UserError("--tokens=TOKENS is needed: the config names no data.path")
    allowed = [key.removeprefix("config.") for key in arguments.allow_change]
    for key in allowed:
        if key not in KEYS:
            raise config_arguments.unknown_key(key, list(KEYS))
    job = membership.asked_for(arguments)
    told = config_lib.introduce(chosen.source, chosen.overrides)

    from sedd_jax.compilation_cache import use_compilation_cache
    from sedd_jax.jobs.train import train, train_remotely
    from sedd_jax.parallel.distributed import joined

    with joined(job):
        use_compilation_cache()
        try:
            if is_url(arguments.workdir):
                return train_remotely(
                    chosen.config, arguments.workdir, arguments.init_from, allowed, told
                )
            workdir = Path(arguments.workdir)
            return train(chosen.config, workdir, arguments.init_from, allowed, told)
        except config_lib.OtherRun as error:
            if not error.keys:
                raise
            keys = ",".join([*allowed, *error.keys])
            raise UserError(f"{error}; --allow_change={keys} goes on with what is new") from error


if __name__ == "__main__":
    run_command(main)
