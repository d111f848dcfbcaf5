"""Clips to vectors: read and embedded in threads, kept in a cache.

N vectors, W windows a clip, D values a vector, T samples.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from tokenizer_bridge.audio.read import AudioError
from tokenizer_bridge.audio.resample import RESAMPLER
from tokenizer_bridge.cleaning.loudness import Level
from tokenizer_bridge.devices import map_in_threads
from tokenizer_bridge.fad.cache import VectorCache, entry_key
from tokenizer_bridge.fad.clips import Clip, Sound, prepare, read_levelled
from tokenizer_bridge.fad.embeddings import Embedding, EmbeddingInfo
from tokenizer_bridge.sources import Failure
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import known_sha256

Item = TypeVar("Item")

_VERSION = 3  # of all that makes vectors of audio here: a new one leaves older entries unused


@dataclasses.dataclass(frozen=True)
class EmbeddingSet:
    """Vectors of clips under one embedding, in the order of clips and their windows.

    clip_of_N: index of the clip that each vector is of. clips: their ids (clips of one track share
    it). artists: None where unknown.
    """

    info: EmbeddingInfo
    vectors_NxD: np.ndarray  # float32
    clip_of_N: np.ndarray  # int64
    clips: tuple[str, ...]
    artists: tuple[str | None, ...]

    @staticmethod
    def of(info: EmbeddingInfo, embedded: Sequence[Embedded]) -> EmbeddingSet:
        """The set of these clips, in their order."""
        return _assemble(
            info,
            [one.vectors_WxD for one in embedded],
            [one.clip.id for one in embedded],
            [one.clip.artist for one in embedded],
        )

    def select(self, clip_indices: Sequence[int]) -> EmbeddingSet:
        """The set of these clips alone, in this order."""
        per_clip = self.per_clip()
        return _assemble(
            self.info,
            [per_clip[i] for i in clip_indices],
            [self.clips[i] for i in clip_indices],
            [self.artists[i] for i in clip_indices],
        )

    def per_clip(self) -> list[np.ndarray]:
        """Each clip's (W, D) vectors."""
        ends = np.cumsum(np.bincount(self.clip_of_N, minlength=len(self.clips)))
        return np.split(self.vectors_NxD, ends[:-1]) if self.clips else []


@dataclasses.dataclass(frozen=True)
class EmbedOptions:
    """Options of embedding; vectors depend on `loudness`, and on batch_size by rounding.

    cache_dir: None for no cache. num_workers: threads, each of which reads and embeds clips; as
    many as cores without. batch_size: clips that go through the network at once in each of them;
    more than a few pay on a GPU only. loudness: LUFS to bring every clip to, as far as its peaks
    allow; None leaves levels as they are.
    """

    cache_dir: Path | None = None
    num_workers: int | None = None
    batch_size: int = 2
    loudness: float | None = None


DEFAULT_OPTIONS = EmbedOptions()


@dataclasses.dataclass(frozen=True)
class Embedded:
    """A clip with its (W, D) vectors, and how loud it was before anything was done to it."""

    clip: Clip | Sound
    vectors_WxD: np.ndarray
    level: Level


