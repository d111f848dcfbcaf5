"""Sampling: draws from a run's model, and stores the samples as a token dataset."""

import contextlib
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from sedd_jax.conditions import Vocabulary, category
from sedd_jax.diffusion.choices import STEP_SCHEDULES
from sedd_jax.diffusion.known import Known
from sedd_jax.diffusion.schedule import Schedule
from sedd_jax.errors import UserError
from sedd_jax.model import ModelDef
from sedd_jax.parallel.consensus import array_from_first, is_first
from sedd_jax.progress import progress_bar, say
from sedd_jax.sampling.editing import num_tokens, token_rate
from sedd_jax.sampling.generate import Pace, fingerprint, generate
from sedd_jax.sampling.guide import Guide
from sedd_jax.sampling.settings import Sampling, read_costs, settle
from sedd_jax.sampling.store import NoStore, SampleStore, sole_sampler
from sedd_jax.sampling.tags import UNSTEERED, Steering
from sedd_jax.state import Params
from sedd_jax.stop import StopRequest
from sedd_jax.weights import exported
from tokenizer_bridge.token_dataset.command import naming


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
    schedule: str | None = None,
    strength: float | None = None,
    steps: int | None = None,
    length: int | None = None,
    seconds: float | None = None,
    overlap: int | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    batch_size: int | None = None,
    steering: Steering = UNSTEERED,
) -> SampleStore | None:
    """Makes a token dataset of samples; returns it as process 0, None as another.

    Args:
      workdir: of the run; step: of its checkpoint, the newest by default, or "best".
      output: directory of the token dataset.
      seed: of the samples.
      sampler, schedule, steps, batch_size: as in config.sampling by default. schedule: a name, or
        the file of an evaluation that it is fitted to.
      strength: of a sampler that has one, its own by default.
      length: tokens of a sample, or seconds; as in training by default.
      overlap, temperature, top_k, top_p: as `settle` has them.
      steering: what the samples are to be like, of a model that was trained with tags or vectors.

    Raises UserError, and SystemExit with 128 + n when it is stopped by signal n.
    """
    steps_schedule = read_schedule(schedule)
    run, params, step = exported.load(workdir, step)
    if seconds is not None:
        with naming("--seconds"):
            length = num_tokens(seconds, token_rate(run.codec))
    sampling = settle(
        run,
        seed=seed,
        sampler=sampler,
        schedule=steps_schedule,
        strength=strength,
        steps=steps,
        length=length,
        overlap=overlap,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
    )
    return sample_run(
        run, params, step, sampling, output, num_samples, batch_size=batch_size, steering=steering
    )


def read_schedule(asked: str | Path | None) -> Schedule | None:
    """The schedule of --schedule: a name, what an evaluation's file fits it to, or None."""
    if asked is None or asked in STEP_SCHEDULES:
        return asked
    if not Path(asked).is_file():
        named = ", ".join(STEP_SCHEDULES)
        raise UserError(f"--schedule={asked}: it is {named}, or the file of an evaluation")
    return read_costs(asked)


def sample_run(
    run: ModelDef,
    params: Params,
    step: int,
    sampling: Sampling,
    output: str | Path,
    num_samples: int,
    *,
    batch_size: int | None = None,
    steering: Steering = UNSTEERED,
    known: Known | None = None,
    name: str = "sample",
    about: Mapping[str, Any] = MappingProxyType({}),
    notes: Mapping[str, str] = MappingProxyType({}),
) -> SampleStore | None:
    """Makes a token dataset of a loaded model's samples; see `sample`.

    known: tokens that they have from the start, N rows. name: of the records, before the index of
    each. about: what the samples depend on besides, as JSON values; notes: what the dataset is to
    say about them.
    """
    tags_N = steering.tags_of(run.vocabulary, num_samples, sampling.seed)
    vectors_N = steering.vectors_of(run.vocabulary, num_samples)
    guide = None if tags_N is None else steering.guide(run.vocabulary, tags_N, vectors_N)
    weights = fingerprint(params)

    def settings_of(n: int) -> dict[str, Any]:
        condition = None if tags_N is None else steering.settings(tags_N[:n], vectors_N[:n])
        return sampling.as_json() | {
            "num_samples": n,
            "checkpoint_step": step,
            "checkpoint_fingerprint": weights,
            "condition": condition,
            **about,
        }

    batch_size = batch_size or run.config.sampling.batch_size
    with sole_sampler(output) if is_first() else contextlib.nullcontext():
        store: SampleStore | NoStore = NoStore()
        if is_first():
            store = SampleStore(
                output, settings_of(num_samples), run.codec, tags_N, vectors_N, settings_of, name
            )
        with StopRequest() as stop:
            try:
                make_samples(
                    run, params, sampling, guide, known, store, num_samples, batch_size, stop, notes
                )
            except KeyboardInterrupt:
                missing = len(store.missing())
                say(f"stopped with {missing} samples missing; the same command goes on")
                sys.exit(128 + (stop.signal_number or signal.SIGINT))
            except Exception:  # too little memory as well
                store.withdraw()
                raise
    return store if isinstance(store, SampleStore) else None


def make_samples(
    run: ModelDef,
    params,
    sampling: Sampling,
    guide: Guide | None,
    known: Known | None,
    store: SampleStore | NoStore,
    num_samples: int,
    batch_size: int,
    stop: StopRequest,
    notes: Mapping[str, str],
) -> None:
    """Makes and stores the samples that process 0's store still misses, with a progress bar.

    Raises KeyboardInterrupt between two dispatches when it is to stop.
    """
    is_missing_N = np.zeros(num_samples, bool)
    is_missing_N[store.missing()] = True
    missing_N = np.nonzero(array_from_first(is_missing_N))[0]
    done = num_samples - len(missing_N)
    if isinstance(store, SampleStore) and store.is_whole:
        say(f"{store.place} already holds these samples")
        return
    if 0 < done < num_samples:
        say(f"going on after {done} finished samples")
    pace, spent = Pace(), list[int]()
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
            run, params, sampling, missing_N,
            batch_size=batch_size, guide=guide, known=known, on_steps=on_steps,
            on_spent=spent.extend,
        ):  # fmt: skip
            store.save(indices_b, tokens_bxL)
    seconds, evaluations = pace.seconds_per_step, float(sampling.evaluations)
    measured: dict[str, float] = {}
    if spent:
        evaluations = float(np.mean(spent))
        measured = {"evaluations_per_sample": evaluations}
        say(f"{evaluations:.1f} evaluations of the network a sample, {max(spent)} at most")
    store.finish(seconds_per_sample=seconds and seconds * evaluations, **measured, **notes)
