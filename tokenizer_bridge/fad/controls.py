"""Controls: the distances between sets of which one knows what to expect.

The reference's files are split into halves A and B that share no known artist. All controls are
sets of A's clips, as many and of the same length, compared with B:

    real_vs_real     A itself: what other music of the same kind is worth
    codec_floor      A through the codec: what the codec alone costs; a model of its tokens is not
                     expected to come nearer, though nothing forbids it
    shuffled_tokens  codes drawn independently from A's frequencies, decoded: a model that knows
                     which codes there are and nothing of their order
    white_noise      Gaussian noise at the level (RMS) of each clip of A
    silence          zeros

The codec's output and the noise take the way of generated music: clipped to ±1 and rounded to
16 bits. They are made once, into files that each embedding then reads.
"""

import contextlib
import dataclasses
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tokenizer_bridge.audio.read import AudioError
from tokenizer_bridge.audio.resample import RESAMPLER
from tokenizer_bridge.decoding import decode_batch
from tokenizer_bridge.encoding.tracks import encode_batch
from tokenizer_bridge.fad.cache import entry_key
from tokenizer_bridge.fad.clips import Clip, Sound, read_clip
from tokenizer_bridge.fad.embed import (
    DEFAULT_OPTIONS,
    EmbeddingSet,
    EmbedOptions,
    collect,
    embed,
    like_clips_of,
    stepping,
)
from tokenizer_bridge.fad.embeddings import Embedding
from tokenizer_bridge.fad.measure import ControlSets
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import atomic_file, known_sha256
from tokenizer_bridge.wavtokenizer.network import WavTokenizer
from tokenizer_bridge.wavtokenizer.registry import CodecInfo

# Halves by artist that are more unequal than this would leave most of the reference unused.
_MAX_RATIO = 2.0
_MADE = ("codec_floor", "shuffled_tokens", "white_noise")
_VERSION = 2  # of what is made here: a new one leaves older files unused
_FULL_SCALE = 32767
_ABANDONED_S = 24 * 3600  # since the last write to an unfinished file


@dataclass(frozen=True)
class Halves:
    """Clips of A and of B by their index, no file in both; what one should know.

    by: "artists", they share none; "known artists", they share none that is known, and some files'
    are not; or "files", they may share artists.
    """

    a: tuple[int, ...]
    b: tuple[int, ...]
    by: str = "artists"
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ControlAudio:
    """Made clips on disk. paths: control -> .npy, (N, T) int16."""

    paths: Mapping[str, Path]
    sample_rate: int  # Hz

    def clips(self, name: str) -> Iterator[np.ndarray]:
        """(T,) float32, one after the other."""
        for clip_T in np.load(self.paths[name], mmap_mode="r"):
            yield clip_T.astype(np.float32) / _FULL_SCALE


def split_halves(ids: Sequence[str], artists: Sequence[str | None], seed: int) -> Halves:
    """Two halves of a set's clips that share no known artist, nor a file, with equally many files.

    ids, artists: of each clip; clips of one file share their id. A file without an artist counts as
    an artist of its own, and a warning says how many do. Where all files are of one artist or of
    none, or artists are too few to make halves of, files are split whoever they are by, and a
    warning says so. Of the larger half, files are left out until both have the same number. The
    same for the same seed.
    """
    artist_of = dict(zip(ids, artists, strict=True))
    warnings, by = [], "artists"
    halves = _deal({id: artist or f"file {id}" for id, artist in artist_of.items()}, seed)
    known = set(artist_of.values()) - {None}
    unknown = sum(artist is None for artist in artist_of.values())
    sizes = sorted(map(len, halves))
    if not known:
        by = "files"
        warnings.append("no artists are known; the halves that controls are made of may share some")
    elif sizes[1] > _MAX_RATIO * sizes[0]:
        by, halves = "files", _deal({id: id for id in artist_of}, seed)
        warnings.append(
            f"too few artists ({len(known)}) for halves that share none: those that controls are "
            "made of may share some, and real against real is lower for it"
        )
    elif unknown:
        by = "known artists"
        warnings.append(
            f"the artists of {unknown} of {len(artist_of)} files are not known: the halves that "
            "controls are made of share none that is known, but may share others"
        )
    count = min(map(len, halves))
    a, b = (set(half[:count]) for half in halves)
    return Halves(
        a=tuple(i for i, id in enumerate(ids) if id in a),
        b=tuple(i for i, id in enumerate(ids) if id in b),
        by=by,
        warnings=tuple(warnings),
    )


def _deal(group_of: Mapping[str, str], seed: int) -> tuple[list[str], list[str]]:
    """Files in two halves, no group in both: the largest group first, each to the smaller half."""
    sizes = Counter(group_of.values())
    groups = sorted(sizes)
    np.random.default_rng(seed).shuffle(groups)
    halves, files = ([], []), {group: [] for group in groups}
    for id in sorted(group_of):
        files[group_of[id]].append(id)
    for group in sorted(groups, key=lambda group: -sizes[group]):
        min(halves, key=len).extend(files[group])
    return halves


