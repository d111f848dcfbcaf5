"""The studio behind the page: a model and its codec, which make pieces, one wish after the other.

Nothing here knows of Gradio. All files lie in the studio's folder.
"""

import dataclasses
import itertools
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup

from launch.listening.code_ranks import code_ranks
from launch.playing.job import Report
from launch.playing.line import Line
from launch.playing.pictures import spectrogram, waveform
from launch.playing.wishes import NUM_PIECES, Source, Wish, script
from sedd_jax import Model
from sedd_jax.weights import exported
from tokenizer_bridge import Codec
from tokenizer_bridge.audio.write import write_audio
from tokenizer_bridge.pages.pictures import token_picture

Reporter = Callable[[Report], None]

MOST_BATCHES = 40  # that are kept for one who plays; the oldest go first
DEFAULT_STEPS = 32


@dataclass(frozen=True)
class Piece:
    """A piece that can be played.

    tokens: (L,) uint16; sound, command: WAV file, and the shell commands that make it again;
    pictures: waveform, spectrogram and tokens, each as wide as the piece is long.
    """

    number: int  # in its batch, from 1
    tokens: np.ndarray
    seconds: float
    sound: Path
    command: Path
    pictures: tuple[Markup, ...]


@dataclass(frozen=True)
class Batch:
    """The pieces of one wish. number: in the studio, from 1; made_in_s: seconds that it took."""

    number: int
    title: str
    wish: Wish
    pieces: tuple[Piece, ...]
    made_in_s: float


class Studio:
    """Makes pieces with a model and its codec, for several people at once, in turn.

    source: the model's name in commands; folder: an existing one, where sounds are put.
    """

    def __init__(self, model: Model, codec: Codec, source: Source, folder: Path):
        self.model, self.codec, self.source, self.folder = model, codec, source, folder
        self._line = Line()
        self._numbers = itertools.count(1)
        self._rank_K = code_ranks(codec)
        self._batches: dict[int, Batch] = {}
        self._lock = threading.Lock()
        self._compiled: set[tuple] = set()

    @property
    def lengths(self) -> list[int]:
        """Lengths to choose from, in tokens, ascending; a program is compiled for each."""
        return sorted({-(-self.model.length // part) for part in (4, 2, 1)})

    @property
    def default_wish(self) -> Wish:
        """What is made if nothing else is asked for."""
        return Wish(
            length=self.lengths[len(self.lengths) // 2],
            steps=DEFAULT_STEPS,
            sampler=self.model.definition.config.sampling.sampler,
            seed=0,
        )

    def seconds(self, length: int) -> float:
        """The seconds that so many tokens last."""
        return length / self.codec.token_rate

    def warm(self) -> None:
        """Compiles the programs of the default wish, with guidance and without."""
        plain = self.default_wish
        guided = dataclasses.replace(plain, tags=tuple(self.model.tags)[:1], guidance=2.0)
        for wish in dict.fromkeys((plain, guided)):
            with self._line.turn(lambda before: None):
                self.codec.decode(self._sample(wish, lambda num_sample_steps: None))

    def make(self, wish: Wish, report: Reporter) -> Batch:
        """New pieces. What `report` raises ends the making.

        Raises UserError for a wish that the model cannot meet.
        """
        self.model.definition.vocabulary.require(wish.tags)
        with self._line.turn(lambda before: report(Report(_waiting(before)))):
            start = time.perf_counter()
            report(Report(self._first_words(wish), 0.0))
            tokens_NxL = self._sample(wish, Steps(wish.steps, report))
            report(Report("Turning tokens into sound", 1.0))
            number = next(self._numbers)
            pieces = self._keep(number, wish, tokens_NxL)
            batch = Batch(number, "New pieces", wish, pieces, time.perf_counter() - start)
        with self._lock:
            self._batches[number] = batch
        return batch

    def batch(self, number: int) -> Batch | None:
        """The batch of a number; None where it has been forgotten."""
        return self._batches.get(number)

    def forget(self, numbers: Iterable[int]) -> None:
        """Removes batches and their files."""
        for number in numbers:
            with self._lock:
                self._batches.pop(number, None)
            shutil.rmtree(self._folder_of(number), ignore_errors=True)

    def _sample(self, wish: Wish, progress: Callable[[int], None]) -> np.ndarray:
        tokens_NxL = self.model.sample(
            NUM_PIECES,
            tags=wish.tags,
            guidance=wish.guidance,
            seed=wish.seed,
            steps=wish.steps,
            sampler=wish.sampler,
            length=wish.length,
            batch_size=NUM_PIECES,
            progress=progress,
        )
        self._compiled.add(_program(wish))
        return tokens_NxL

    def _first_words(self, wish: Wish) -> str:
        if _program(wish) in self._compiled:
            return "Sampling"
        return "Compiling: the first pieces of a length, or of a number of steps, take longer"

    def _keep(self, number: int, wish: Wish, tokens_NxL: np.ndarray) -> tuple[Piece, ...]:
        """Pieces of the tokens, with their files."""
        folder = self._folder_of(number)
        folder.mkdir()
        rate, pieces = self.codec.sample_rate, []
        for i, audio_T in enumerate(self.codec.decode(tokens_NxL)):
            name, label = f"piece-{number}-{i + 1}", f"piece {i + 1}"
            sound, command = folder / f"{name}.wav", folder / f"{name}.sh"
            write_audio(sound, audio_T, rate)
            command.write_text(script(self.source, wish, i), encoding="utf-8")
            ranks_L = self._rank_K[tokens_NxL[i]]
            pictures = (
                waveform(audio_T, f"Waveform of {label}"),
                spectrogram(audio_T, rate, f"Spectrogram of {label}"),
                token_picture(ranks_L, len(self._rank_K), f"Tokens of {label}"),
            )
            seconds = len(audio_T) / rate
            pieces.append(Piece(i + 1, tokens_NxL[i], seconds, sound, command, pictures))
        return tuple(pieces)

    def _folder_of(self, number: int) -> Path:
        return self.folder / f"batch-{number}"


class Steps:
    """The steps of sampling as reports: how far it is, and about how long it still takes."""

    def __init__(self, steps: int, report: Reporter):
        self._evaluations, self._report = steps + 1, report
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


def _program(wish: Wish) -> tuple:
    """What a compiled program is made for."""
    return wish.length, wish.steps, wish.sampler, bool(wish.tags), wish.guidance == 1.0


def _waiting(before: int) -> str:
    return f"Waiting: {before} {'is' if before == 1 else 'are'} before you"


def load(
    workdir: str, folder: Path, *, step: int | None = None, codec_dir: str | None = None
) -> Studio:
    """The studio of a model that `sedd_jax.Model.load` finds; folder: an existing one for sounds.

    Raises UserError when there is no such model, or no codec for it.
    """
    model = Model.load(workdir, step=step)
    codec = Codec.load(model.codec, directory=codec_dir)
    sounds = folder / "sounds"
    sounds.mkdir()
    if exported.is_name(workdir):  # the same model wherever it is typed
        return Studio(model, codec, Source(workdir, None, codec_dir), sounds)
    where = workdir if "://" in workdir else str(Path(workdir).resolve())
    return Studio(model, codec, Source(where, model.step, codec_dir), sounds)
