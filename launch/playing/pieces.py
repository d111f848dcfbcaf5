"""Pieces that the page can play, and the files that each of them has."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup

from launch.changes import Change, Continue, Replace, Vary
from launch.listening.code_ranks import code_ranks
from launch.playing.pictures import spectrogram, waveform
from launch.playing.recipes import Recipe, Source, Upload, script
from tokenizer_bridge import Codec
from tokenizer_bridge.audio.write import write_audio, write_recording
from tokenizer_bridge.pages.pictures import token_picture


@dataclass(frozen=True)
class Piece:
    """A piece that can be played.

    tokens: (L,) uint16; sound: its WAV file, command: the shell script that makes it again, None
    for an uploaded one; pictures: waveform, spectrogram and tokens, each as wide as the piece is
    long. new: the stretches (start, stop) that were made anew, in seconds. recording: the file that
    changes are made of, None where they are made of the tokens.
    """

    number: int  # in its batch, from 1
    label: str
    tokens: np.ndarray
    seconds: float
    sound: Path
    command: Path | None
    pictures: tuple[Markup, ...]
    new: tuple[tuple[float, float], ...] = ()
    recording: Path | None = None


@dataclass(frozen=True)
class Batch:
    """Pieces that were made together. number: in the studio, from 1; made_in_s: seconds it took."""

    number: int
    title: str
    recipe: Recipe
    pieces: tuple[Piece, ...]
    made_in_s: float


def title_of(change: Change, song: str) -> str:
    """The title of pieces that a change makes of a song of this name."""
    match change:
        case Vary():
            return f"More like {song}"
        case Continue():
            return f"Going on with {song}"
        case Replace([(start, stop)]):
            return f"{start:.1f} to {stop:.1f} s of {song} anew"
    raise ValueError(f"the page makes no {change}")


class Shelf:
    """Puts pieces into a folder, with their pictures."""

    def __init__(self, codec: Codec, source: Source, folder: Path):
        self._codec, self._source, self._folder = codec, source, folder
        self._rank_K = code_ranks(codec)

    def folder_of(self, batch: int) -> Path:
        """The folder of a batch's files."""
        return self._folder / f"batch-{batch}"

    def put(
        self,
        batch: int,
        index: int,
        recipe: Recipe,
        tokens_L: np.ndarray,
        audio_CxT: np.ndarray,
        rate: int,
        subtype: str | None = None,
        *,
        new: tuple[tuple[float, float], ...] = (),
        recording: Path | None = None,
        is_recording: bool = False,
    ) -> Piece:
        """A piece whose sound is written; see `Piece`.

        index: from 0, in its batch. subtype: of a recording's WAV file, None for one channel that
        is written as `decode` does. is_recording: what is written is the recording itself.
        """
        folder = self.folder_of(batch)
        folder.mkdir(exist_ok=True)
        name = f"piece-{batch}-{index + 1}"
        label = recipe.name if isinstance(recipe, Upload) else f"Piece {index + 1}"
        sound, command = folder / f"{name}.wav", None
        if subtype is None:
            write_audio(sound, audio_CxT[0], rate)
        else:
            write_recording(sound, audio_CxT, rate, subtype)
        if not isinstance(recipe, Upload):
            command = folder / f"{name}.sh"
            command.write_text(script(self._source, recipe, index), encoding="utf-8")
        mono_T = audio_CxT.mean(0)
        pictures = (
            waveform(mono_T, f"Waveform of {label}"),
            spectrogram(mono_T, rate, f"Spectrogram of {label}"),
            token_picture(self._rank_K[tokens_L], len(self._rank_K), f"Tokens of {label}"),
        )
        return Piece(
            number=index + 1, label=label, tokens=tokens_L, seconds=len(mono_T) / rate, sound=sound,
            command=command, pictures=pictures, new=new,
            recording=sound if is_recording else recording,
        )  # fmt: skip