def make_audio(
    clips: Sequence[Clip],
    codec: WavTokenizer,
    info: CodecInfo,
    *,
    folder: Path,
    seed: int,
    batch_size: int = 8,
    on_clip: Callable[[], None] = lambda: None,
) -> ControlAudio:
    """Make what A's clips are turned into, as files in `folder`; those found there are used again.

    clips: A, all of one length. codec, info: as `load_codec` returns them. on_clip: told twice for
    each clip. The files take 6 bytes a sample of A in all (1.4 MB for 10 s). Raises UserError for a
    clip that cannot be read.
    """
    key = entry_key(
        version=_VERSION,
        clips=[(known_sha256(clip.path), clip.start_s, clip.clip_s) for clip in clips],
        codec=dataclasses.asdict(info),
        resampler=RESAMPLER,
        seed=seed,
    )[:16]
    audio = ControlAudio({name: folder / f"{name}-{key}.npy" for name in _MADE}, info.sample_rate)
    shape = (len(clips), round(clips[0].clip_s * info.sample_rate))
    if all(_is_whole(path, shape) for path in audio.paths.values()):
        return audio
    folder.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder)
    with contextlib.ExitStack() as stack:
        floor_NxT, shuffled_NxT, noise_NxT = (
            _mapped(stack.enter_context(atomic_file(path)), shape) for path in audio.paths.values()
        )
        rng = np.random.default_rng(seed)
        codes = []
        for rows in _batches(len(clips), batch_size):
            real_BxT = np.stack([_read(clip, info.sample_rate) for clip in clips[rows]])
            noise_NxT[rows] = _int16(_noise_like(real_BxT, rng))
            codes_BxL = encode_batch(codec, real_BxT)
            floor_NxT[rows] = _decode(codec, codes_BxL, shape[1])
            codes.append(codes_BxL)
            _tell(on_clip, codes_BxL)
        codes_NxL = np.concatenate(codes)
        for rows in _batches(len(clips), batch_size):
            # Draws from all codes are draws from their frequencies.
            drawn_BxL = rng.choice(codes_NxL.ravel(), codes_NxL[rows].shape)
            shuffled_NxT[rows] = _decode(codec, drawn_BxL, shape[1])
            _tell(on_clip, drawn_BxL)
        for made_NxT in (floor_NxT, shuffled_NxT, noise_NxT):
            made_NxT.flush()
    return audio


def embed_controls(
    embedding: Embedding,
    reference: EmbeddingSet,
    halves: Halves,
    audio: ControlAudio,
    options: EmbedOptions = DEFAULT_OPTIONS,
    on_clip: Callable[[], None] = lambda: None,
) -> ControlSets:
    """All controls under one embedding.

    reference: the embedded clips that `halves` was made of, all of them. audio: made of half A.
    options: as for the reference; made clips are brought to its loudness, silence stays silent.
    on_clip: told for each made clip.
    """
    real = reference.select(halves.a)

    made = {}
    for name in audio.paths:
        sounds = like_clips_of(real, audio.clips(name), audio.sample_rate)
        made[name], _ = collect(
            embedding.info, stepping(embed(embedding, sounds, options), on_clip)
        )
    zeros_T = np.zeros_like(next(audio.clips("white_noise")))
    silent = Sound("silence", None, zeros_T, audio.sample_rate)
    # One silent clip is like the other; files they are all the same.
    silence, _ = collect(embedding.info, [*embed(embedding, [silent], options)] * len(real.clips))
    silence = dataclasses.replace(silence, clips=real.clips, artists=real.artists)
    by_name = {"real_vs_real": real, **made, "silence": silence}
    return ControlSets(reference.select(halves.b), by_name, halves.by, halves.warnings)


def _is_whole(path: Path, shape: tuple[int, int]) -> bool:
    """True if a file holds so much made audio; one that was cut short by others does not."""
    try:
        found = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return False
    return found.shape == shape and found.dtype == np.int16


def _remove_abandoned(folder: Path) -> None:
    """Remove what killed processes have left: gigabytes, where the reference is large.

    By age, as a living process may be on another machine that shares the folder.
    """
    for path in folder.glob(".*.partial"):
        with contextlib.suppress(FileNotFoundError):  # another process does the same
            if time.time() - path.stat().st_mtime > _ABANDONED_S:
                path.unlink()


def _mapped(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """A new file as an array of int16.

    Its space is taken at once: a disk that fills up later would kill the process (SIGBUS) instead
    of raising OSError.
    """
    mapped = np.lib.format.open_memmap(path, "w+", np.int16, shape)
    with open(path, "r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return mapped


def _read(clip: Clip, sample_rate: int) -> np.ndarray:
    try:
        return read_clip(clip, sample_rate)
    except AudioError as error:
        raise UserError(f"{clip.path}: {error}") from error


def _noise_like(real_BxT: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    level_Bx1 = np.sqrt(np.square(real_BxT, dtype=np.float64).mean(1, keepdims=True))
    return level_Bx1 * rng.standard_normal(real_BxT.shape)


def _decode(codec: WavTokenizer, codes_BxL: np.ndarray, num_samples: int) -> np.ndarray:
    return _int16(decode_batch(codec, codes_BxL)[:, :num_samples])


def _int16(audio_BxT: np.ndarray) -> np.ndarray:
    return np.round(np.clip(audio_BxT, -1, 1) * _FULL_SCALE).astype(np.int16)


def _batches(total: int, size: int) -> Iterator[slice]:
    for first in range(0, total, size):
        yield slice(first, min(first + size, total))


def _tell(on_clip: Callable[[], None], clips: np.ndarray) -> None:
    for _ in clips:
        on_clip()