def embed(
    embedding: Embedding,
    clips: Iterable[Clip | Sound],
    options: EmbedOptions = DEFAULT_OPTIONS,
    *,
    silent_ok: bool = False,
) -> Iterator[Embedded | Failure]:
    """Embed clips; yields each in their order, or the failure of one that cannot be used.

    A few clips are held at a time. silent_ok: silent files have vectors like others, as clips in
    memory always have.

    Raises UserError for clips shorter than the embedding's window and for vectors that are not
    finite.
    """
    info, cache = embedding.info, VectorCache(options.cache_dir)

    def look_up_or_read(clip: Clip | Sound) -> Embedded | _Prepared | Failure:
        check_length(embedding, clip.clip_s)
        if isinstance(clip, Sound):
            num_samples = round(clip.clip_s * info.sample_rate)
            return _Prepared(
                clip,
                *prepare(
                    clip.audio_T, clip.sample_rate, info.sample_rate, num_samples, options.loudness
                ),
            )
        try:
            key = ""
            if options.cache_dir:
                key = _key(info, clip, known_sha256(clip.path), options.loudness)
            if (cached := cache.get(key)) is not None:
                return Embedded(clip, cached["vectors"], Level(*cached["level"]))
            audio_T, level = read_levelled(
                clip, info.sample_rate, options.loudness, silent_ok=silent_ok
            )
        except (AudioError, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            return Failure(clip.id, clip.path, reason)
        # A silent clip is not kept: who does not take silence would find it.
        return _Prepared(clip, audio_T, level, "" if level.is_silent else key)

    def embed_batch(batch: Sequence[Clip | Sound]) -> list[tuple[Embedded | Failure, str]]:
        """Each clip's outcome, and the name under which the cache has yet to keep it, if any."""
        found = [look_up_or_read(clip) for clip in batch]
        vectors = iter(_embed(embedding, [x.audio_T for x in found if isinstance(x, _Prepared)]))
        outcomes: list[tuple[Embedded | Failure, str]] = []
        for one in found:
            if isinstance(one, _Prepared):
                vectors_WxD = next(vectors)
                _check_finite(vectors_WxD, f"{one.clip.label}: its {info.name} embedding")
                outcomes.append((Embedded(one.clip, vectors_WxD, one.level), one.key))
            else:
                outcomes.append((one, ""))
        return outcomes

    batches = _batched(clips, options.batch_size)
    for outcomes in map_in_threads(embed_batch, batches, options.num_workers):
        for one, key in outcomes:
            if key and isinstance(one, Embedded):
                level = np.array(dataclasses.astuple(one.level), np.float64)  # None: NaN
                cache.put(key, vectors=one.vectors_WxD, level=level)
            yield one


def collect(
    info: EmbeddingInfo, outcomes: Iterable[Embedded | Failure]
) -> tuple[EmbeddingSet, list[Failure]]:
    """The set of the clips that could be used, in their order, and the failures of the others."""
    embedded, failures = [], []
    for one in outcomes:
        (failures if isinstance(one, Failure) else embedded).append(one)
    return EmbeddingSet.of(info, embedded), failures


def like_clips_of(
    vectors: EmbeddingSet, sounds: Iterable[np.ndarray], sample_rate: int
) -> Iterator[Sound]:
    """Sounds, (T,) each, that were made of the clips of a set: they bear their ids and artists."""
    for id, artist, audio_T in zip(vectors.clips, vectors.artists, sounds, strict=True):
        yield Sound(id, artist, audio_T, sample_rate)


def stepping(items: Iterable[Item], on_item: Callable[[], None]) -> Iterator[Item]:
    """The items as they come; `on_item` is called for each, to move a progress bar."""
    for item in items:
        on_item()
        yield item


def check_length(embedding: Embedding, clip_s: float) -> None:
    """Raise UserError if clips are too short to have a vector."""
    info = embedding.info
    if round(clip_s * info.sample_rate) < embedding.min_samples:
        least_s = embedding.min_samples / info.sample_rate
        raise UserError(f"clips of {clip_s:g} s: {info.name} needs at least {least_s:.3g} s")


@dataclasses.dataclass(frozen=True)
class _Prepared:
    """A clip's audio as the network is given it. key: in the cache; "" for none."""

    clip: Clip | Sound
    audio_T: np.ndarray
    level: Level
    key: str = ""


def _key(info: EmbeddingInfo, clip: Clip, file_sha256: str, loudness: float | None) -> str:
    return entry_key(
        version=_VERSION,
        file_sha256=file_sha256,
        start_s=clip.start_s,
        clip_s=clip.clip_s,
        embedding=dataclasses.asdict(info),
        resampler=RESAMPLER,
        loudness=loudness,
    )


def _batched(items: Iterable, size: int) -> Iterator[list]:
    """Lists of `size` items, the last one shorter."""
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def _embed(embedding: Embedding, batch: Sequence[np.ndarray]) -> np.ndarray:
    """(B, W, D) of B clips, which may be none."""
    if not batch:
        return np.zeros((0, 0, embedding.info.dim), np.float32)
    return embedding.embed(torch.from_numpy(np.stack(batch))).cpu().numpy()


def _check_finite(vectors_WxD: np.ndarray, what: str) -> None:
    if not np.isfinite(vectors_WxD).all():
        raise UserError(f"{what} is not finite (NaN or infinity): are the weights damaged?")


def _assemble(
    info: EmbeddingInfo,
    per_clip: Sequence[np.ndarray],
    ids: Sequence[str],
    artists: Sequence[str | None],
) -> EmbeddingSet:
    windows = [len(vectors_WxD) for vectors_WxD in per_clip]
    empty_0xD = np.zeros((0, info.dim), np.float32)
    return EmbeddingSet(
        info,
        vectors_NxD=np.concatenate([empty_0xD, *per_clip]),
        clip_of_N=np.repeat(np.arange(len(windows)), windows),
        clips=tuple(ids),
        artists=tuple(artists),
    )
