r"""Trains a model on a token dataset.

    python -m sedd_jax.train --config=configs/music_small.py \
        --config.data.path=TOKENS --workdir=RUN

Where training starts, by priority:

1. the newest whole checkpoint in WORKDIR/checkpoints, so the same command resumes a run;
2. fresh parameters, drawn with config.seed.

A resumed run computes bit for bit what it would have computed undisturbed on the same devices.
Its config may differ from the saved one only where that does not change what is computed
(FREE_ON_RESUME in sedd_jax/config.py). Ctrl-C or SIGTERM saves a checkpoint after the present step.

WORKDIR gets config.json, codec.json, checkpoints/, metrics.jsonl, tensorboard/ and goodput.jsonl,
and profile/ when a trace is asked for: `touch WORKDIR/PROFILE`.
Exit codes: 0 trained to config.training.num_steps; 1 an error, a run that blew up among them;
128 + n saved and stopped by signal n.
"""

import sys
from pathlib import Path

import jax
from absl import flags
from ml_collections import ConfigDict, config_flags
from tqdm import tqdm

from sedd_jax import config as config_lib
from sedd_jax.checkpoint import Checkpoints
from sedd_jax.compilation_cache import use_compilation_cache
from sedd_jax.errors import UserError, run_door
from sedd_jax.goodput import Moment
from sedd_jax.job import Job, prepare
from sedd_jax.run import checkpoint_dir
from sedd_jax.state import TrainState
from sedd_jax.step import compile_train_step
from sedd_jax.stop import StopRequest
from sedd_jax.validation import make_validation
from sedd_jax.watch import Watch

VALIDATION_SPLIT = "validation"

CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, e.g. configs/demo.py.")
WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the run; made if missing.")
DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "Join the other hosts of the job (jax.distributed.initialize)."
)


def describe(job: Job, state: TrainState) -> str:
    """What is about to be trained, for people."""
    run, windows = job.run, job.windows
    num_params = sum(x.size for x in jax.tree.leaves(state.params))
    devices = run.mesh.devices
    skipped = f" ({windows.num_skipped} tracks are too short)" if windows.num_skipped else ""
    return (
        f"{num_params:,} parameters in {run.network.compute_dtype} on {devices.size} "
        f"{devices.flat[0].device_kind}, mesh {dict(run.mesh.shape)}\n"
        f"{len(windows):,} windows of {windows.length} tokens an epoch{skipped}\n"
        f"from step {int(state.step):,} to {run.config.training.num_steps:,}"
    )


def progress_bar(num_steps: int, step: int) -> tqdm:
    """Of process 0; seldom drawn where it goes to a file."""
    return tqdm(
        total=num_steps,
        initial=step,
        unit="step",
        dynamic_ncols=True,
        mininterval=0.1 if sys.stderr.isatty() else 10.0,
        disable=jax.process_index() != 0,
    )


def train(config: ConfigDict, workdir: Path) -> int:
    """Trains to config.training.num_steps; returns the exit code. Raises UserError."""
    began = Moment.now()
    job = prepare(config, workdir)
    run, config = job.run, job.run.config
    validation = make_validation(run, job.dataset, VALIDATION_SPLIT)

    workdir.mkdir(parents=True, exist_ok=True)
    checkpoints = Checkpoints(
        checkpoint_dir(workdir),
        keep_last=config.checkpoint.keep_last,
        keep_every=config.checkpoint.keep_every,
    )
    with checkpoints, StopRequest() as stop:
        state = job.start(checkpoints)
        step, num_steps = int(state.step), config.training.num_steps
        if step >= num_steps:
            print(f"{workdir} is trained to step {step:,} already")
            return 0
        job.describe_in_workdir()
        print(config_lib.to_json(config) + describe(job, state), flush=True)

        def save() -> None:
            with watch.aside("checkpoint"):
                if step not in checkpoints.steps:
                    checkpoints.save(state, job.meta(step))

        def wait_for_checkpoint() -> None:
            with watch.aside("checkpoint"):
                checkpoints.wait()

        def is_due(every: int) -> bool:
            return bool(every) and (step % every == 0 or step == num_steps)

        watch = Watch(run, workdir, step, began)
        print("compiling…", flush=True)
        with watch.aside("compile"):
            train_step = compile_train_step(run)
        batches = job.batches(step)
        with watch, progress_bar(num_steps, step) as bar:
            while step < num_steps:
                if said := watch.trace():
                    bar.write(said)
                with watch.waiting():
                    batch = next(batches)
                with jax.transfer_guard("disallow"):
                    state, metrics = train_step(state, batch)
                step += 1
                watch.add(step, metrics)
                bar.update()
                bar.set_postfix_str(watch.summary(), refresh=False)

                if is_due(config.training.log_every):
                    watch.report()
                    checkpoints.check()
                if validation and is_due(config.evaluation.every):
                    with watch.aside("validation"):
                        measured = validation.measure(state.ema_params)
                    watch.write(measured.metrics())
                    bits = measured.bits_per_token.mean
                    bar.write(f"step {step:,}: validation {bits:.4f} bits per token")
                if watch.consecutive_skips >= config.training.max_consecutive_skips:
                    save()
                    wait_for_checkpoint()
                    raise UserError(
                        f"stopped at step {step}: loss or gradient was not finite for "
                        f"{watch.consecutive_skips} steps in a row; the last good parameters are "
                        f"in {checkpoints.directory / str(step)}"
                    )
                if is_due(config.checkpoint.every) or stop.signal_number:
                    save()
                if stop.signal_number:
                    wait_for_checkpoint()
                    print(f"stopped at step {step:,}; the same command goes on from there")
                    return 128 + stop.signal_number
            wait_for_checkpoint()
            watch.finish()
    print(f"trained to step {step:,}: {workdir}")
    return 0


def main(argv: list[str]) -> int:
    del argv
    if CONFIG.value is None or WORKDIR.value is None:
        raise UserError("--config=configs/….py and --workdir=DIR are both needed")
    if DISTRIBUTED.value:
        jax.distributed.initialize()
    use_compilation_cache()
    return train(CONFIG.value, Path(WORKDIR.value))


if __name__ == "__main__":
    run_door(main)
