"""Training: prepares a run, takes its steps, validates, saves, and says how it goes."""

import contextlib
import math
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from sedd_jax.checkpoints.gathered import GatheredCheckpoints
from sedd_jax.checkpoints.manager import Checkpoints
from sedd_jax.checkpoints.save_retries import Saver, SaveStatus
from sedd_jax.errors import UserError
from sedd_jax.model import checkpoint_dir
from sedd_jax.monitoring.goodput import Moment
from sedd_jax.monitoring.recorder import Watch
from sedd_jax.parallel.consensus import Agreement, is_first, wait_for_all
from sedd_jax.progress import progress_bar, say
from sedd_jax.remote_run import ALL, fetched
from sedd_jax.state import TrainState, trained_part
from sedd_jax.stop import StopRequest
from sedd_jax.training.origin import describe as describe_origin
from sedd_jax.training.samples import Samples
from sedd_jax.training.setup import Job, prepare, sole_trainer
from sedd_jax.training.step import compile_train_step
from sedd_jax.training.validation import Trend, Validation, make_validation
from sedd_jax.weights import exported

VALIDATION_SPLIT = "validation"
LITTLE_MUSIC_S = 1800.0


def describe(job: Job, state: TrainState) -> str:
    """A few lines for people on what is about to be trained."""
    run, windows = job.run, job.windows
    trained = trained_part(state.params, run.config.optim.trainable)
    num_params, num_trained = (
        sum(x.size for x in jax.tree.leaves(tree)) for tree in (state.params, trained)
    )
    part = f", {num_trained:,} of them trained," if num_trained < num_params else ""
    devices = run.mesh.devices
    told = f"{len(run.vocabulary)} tags, " if run.vocabulary.tracks else ""
    for kind, known in run.vocabulary.vectors.items():
        told += f"vectors {kind} of {known.width:,} numbers, "
    num_short, num_tracks = len(windows.short_N), len(windows.tokens_T)
    start = ""
    if job.origin:
        start = f"\n{describe_origin(job.origin, run.vocabulary, run.config.loss.type)}"
    joined = f"; {num_short:,} of {num_tracks:,} tracks are shorter and joined end to end"
    if distill := run.distillation:
        start += (
            f"\nlearns from the model that it starts from, no longer by the bound: in "
            f"{distill.steps} steps of {distill.sampler} what its teacher does in "
            f"{distill.steps * distill.teacher_steps}; without validation"
        )
    if job.history and job.history[-1]["step"] == int(state.step):
        for key, (old, new) in job.history[-1]["changed"].items():
            start += f"\nchanged config.{key}={new}, "
            start += "where there are other tracks now" if old == new else f"was {old}"
    seconds = int(windows.tokens_T.sum()) * job.dataset.codec["hop_length"]
    seconds /= job.dataset.codec["sample_rate"]
    if seconds < LITTLE_MUSIC_S:
        start += (
            f"\nwarning: {seconds / 60:.1f} minutes of music to train on: with less than half an "
            "hour a model soon repeats it; look at validation, and use more if you can"
        )
    return (
        f"{num_params:,} parameters{part} in {run.network.compute_dtype} on {devices.size} "
        f"{devices.flat[0].device_kind}, mesh {dict(run.mesh.shape)}\n"
        f"{told}{windows.per_epoch:,.1f} windows of {windows.length} tokens an epoch"
        f"{joined if num_short else ''}\n"
        f"from step {int(state.step):,} to {run.config.training.num_steps:,}{start}"
    )


class Votes(NamedTuple):
    """The votes that a process casts after each step."""

    stop_signal: int  # number of the signal that asked to stop, 0: none has
    save: SaveStatus


def train_remotely(
    config: ConfigDict,
    url: str,
    init_from: str | None = None,
    allow_change: Collection[str] = (),
    told: str = "",
) -> int:
    """The same as `train`, with a run in an object store (sedd_jax/remote_run.py).

    Each of several processes has a copy of its own, and process 0's goes to the store.
    """
    run = fetched(url, ALL)
    wait_for_all()  # before anything there changes
    if is_first():
        run.check_writable()
    store = run.push if is_first() else lambda: None
    with run.naming():
        code = train(config, run.folder, init_from, allow_change, told, on_saved=store, place=url)
        store()
    say(f"stored in {url}")
    return code


def train(
    config: ConfigDict,
    workdir: Path,
    init_from: str | None = None,
    allow_change: Collection[str] = (),
    told: str = "",
    *,
    on_saved: Callable[[], None] | None = None,
    place: str | None = None,
) -> int:
    """Trains to config.training.num_steps; returns the exit code.

    init_from: name of the model to start from (sedd_jax/training/origin.py); allow_change: keys of
    the config that may have changed since the run began; told: lines for people on the config;
    on_saved: called in the background after each checkpoint; one that fails is a save that failed.
    With it several processes each have a directory of their own, and what process 0 writes is
    stored. place: what the directory is called for people. Raises UserError.
    """
    began = Moment.now()
    if (workdir / exported.WEIGHTS).exists():  # which would be sampled from instead of what is new
        raise UserError(f"{workdir} holds an exported model: train in another directory")
    job = prepare(config, workdir, init_from, allow_change)
    validation = make_validation(job.run, job.dataset, VALIDATION_SPLIT)
    workdir.mkdir(parents=True, exist_ok=True)
    with sole_trainer(workdir) if is_first() else contextlib.nullcontext():
        return train_job(job, validation, began, told, on_saved, place or str(workdir))


