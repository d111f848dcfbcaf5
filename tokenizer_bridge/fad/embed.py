"""Clips to vectors: read and embedded in threads, kept in a cache.

N vectors, W windows a clip, D values a vector, T samples.
"""

import dataclasses
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from tokenizer_bridge.audio.read import AudioError
from tokenizer_bridge.audio.resample import RESAMPLER
from tokenizer_bridge.cleaning.loudness import Level
from tokenizer_bridge.devices import available_cores
from tokenizer_bridge.fad.cache import VectorCache, entry_key
from tokenizer_bridge.fad.clips import Clip, prepare, read_levelled
from tokenizer_bridge.fad.embeddings import Embedding, EmbeddingInfo
from tokenizer_bridge.sources import Failure
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import known_sha256

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

    def select(self, clip_indices: Sequence[int]) -> "EmbeddingSet":
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


def embed_clips(
    embedding: Embedding,
    clips: Sequence[Clip],
    *,
    cache_dir: Path | None = None,
    num_workers: int | None = None,
    batch_size: int = 2,
    loudness: float | None = None,
    silent_ok: bool = False,
    on_clip: Callable[[Clip], None] = lambda clip: None,
    on_level: Callable[[Clip, Level], None] = lambda clip, level: None,
) -> tuple[EmbeddingSet, list[Failure]]:
    """Vectors of clips in their order, without those that could not be used; and these.

    clips: all of one length. cache_dir: None for no cache. num_workers: threads, each of which
    reads and embeds clips; as many as cores without. batch_size: clips that go through the network
    at once in each of them; more than a few pay on a GPU only. loudness: LUFS to bring every clip
    to, as far as its peaks allow; None leaves levels as they are. silent_ok: silent clips have
    vectors like others. on_clip: told of each clip, in order, when it is done. on_level: told how
    loud each that could be used is in its file. The vectors depend on batch_size by rounding only,
    and not on num_workers.

    Raises UserError for clips shorter than the embedding's window and for vectors that are not
    finite.
    """
    info, cache = embedding.info, VectorCache(cache_dir)
    for clip in clips[:1]:
        check_length(embedding, clip.clip_s)

    def look_up_or_read(clip: Clip) -> _Outcome:
        try:
            key = _key(info, clip, known_sha256(clip.path), loudness) if cache_dir else ""
            if (cached := cache.get(key)) is not None:
                level = Level(*cached["level"])
                return _Outcome(clip, vectors_WxD=cached["vectors"], level=level)
            audio_T, level = read_levelled(clip, info.sample_rate, loudness, silent_ok=silent_ok)
            # A silent clip is not kept: who does not take silence would find it.
            return _Outcome(clip, "" if level.is_silent else key, audio_T, level=level)
        except (AudioError, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            return _Outcome(clip, failure=Failure(clip.id, clip.path, reason))

    def embed_batch(batch: Sequence[Clip]) -> list[_Outcome]:
        outcomes = [look_up_or_read(clip) for clip in batch]
        new = [one for one in outcomes if one.audio_T is not None]
        vectors_BxWxD = _embed(embedding, [one.audio_T for one in new])
        for one, vectors_WxD in zip(new, vectors_BxWxD, strict=True):
            _check_finite(vectors_WxD, f"{one.clip.path}: its {info.name} embedding")
            one.audio_T, one.vectors_WxD = None, vectors_WxD
        return outcomes

    used, failures = [], []
    for outcomes in _in_threads(embed_batch, _batched(clips, batch_size), num_workers):
        for one in outcomes:
            if one.failure is not None:
                failures.append(one.failure)
            else:
                used.append(one)
                if one.key:
                    level = np.array(dataclasses.astuple(one.level), np.float64)  # None: NaN
                    cache.put(one.key, vectors=one.vectors_WxD, level=level)
                on_level(one.clip, one.level)
            on_clip(one.clip)
    vectors = _assemble(
        info,
        [one.vectors_WxD for one in used],
        [one.clip.id for one in used],
        [one.clip.artist for one in used],
    )
    return vectors, failures


def embed_audio(
    embedding: Embedding,
    audio: Iterable[np.ndarray],
    sample_rate: int,
    *,
    ids: Sequence[str] | None = None,
    artists: Sequence[str | None] | None = None,
    num_workers: int | None = None,
    batch_size: int = 2,
    loudness: float | None = None,
    on_clip: Callable[[], None] = lambda: None,
) -> EmbeddingSet:
    """Vectors of clips that are in memory: (T,) float32 each, all of one length, silent or not.

    ids, artists: one for each clip; "0", "1", … and None without. Else as `embed_clips`; a few
    clips are held at a time.
    """
    info = embedding.info

    def embed_batch(batch: Sequence[tuple[int, np.ndarray]]) -> np.ndarray:
        prepared = []
        for _, audio_T in batch:
            clip_s = len(audio_T) / sample_rate
            check_length(embedding, clip_s)
            num_samples = round(clip_s * info.sample_rate)
            given_T, _ = prepare(audio_T, sample_rate, info.sample_rate, num_samples, loudness)
            prepared.append(given_T)
        vectors_BxWxD = _embed(embedding, prepared)
        for (i, _), vectors_WxD in zip(batch, vectors_BxWxD, strict=True):
            _check_finite(vectors_WxD, f"clip {i}: its {info.name} embedding")
        return vectors_BxWxD

    per_clip: list[np.ndarray] = []
    for vectors_BxWxD in _in_threads(
        embed_batch, _batched(enumerate(audio), batch_size), num_workers
    ):
        for vectors_WxD in vectors_BxWxD:
            per_clip.append(vectors_WxD)
            on_clip()
    ids = [str(i) for i in range(len(per_clip))] if ids is None else ids
    return _assemble(info, per_clip, ids, [None] * len(per_clip) if artists is None else artists)


def check_length(embedding: Embedding, clip_s: float) -> None:
    """Raises UserError if clips are too short to have a vector."""
    info = embedding.info
    if round(clip_s * info.sample_rate) < embedding.min_samples:
        least_s = embedding.min_samples / info.sample_rate
        raise UserError(f"clips of {clip_s:g} s: {info.name} needs at least {least_s:.3g} s")


@dataclasses.dataclass
class _Outcome:
    """What has come of a clip: audio to be embedded, vectors, or a failure."""

    clip: Clip
    key: str = ""  # in the cache, for vectors that are not there yet
    audio_T: np.ndarray | None = None
    vectors_WxD: np.ndarray | None = None
    level: Level | None = None
    failure: Failure | None = None


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


def _in_threads(work: Callable, items: Iterable, num_workers: int | None) -> Iterator:
    """`work` of each item, in their order, a few of them ahead.

    Reading, resampling and the networks release Python's lock. One thread each for PyTorch: on two
    busy cores musicnn is 3 times as fast so as with two threads that share every operation, and
    VGGish 1.4 times.
    """
    num_workers = num_workers or available_cores()
    torch.get_num_threads()  # fixes the number of the caller's, before the workers set theirs
    pending: deque = deque()
    with ThreadPoolExecutor(num_workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) > 2 * num_workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


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
