"""New pieces, and real music beside its round trip through the codec, ready for a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from markupsafe import Markup

from launch.listening.captions import caption, tag_label
from launch.listening.code_ranks import code_ranks
from tokenizer_bridge.audio.read import AudioError, read_mono
from tokenizer_bridge.audio.write import read_comment
from tokenizer_bridge.codec import Codec
from tokenizer_bridge.decoding import stamp_of_tokens
from tokenizer_bridge.devices import available_cores
from tokenizer_bridge.encoding.division import FIRST_TOKEN
from tokenizer_bridge.notes.roll import piano_roll
from tokenizer_bridge.notes.transcription import Transcriber
from tokenizer_bridge.pages.pictures import player, spectrogram, token_picture
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import safe_file_stems
from tokenizer_bridge.token_dataset.records import Record, TokenDataset


@dataclass(frozen=True)
class Sound:
    """A player, what stands under it, and pictures to look at while it plays.

    sound: a data URL. file: the name under which it is downloaded. pictures: in the order shown.
    """

    label: str
    file: str
    sound: str
    pictures: tuple[Markup, ...]
    tags: tuple[str, ...] = ()
    caption: str = ""


@dataclass(frozen=True)
class PieceSet:
    """The new pieces of one model. mind: what a reader must know before believing them."""

    title: str
    mind: tuple[str, ...]
    pieces: tuple[Sound, ...]


@dataclass(frozen=True)
class Clip:
    """A stretch of real music: the recording, where it was found, and what the codec leaves."""

    title: str
    sounds: tuple[Sound, ...]


class Listener:
    """Turns tokens of one codec into what a page shows of them."""

    def __init__(self, codec: Codec):
        self._codec = codec
        self._rank_K = code_ranks(codec)
        self._transcriber = Transcriber(available_cores())

    def piece_set(
        self, title: str, samples: TokenDataset, wavs: Path | None, mind: Sequence[str] = ()
    ) -> PieceSet:
        """All pieces of a data set of samples.

        wavs: where they lie decoded; they are decoded here without. Raises UserError for tokens of
        another codec, a piece that is missing there, and one of other tokens.
        """
        samples.require_codec(vars(self._codec.info))
        records = _records(samples)
        stems = safe_file_stems([record.id for record in records])
        if wavs is None:
            rate = self._codec.sample_rate
            sounds = ((self._codec.decode(record.tokens), rate) for record in records)
        else:
            sounds = (
                self._read(record, stem, wavs, samples.path)
                for record, stem in zip(records, stems, strict=True)
            )
        pieces = [
            Sound(
                label=record.id,
                file=f"{safe_file_stems([samples.path.name])[0]}-{stem}.flac",
                sound=player(audio_T, rate),
                pictures=self._pictures(audio_T, rate, record.tokens, f"{title}: {record.id}"),
                tags=tuple(tag_label(tag) for tag in record.tags),
                caption=caption(samples.origin | dict(record.source)),
            )
            for record, stem, (audio_T, rate) in zip(records, stems, sounds, strict=True)
        ]
        return PieceSet(title, tuple(mind), tuple(pieces))

    def has_decoded(self, samples: TokenDataset, wavs: Path) -> bool:
        """True when a folder holds the audio of all these very pieces."""
        records = _records(samples)
        paths = (_decoded_path(wavs, s) for s in safe_file_stems([r.id for r in records]))
        return all(
            path is not None and self._is_of(record, path)
            for record, path in zip(records, paths, strict=True)
        )

    def clip(self, record: Record, music: Path | None, seconds: float) -> Clip:
        """A stretch from the middle of a track, and what is left of it after the codec.

        music: the folder that was encoded; the recording itself is left out without it, and where
        cleaning has changed its length. Raises UserError when it is not there.
        """
        rate, hop = self._codec.sample_rate, self._codec.hop_length
        count = min(round(seconds * rate) // hop, len(record.tokens))
        first = (len(record.tokens) - count) // 2
        codes_L = record.tokens[first : first + count]
        stem = safe_file_stems([record.id])[0]
        sounds = []
        if music is not None and "cleaning" not in record.source:
            path = music / record.source.get("file", record.id)
            try:
                track_T = read_mono(path, rate)
            except AudioError as error:
                raise UserError(f"{path}: {error}: is {music} what was encoded?") from error
            start = first + record.source.get(FIRST_TOKEN, 0)
            original_T = track_T[start * hop : (start + count) * hop]
            label = f"Recording of {record.id}"
            sounds.append(
                Sound(
                    label,
                    f"{stem}-recording.flac",
                    player(original_T, rate),
                    self._sound_pictures(original_T, rate, label),
                )
            )
        decoded_T = self._codec.decode(codes_L)
        label = f"{record.id} through the codec"
        pictures = self._pictures(decoded_T, rate, codes_L, label)
        sounds.append(Sound(label, f"{stem}-codec.flac", player(decoded_T, rate), pictures))
        return Clip(record.id, tuple(sounds))

    def _pictures(
        self, audio_T: np.ndarray, rate: int, codes_L: np.ndarray, what: str
    ) -> tuple[Markup, ...]:
        ranks_L = self._rank_K[codes_L]
        return (
            *self._sound_pictures(audio_T, rate, what),
            token_picture(ranks_L, len(self._rank_K), f"Tokens of {what}"),
        )

    def _sound_pictures(self, audio_T: np.ndarray, rate: int, what: str) -> tuple[Markup, ...]:
        notes = self._transcriber(audio_T, rate)
        return (
            spectrogram(audio_T, rate, f"Spectrogram of {what}"),
            piano_roll(notes, len(audio_T) / rate, f"Notes heard in {what}"),
        )

    def _read(self, record: Record, stem: str, wavs: Path, samples: Path) -> tuple[np.ndarray, int]:
        path = _decoded_path(wavs, stem)
        if path is None:
            raise UserError(f"{wavs}: no {stem}.wav: decode {samples} into it first")
        if not self._is_of(record, path):
            raise UserError(f"{path} was not decoded from the tokens of {record.id} in {samples}")
        return soundfile.read(path, dtype="float32")

    def _is_of(self, record: Record, path: Path) -> bool:
        return read_comment(path).startswith(stamp_of_tokens(record.tokens, self._codec.info))


def _records(samples: TokenDataset) -> list[Record]:
    return [record for split in samples.splits for record in samples.records(split)]


def _decoded_path(wavs: Path, stem: str) -> Path | None:
    """The file into which tokenizer_bridge.decode has written a piece."""
    paths = (wavs / f"{stem}.{suffix}" for suffix in ("wav", "flac"))
    return next((path for path in paths if path.exists()), None)
