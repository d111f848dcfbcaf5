"""A few samples while a run trains, to look at and to hear: the same ones again and again.

    RUN/samples/STEP/tokens/          token dataset, as `sample` writes one of seed 0
    RUN/samples/STEP/pictures/*.png   their tokens (sedd_jax/monitoring/media.py)
    RUN/samples/STEP/audio/*.wav      once they are decoded and shown; whole or absent

All processes draw them together with the EMA parameters; process 0 keeps and shows them, and has
them decoded in the background. What fails of this costs samples and not the run: it is a warning.
A model of tags or vectors is told those of held-out tracks.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
import numpy as np
from absl import logging

from sedd_jax.errors import UserError, one_line
from sedd_jax.monitoring.media import Medium, token_picture
from sedd_jax.monitoring.recorder import Watch
from sedd_jax.parallel.consensus import from_first, is_first
from sedd_jax.remote_run import SAMPLES
from sedd_jax.sampling.generate import fingerprint, generate
from sedd_jax.sampling.guide import Guide
from sedd_jax.sampling.settings import settle
from sedd_jax.sampling.store import SPLIT, SampleStore
from sedd_jax.sampling.tags import UNSTEERED, Tags
from sedd_jax.state import Params
from sedd_jax.training.decoder import Decoder
from sedd_jax.training.setup import Job
from tokenizer_bridge.token_dataset.records import TRAIN_SPLIT, TokenDataset
from tokenizer_bridge.token_dataset.vectors import Vectors

SEED = 0
PATIENCE_S = 120.0  # so long the end of a run waits for audio
_TOKENS, _PICTURES, _AUDIO = "tokens", "pictures", "audio"
_PARTIAL = ".partial"  # ends the hidden name of a folder that is not whole
_KIND = "samples"  # of work, in the account of the run's time


class _Stopped(Exception):
    """The run is to stop, and does not wait for samples."""


class Samples:
    """The samples of one life of a run, from `start_step` on. A context manager around its loop.

    Of those that an earlier life made, what lies after `start_step` is dropped, and what is not
    decoded yet is. told_split: split whose tracks' tags and vectors the samples are told, or else
    train. is_stopping: says whether the run is to stop. With evaluation.samples_every 0 there are
    none.
    """

    def __init__(
        self,
        job: Job,
        watch: Watch,
        start_step: int,
        told_split: str,
        is_stopping: Callable[[], bool] = lambda: False,
    ):
        config = job.run.config
        self._run, self._watch, self._is_stopping = job.run, watch, is_stopping
        self._num_samples = config.evaluation.num_samples
        self._folder = job.workdir / SAMPLES
        self._sampling = settle(job.run, seed=SEED)
        self._told: tuple[Tags, Sequence[Vectors]] | None = None
        self._guide: Guide | None = None
        self._decoder: Decoder | None = None
        self._warned: set[str] = set()
        if not config.evaluation.samples_every:
            return
        if vocabulary := job.run.vocabulary:
            self._told = _tags_and_vectors(job, told_split, self._num_samples)
            self._guide = UNSTEERED.guide(vocabulary, *self._told)
        if is_first():
            with self._going_on("samples will not be heard"):
                self._decoder = Decoder(config.evaluation.codec_dir)
            with self._going_on("samples of an earlier life are left as they are"):
                self._tidy(start_step)

    def catch_up(self, params: Params, step: int) -> Path | None:
        """The same as `make`, unless the samples of this step are there."""
        is_missing = is_first() and not (self._folder / str(step)).exists()
        return self.make(params, step) if from_first(int(is_missing)) else None

    def make(self, params: Params, step: int) -> Path | None:
        """Draws, keeps and shows the samples of a step; all processes must call it alike.

        Returns their folder; None where there is none. params: those to draw with. One process is
        interrupted when the run is to stop.
        """
        with self._watch.not_training(_KIND), contextlib.suppress(_Stopped):
            said = f"no samples of step {step:,}"
            # What fails at one of several processes would leave the others waiting; that scores are
            # not finite, all know.
            kinds = Exception if jax.process_count() == 1 else UserError
            with self._going_on(said, kinds):
                tokens_NxL, weights = self._draw(params), fingerprint(params)
                if is_first():
                    with self._going_on(said):
                        return self._keep(tokens_NxL, weights, step)
        return None

    def show(self) -> None:
        """Shows what has been decoded since; to be called between steps, and waits for nothing."""
        if self._decoder is None:
            return
        with self._going_on("no audio of samples"):
            if news := self._decoder.poll():
                with self._watch.not_training(_KIND):
                    self._hear(*news)

    @property
    def is_decoding(self) -> bool:
        """True at process 0 while there is something to wait for."""
        return self._decoder is not None and self._decoder.num_left > 0

    def finish(self, patience_s: float = PATIENCE_S) -> None:
        """Waits for what is not decoded yet: so many seconds, and not once the run is to stop."""
        if self._decoder is None:
            return
        deadline = time.monotonic() + patience_s
        with self._watch.not_training(_KIND):
            while self.is_decoding and time.monotonic() < deadline and not self._is_stopping():
                with self._going_on("no audio of samples"):
                    if news := self._decoder.poll():
                        self._hear(*news)
                    else:
                        time.sleep(0.05)
            if self.is_decoding:
                self._warn(f"no audio of the last {self._decoder.num_left} sets of samples yet")

    def _draw(self, params: Params) -> np.ndarray:
        """The samples (N, L) uint16. Raises UserError, at all processes alike."""
        tokens_NxL = np.zeros((self._num_samples, self._sampling.length), np.uint16)
        for index_b, tokens_bxL in generate(
            self._run,
            params,
            self._sampling,
            np.arange(self._num_samples),
            batch_size=self._run.config.sampling.batch_size,
            guide=self._guide,
            on_steps=self._hear_stop,
        ):
            tokens_NxL[index_b] = tokens_bxL
        return tokens_NxL

    def _hear_stop(self, num_sample_steps: int) -> None:
        if jax.process_count() == 1 and self._is_stopping():
            raise _Stopped

    def _keep(self, tokens_NxL: np.ndarray, weights: str, step: int) -> Path:
        folder = self._folder / str(step)
        partial = self._folder / f".{step}{_PARTIAL}"
        shutil.rmtree(partial, ignore_errors=True)
        tags_N, vectors_N = self._told or (None, None)
        settings = self._sampling.as_json() | {
            "num_samples": self._num_samples,
            "checkpoint_step": step,
            "checkpoint_fingerprint": weights,
            "condition": UNSTEERED.settings(tags_N, vectors_N) if self._told else None,
        }
        try:
            codec = self._run.codec
            store = SampleStore(partial / _TOKENS, settings, codec, tags_N, vectors_N)
            store.save(np.arange(self._num_samples), tokens_NxL)
            store.finish()
            (partial / _PICTURES).mkdir()
            for record in TokenDataset(partial / _TOKENS).records(SPLIT):
                picture = token_picture(record.tokens, codec["codebook_size"])
                (partial / _PICTURES / f"{record.id}.png").write_bytes(picture)
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(partial, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        if self._decoder is not None:
            self._decoder.add(folder / _TOKENS, folder / f".{_AUDIO}{_PARTIAL}")
        self._watch.write_media(step, _media(folder, _PICTURES, ".png", "tokens"))
        return folder

    def _hear(self, tokens: Path, reason: str | None) -> None:
        """Shows the audio of a dataset that was decoded, unless that failed for a reason."""
        if reason is not None:
            raise UserError(reason)
        folder = tokens.parent
        partial = f".{_AUDIO}{_PARTIAL}"
        self._watch.write_media(int(folder.name), _media(folder, partial, ".wav", "audio"))
        os.replace(folder / partial, folder / _AUDIO)

    def _tidy(self, start_step: int) -> None:
        undecoded = []
        for folder in self._folder.iterdir() if self._folder.exists() else ():
            if not folder.name.isdigit():
                if folder.name.endswith(_PARTIAL):
                    shutil.rmtree(folder)
            elif int(folder.name) > start_step:
                shutil.rmtree(folder)
            elif not (folder / _AUDIO).exists():
                undecoded.append(folder)
        for folder in sorted(undecoded, key=lambda folder: int(folder.name)):
            if self._decoder is not None:
                self._decoder.add(folder / _TOKENS, folder / f".{_AUDIO}{_PARTIAL}")

    @contextlib.contextmanager
    def _going_on(
        self, what: str, kinds: type[Exception] | tuple[type[Exception], ...] = Exception
    ) -> Iterator[None]:
        """A context whose errors, of these kinds, are a warning: what is lost, and why."""
        try:
            yield
        except _Stopped:
            raise
        except kinds as error:
            self._warn(f"{what}: {one_line(error)}")

    def _warn(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            logging.warning("%s", text)

    def __enter__(self) -> "Samples":
        return self

    def __exit__(self, *error) -> None:
        if self._decoder is not None:
            self._decoder.__exit__(*error)


def _tags_and_vectors(job: Job, split: str, num: int) -> tuple[Tags, list[Vectors]]:
    """Those that the model knows of `num` tracks, evenly spread over the split, or else train."""
    dataset, vocabulary = job.dataset, job.run.vocabulary
    split = split if split in dataset.splits else TRAIN_SPLIT
    places = np.linspace(0, dataset.num_records(split) - 1, num).round()
    records = [dataset.read(split, int(place)) for place in places]
    return [vocabulary.known(record.tags) for record in records], [
        {kind: record.vectors[kind] for kind in vocabulary.vectors if kind in record.vectors}
        for record in records
    ]


def _media(folder: Path, inner: str, suffix: str, name: str) -> list[Medium]:
    """The pictures or the audio of the samples in a folder, with the tags that they were told."""
    return [
        Medium(f"{name}/{i}", folder / inner / f"{record.id}{suffix}", ", ".join(record.tags))
        for i, record in enumerate(TokenDataset(folder / _TOKENS).records(SPLIT))
    ]