def train_job(
    job: Job,
    validation: Validation | None,
    began: Moment,
    told: str,
    on_saved: Callable[[], None] | None,
    place: str,
) -> int:
    """The rest of `train`, for a job that is known to be possible; it began at `began`."""
    config, workdir = job.run.config, job.workdir
    shares_no_disk = on_saved is not None and jax.process_count() > 1
    checkpoints = (GatheredCheckpoints if shares_no_disk else Checkpoints)(
        checkpoint_dir(workdir),
        keep_last=config.checkpoint.keep_last,
        keep_every=config.checkpoint.keep_every,
        keep_best=config.checkpoint.keep_best,
    )
    with checkpoints, StopRequest() as stop:
        saver = Saver(
            checkpoints,
            retries=config.checkpoint.retries,
            retry_wait=config.checkpoint.retry_wait,
            on_saved=on_saved,
            is_stopping=lambda: bool(stop.signal_number),
        )
        job, state = job.start(checkpoints)
        step, num_steps = int(state.step), config.training.num_steps
        if step >= num_steps:
            say(
                f"{place} is trained to step {step:,} already; a larger "
                "--config.training.num_steps trains on"
            )
            return 0
        if is_first():
            job.describe_in_workdir()
        say(told + describe(job, state))

        def is_due(every: int) -> bool:
            return bool(every) and (step % every == 0 or step == num_steps)

        watch = Watch(job.run, workdir, step, began)
        samples = Samples(job, watch, step, VALIDATION_SPLIT, lambda: bool(stop.signal_number))
        say("compiling…")
        with watch.not_training("compile"):
            train_step = compile_train_step(job.run)
            wait_for_all()
        batches = job.batches(step)
        agreement, stop_signal = Agreement(), 0
        measured: Mapping[str, Any] | None = None
        trend = Trend(lowest_before(checkpoints, validation))
        with watch, samples, progress_bar(num_steps, "step", done=step) as bar:
            if is_due(config.evaluation.samples_every):
                say_where(samples.catch_up(state.ema_params, step), job)
            while step < num_steps and not stop_signal:
                if said := watch.trace():
                    say(said)
                with watch.waiting():
                    batch = next(batches)
                with jax.transfer_guard("disallow"):
                    state, metrics = train_step(state, *batch)
                step += 1
                watch.add(step, metrics)
                bar.update()
                bar.set_postfix_str(watch.summary(), refresh=False)

                if is_due(config.training.log_every):
                    watch.report()
                measured, is_best = None, False
                if validation and is_due(config.evaluation.every):
                    measured = validate(validation, state, watch, trend)
                    is_best = bool(measured) and checkpoints.best.is_among_best(step, measured)
                if is_due(config.evaluation.samples_every):
                    say_where(samples.make(state.ema_params, step), job)
                samples.show()
                stop_if_diverged(job, state, watch, saver)
                votes = agreement.largest(Votes(stop.signal_number, saver.status()))
                stop_signal = votes.stop_signal
                is_save_due = is_due(config.checkpoint.every) or is_best
                if saver.is_time(votes.save, is_save_due) and step < num_steps:
                    with watch.not_training("checkpoint"):
                        saver.save(state, job.meta(step, measured))
            with watch.not_training("checkpoint"):
                saver.finish(state, job.meta(step, measured))
            if step == num_steps:
                if samples.is_decoding:
                    say("decoding the last samples…")
                samples.finish()
                watch.finish()
    if step < num_steps:
        say(f"stopped at step {step:,}; the same command goes on from there")
        return 128 + stop_signal
    say(f"trained to step {step:,}: {place}")
    return 0


def lowest_before(
    checkpoints: Checkpoints, validation: Validation | None
) -> tuple[float, int] | None:
    """(bits, step) of the lowest comparable validation that a checkpoint of the run has."""
    alike = [
        (known["bits_per_token"], step)
        for step, known in checkpoints.best.validations.items()
        if validation and known["of"] == validation.measured_on
    ]
    return min(alike, default=None)


def validate(
    validation: Validation, state: TrainState, watch: Watch, trend: Trend
) -> Mapping[str, Any]:
    """Measures the EMA parameters and records what they reach.

    Returns what a checkpoint says of it, {} where it is not finite.
    """
    with watch.not_training("validation"):
        measured = validation.measure(state.ema_params)
    watch.write(measured.metrics())
    bits = measured.bits_per_token.mean
    say(f"step {watch.step:,}: validation {bits:.4f} bits per token")
    if warning := trend.add(watch.step, bits):
        say(f"warning: {warning}; --step=best is the checkpoint of the lowest")
    return {"bits_per_token": bits, "of": validation.measured_on} if math.isfinite(bits) else {}


def say_where(folder: Path | None, job: Job) -> None:
    """Says where the samples of a step are, if they are."""
    if folder:
        say(f"step {int(folder.name):,}: samples in {folder.relative_to(job.workdir)}")


def stop_if_diverged(job: Job, state: TrainState, watch: Watch, saver: Saver) -> None:
    """Saves and raises UserError when too many steps in a row had no finite loss or gradient."""
    if watch.consecutive_skips < job.run.config.training.max_consecutive_skips:
        return
    with watch.not_training("checkpoint"):
        saver.finish(state, job.meta(watch.step))
    raise UserError(
        f"stopped at step {watch.step}: loss or gradient was not finite for "
        f"{watch.consecutive_skips} steps in a row; the last good parameters are in "
        f"{checkpoint_dir(job.workdir) / str(watch.step)}"
    )
