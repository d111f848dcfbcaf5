"""The studio behind the page: a model and its codec, which make pieces, one wish after the other.

Nothing here knows of Gradio. All files lie in the studio's folder.
"""

import dataclasses
import itertools
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from launch.changes import Change
from launch.playing.job import Report
from launch.playing.line import Line
from launch.playing.pieces import Batch, Piece, Shelf, title_of
from launch.playing.recipes import Changed, New, Recipe, Source, Upload
from launch.playing.wishes import NUM_PIECES, Wish
from sedd_jax import Model
from sedd_jax.diffusion.choices import TRAITS
from sedd_jax.errors import UserError
from sedd_jax.sampling import editing
from sedd_jax.sampling.settings import Sampling, settle
from sedd_jax.weights import exported
from tokenizer_bridge import Codec
from tokenizer_bridge.audio.read import AudioError, length_s, read_audio
from tokenizer_bridge.audio.write import subtype_for
from tokenizer_bridge.edits import edited_audio

Reporter = Callable[[Report], None]
Progress = Callable[[int], None]  # as `Model.sample` has it

MOST_BATCHES = 40  # that are kept for one who plays; the oldest go first
MOST_UPLOAD_S = 180.0
LONG_S = (60, 120)
DEFAULT_STEPS = 32


class Studio:
    """Makes pieces with a model and its codec, for several people at once, in turn.

    source: the model's name in commands; folder: an existing one, where sounds are put.
    """

    def __init__(self, model: Model, codec: Codec, source: Source, folder: Path):
        self.model, self.codec, self.source, self.folder = model, codec, source, folder
        self._line, self._shelf = Line(), Shelf(codec, source, folder)
        self._numbers = itertools.count(1)
        self._batches: dict[int, Batch] = {}
        self._lock = threading.Lock()
        self._compiled: set[tuple] = set()

    @property
    def lengths(self) -> list[int]:
        """Lengths to choose from, in tokens, ascending.

        A program is compiled for each; what is longer than the model's context has one for all.
        """
        short = {-(-self.model.length // part) for part in (4, 2, 1)}
        long = {round(seconds * self.codec.token_rate) for seconds in LONG_S}
        return sorted(short | {length for length in long if length > self.model.length})

    @property
    def samplers(self) -> list[str]:
        """The samplers to choose from: those for the model's graph."""
        has_mask = self.model.definition.graph.mask_id is not None
        return [name for name, traits in TRAITS.items() if has_mask or not traits.needs_mask]

    @property
    def default_wish(self) -> Wish:
        """The wish that is met if nothing else is asked for."""
        return Wish(
            length=self.lengths[1],
            steps=DEFAULT_STEPS,
            sampler=settle(self.model.definition, seed=0).sampler,
            seed=0,
        )

    def seconds(self, length: int) -> float:
        """The seconds that so many tokens last."""
        return length / self.codec.token_rate

    def warm(self, report: Reporter) -> None:
        """Compiles the programs of the default wish, with guidance and without.

        What `report` raises ends it.
        """
        plain = self.default_wish
        guided = dataclasses.replace(plain, tags=tuple(self.model.tags)[:1], guidance=2.0)
        for wish in dict.fromkeys((plain, guided)):
            with self._line.turn(lambda before: report(Report(_waiting(before)))):
                steps = Steps(self._sampling(wish).evaluations, report)
                self.codec.decode(self._sample(wish, steps))
                self._compiled.add(_program(wish, self._sampling(wish)))

    def make(self, wish: Wish, report: Reporter) -> Batch:
        """New pieces. What `report` raises ends the making.

        Raises UserError for a wish that the model cannot meet.
        """
        return self._make("New pieces", New(wish), wish, report)

    def change(
        self, batch: Batch, number: int, change: Change, wish: Wish, report: Reporter
    ) -> Batch:
        """Pieces made of one of a batch, of that number there. wish: how; its length is not used.

        Raises UserError for a change that makes no sense there, and as `make`.
        """
        piece = batch.pieces[number - 1]
        tokens_T = piece.tokens
        if piece.recording is not None:  # as the command does, since what was new is sound by now
            tokens_T = self.codec.encode(piece.recording)
        edit = change.edit(tokens_T, self.codec.token_rate, NUM_PIECES, wish.seed)
        recipe = Changed(batch.recipe, number - 1, change, wish, piece.recording is not None)
        song = None if change.is_scattered else piece.recording
        title = title_of(change, piece.label if piece.command is None else piece.label.lower())
        return self._make(title, recipe, wish, report, edit=edit, song=song)

    def upload(self, path: Path, name: str, report: Reporter) -> Batch:
        """A recording as a batch of one piece. name: of the file, as the reader has it.

        Raises UserError for a file that is no audio, or too long.
        """
        report(Report(f"Reading {name}"))
        start = time.perf_counter()
        number = next(self._numbers)
        kept = self._shelf.folder_of(number) / f"upload{path.suffix}"
        try:
            if (seconds := length_s(path)) > MOST_UPLOAD_S:
                raise UserError(
                    f"{name} lasts {seconds:.0f} s: up to {MOST_UPLOAD_S:.0f} s can be taken"
                )
            audio_CxT, rate = read_audio(path)
            tokens_L = self.codec.encode(path)
        except AudioError as error:
            raise UserError(f"{name}: {error}") from error
        except UserError as error:
            raise UserError(str(error).replace(str(path), name)) from error
        kept.parent.mkdir()
        shutil.copyfile(path, kept)
        recipe = Upload(name)
        piece = self._shelf.put(
            number, 0, recipe, tokens_L, audio_CxT, rate, "PCM_16", recording=kept
        )
        return self._keep(Batch(number, name, recipe, (piece,), time.perf_counter() - start))

    def batch(self, number: int) -> Batch | None:
        """The batch of a number; None where it has been forgotten."""
        return self._batches.get(number)

    def forget(self, numbers: Iterable[int]) -> None:
        """Removes batches and their files."""
        for number in numbers:
            with self._lock:
                self._batches.pop(number, None)
            shutil.rmtree(self._shelf.folder_of(number), ignore_errors=True)

    def _make(
        self,
        title: str,
        recipe: New | Changed,
        wish: Wish,
        report: Reporter,
        *,
        edit: editing.Edit | None = None,
        song: Path | None = None,
    ) -> Batch:
        """Pieces that are drawn in turn. song: the recording in which what is new is heard."""
        self.model.definition.vocabulary.require(wish.tags)
        sampling = self._sampling(wish, edit)
        program = _program(wish, sampling, edit)
        with self._line.turn(lambda before: report(Report(_waiting(before)))):
            start = time.perf_counter()
            report(Report("Sampling" if program in self._compiled else _COMPILING, 0.0))
            tokens_NxT = self._sample(wish, Steps(sampling.evaluations, report), edit)
            self._compiled.add(program)
            report(Report("Turning tokens into sound", 1.0))
            number = next(self._numbers)
            if song is None or edit is None:
                pieces = self._decoded(number, recipe, tokens_NxT, edit)
            else:
                pieces = self._spliced(number, recipe, tokens_NxT, edit.stretches, song)
            return self._keep(Batch(number, title, recipe, pieces, time.perf_counter() - start))

    def _sampling(self, wish: Wish, edit: editing.Edit | None = None) -> Sampling:
        length = wish.length if edit is None else len(edit.tokens_T)
        return settle(
            self.model.definition, sampler=wish.sampler, steps=wish.steps, length=length,
            seed=wish.seed,
        )  # fmt: skip

    def _sample(
        self, wish: Wish, progress: Progress, edit: editing.Edit | None = None
    ) -> np.ndarray:
        """Tokens (NUM_PIECES, T) of a wish; the length is an edit's, where there is one."""
        given: dict[str, Any] = {"length": wish.length}
        if edit is not None:
            shape = (NUM_PIECES, len(edit.tokens_T))
            is_kept_NxT = np.broadcast_to(edit.is_kept_NxT, shape)
            given = {"known": edit.tokens_T, "is_known": is_kept_NxT}
        return self.model.sample(
            NUM_PIECES, tags=wish.tags, guidance=wish.guidance, seed=wish.seed, steps=wish.steps,
            sampler=wish.sampler, temperature=wish.temperature, top_p=wish.top_p,
            batch_size=NUM_PIECES, progress=progress, **given,
        )  # fmt: skip

    def _decoded(
        self, number: int, recipe: Recipe, tokens_NxT: np.ndarray, edit: editing.Edit | None
    ) -> tuple[Piece, ...]:
        """Pieces whose sound is all of the codec."""
        is_scattered = isinstance(recipe, Changed) and recipe.change.is_scattered
        new = () if edit is None or is_scattered else self._in_seconds(edit.stretches)
        rate, audio_NxS = self.codec.sample_rate, self.codec.decode(tokens_NxT)
        return tuple(
            self._shelf.put(number, i, recipe, tokens_T, audio_S[None], rate, new=new)
            for i, (tokens_T, audio_S) in enumerate(zip(tokens_NxT, audio_NxS, strict=True))
        )

    def _spliced(
        self,
        number: int,
        recipe: Recipe,
        tokens_NxT: np.ndarray,
        stretches: list[tuple[int, int]],
        song: Path,
    ) -> tuple[Piece, ...]:
        """Pieces that are a recording but for what is new."""
        audio_CxS, rate = read_audio(song)
        network, info = self.codec.network, self.codec.info
        pieces = []
        for i, tokens_T in enumerate(tokens_NxT):
            edited_CxS = edited_audio(network, info, audio_CxS, rate, tokens_T, stretches)
            piece = self._shelf.put(
                number, i, recipe, tokens_T, edited_CxS, rate, subtype_for(song),
                new=self._in_seconds(stretches), is_recording=True,
            )  # fmt: skip
            pieces.append(piece)
        return tuple(pieces)

    def _in_seconds(self, stretches: list[tuple[int, int]]) -> tuple[tuple[float, float], ...]:
        return tuple((self.seconds(start), self.seconds(stop)) for start, stop in stretches)

    def _keep(self, batch: Batch) -> Batch:
        with self._lock:
            self._batches[batch.number] = batch
        return batch


class Steps:
    """The steps of sampling as reports: how far it is, and about how long it still takes."""

    def __init__(self, evaluations: int, report: Reporter):
        self._evaluations, self._report = evaluations, report
        self._done, self._first = 0.0, 0.0
        self._start = time.perf_counter()

    def __call__(self, num_sample_steps: int) -> None:
        """Called with the steps × samples that were done; see `Model.sample`."""
        self._done += num_sample_steps / NUM_PIECES
        if not self._first:  # which may have been compiled first: no measure of the others
            self._first, self._start = self._done, time.perf_counter()
        text = f"Sampling: step {self._done:.0f} of {self._evaluations}"
        if self._done > self._first:
            pace_s = (time.perf_counter() - self._start) / (self._done - self._first)
            text += f", {pace_s * (self._evaluations - self._done):.0f} s left"
        self._report(Report(text, self._done / self._evaluations))


_COMPILING = "Compiling: the first pieces of a length, or of a number of steps, take longer"


def load(
    workdir: str, folder: Path, *, step: int | str | None = None, codec_dir: str | None = None
) -> Studio:
    """The studio of a model that `sedd_jax.Model.load` finds; folder: an existing one for sounds.

    Raises UserError when there is no such model, no codec for it, or it is no diffusion model.
    """
    model = Model.load(workdir, step=step)
    if model.definition.is_autoregressive:
        raise UserError(
            f"{workdir} is autoregressive: the page is for diffusion models; sample with it, or go "
            "on from a song by the command edit"
        )
    codec = Codec.load(model.codec, directory=codec_dir)
    sounds = folder / "sounds"
    sounds.mkdir()
    if exported.is_name(workdir):  # the same model wherever it is typed
        return Studio(model, codec, Source(workdir, None, codec_dir), sounds)
    where = workdir if "://" in workdir else str(Path(workdir).resolve())
    return Studio(model, codec, Source(where, model.step, codec_dir), sounds)


def _program(wish: Wish, sampling: Sampling, edit: editing.Edit | None = None) -> tuple:
    """The facts that a compiled program is for."""
    has_known = sampling.window is not None or edit is not None
    return (
        sampling.at_once, has_known, wish.steps, wish.sampler, bool(wish.tags),
        wish.guidance == 1, wish.temperature == 1, wish.top_p == 1,
    )  # fmt: skip


def _waiting(before: int) -> str:
    return f"Waiting: {before} {'is' if before == 1 else 'are'} before you"
