"""The measurement of edits: songs that go on, and stretches replaced in them.

Letters: N songs, T samples, L tokens, D values of an embedding.
"""

from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from launch.jobs.held_out import find_tracks, read_middles
from sedd_jax import Model
from sedd_jax.sampling.settings import settle
from tokenizer_bridge import Codec
from tokenizer_bridge.audio.resample import resample
from tokenizer_bridge.audio.splice import FADE_S
from tokenizer_bridge.edits import edited_audio
from tokenizer_bridge.fad.embeddings import Embedding, load_embedding
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.intervals import Estimate, artist_numbers, mean_by_artist

EMBEDDING = "musicnn"
_TAIL = 0.01  # of a song's changes from sample to sample, the largest


def measure_edits(
    workdir: str,
    audio: str,
    *,
    step: int | str | None = None,
    num_tracks: int | None = None,
    song_s: float = 12.0,
    continue_s: float = 10.0,
    replace_s: float = 3.0,
    sampler: str | None = None,
    steps: int | None = None,
    seed: int = 0,
    codec_dir: str | None = None,
) -> dict[str, Any]:
    """The figures, as the JSON file has them. Arguments are the command's. Raises UserError."""
    if replace_s + 2 * FADE_S >= song_s:
        raise UserError(f"a stretch of {replace_s:g} s leaves nothing of a song of {song_s:g} s")
    tracks = find_tracks(audio, num_tracks, seed)
    model = Model.load(workdir, step=step)
    model.definition.require_diffusion("replacing a stretch, which is measured here,")
    codec = Codec.load(model.codec, directory=codec_dir)
    embedding = load_embedding(EMBEDDING)
    least_s = embedding.min_samples / embedding.info.sample_rate
    if min(song_s, continue_s) < least_s:
        raise UserError(f"songs and what follows need {least_s:.1f} s each, for {EMBEDDING}")
    held_out = read_middles(audio, tracks, song_s + continue_s, codec.sample_rate)
    sound_NxT, artist_N = held_out.sound_NxT, artist_numbers(held_out.artists_N)
    num_songs = len(sound_NxT)
    if len(set(artist_N)) < 2:
        raise UserError(f"{audio}: all usable tracks are of one artist, two are needed")

    song_L, all_L = (round(s * codec.token_rate) for s in (song_s, song_s + continue_s))
    tokens_NxL = np.stack([codec.encode(sound_T)[:all_L] for sound_T in sound_NxT])
    num_new = max(1, round(replace_s * codec.token_rate))
    first = (song_L - num_new) // 2
    stretch = (first, first + num_new)
    is_known_L = np.arange(all_L) < song_L
    is_kept_L = ~((np.arange(song_L) >= stretch[0]) & (np.arange(song_L) < stretch[1]))
    sampling = settle(model.definition, seed=seed, sampler=sampler, steps=steps)
    total = 2 * num_songs * sampling.evaluations_of_window
    with tqdm(total=total, unit="song-step", desc="edits") as bar:

        def draw(known_NxL: np.ndarray, is_known_L: np.ndarray) -> np.ndarray:
            return model.sample(
                num_songs, known=known_NxL, is_known=is_known_L, sampler=sampling.sampler,
                steps=sampling.steps, seed=seed, progress=bar.update,
            )  # fmt: skip

        longer_NxL = draw(tokens_NxL, is_known_L)
        mended_NxL = draw(tokens_NxL[:, :song_L], is_kept_L)

    def embed(tokens_NxL: np.ndarray) -> np.ndarray:
        return _embed(codec.decode(tokens_NxL), codec.sample_rate, embedding)

    song_NxD = embed(tokens_NxL[:, :song_L])
    return {
        "workdir": str(workdir),
        "step": model.step,
        "codec": codec.info.name,
        "sampler": sampling.sampler,
        "steps": sampling.steps,
        "seed": seed,
        "song_s": song_s,
        "continue_s": continue_s,
        "replace_s": replace_s,
        "num_songs": num_songs,
        "left_out": held_out.left_out,
        "continuation": nearness(song_NxD, embed(longer_NxL[:, song_L:]), artist_N),
        "real": nearness(song_NxD, embed(tokens_NxL[:, song_L:]), artist_N),
        "seams": seams(codec, sound_NxT[:, : song_L * codec.hop_length], mended_NxL, stretch),
    }


def nearness(song_NxD: np.ndarray, follows_NxD: np.ndarray, artist_N: np.ndarray) -> dict[str, Any]:
    """Cosine distances of what follows songs to its own song and to those of other artists.

    Means over songs, "others" less "own" as the paired difference; "nearest": the share of songs
    whose own is nearer than all others.
    """
    units = [x / np.linalg.norm(x, axis=1)[:, None] for x in (song_NxD, follows_NxD)]
    distance_NxN = 1 - units[1] @ units[0].T
    own_N = np.diag(distance_NxN)
    others = [row[artist_N != artist] for row, artist in zip(distance_NxN, artist_N, strict=True)]
    others_N = np.array([row.mean() for row in others])
    is_nearest_N = own_N < [row.min() for row in others]

    def estimate(value_N: np.ndarray) -> dict[str, Any]:
        return mean_by_artist(value_N, artist_N).as_json()

    return {
        "own": estimate(own_N),
        "others": estimate(others_N),
        "others_less_own": estimate(others_N - own_N),
        "nearest": float(is_nearest_N.mean()),
    }


def seams(
    codec: Codec, sound_NxT: np.ndarray, mended_NxL: np.ndarray, stretch: tuple[int, int]
) -> dict[str, Any]:
    """Changes from sample to sample at seams, among those of the song itself.

    "faded": as `launch.edit` joins; "cut": without fade and level. "rank": the mean share of the
    song's changes that are larger than that at a seam; "in_tail": the share of seams beyond all but
    the largest hundredth; "largest": in units of the song's largest change.
    """
    fade = round(FADE_S * codec.sample_rate)
    start, stop = (place * codec.hop_length for place in stretch)
    found: dict[str, list[tuple[float, float]]] = {"faded": [], "cut": []}
    for sound_T, mended_L in zip(sound_NxT, mended_NxL, strict=True):
        faded_T = edited_audio(
            codec.network, codec.info, sound_T[None], codec.sample_rate, mended_L, [stretch]
        )[0]
        cut_T = sound_T.copy()
        cut_T[start:stop] = codec.decode(mended_L)[start:stop]
        own = np.abs(np.diff(sound_T))
        for name, joined_T, places in (
            ("faded", faded_T, (start - fade, start, stop, stop + fade)),
            ("cut", cut_T, (start, stop)),
        ):
            for place in places:
                jump = abs(float(joined_T[place] - joined_T[place - 1]))
                found[name].append((float(np.mean(own > jump)), jump / float(own.max())))
    return {
        name: {
            "num": len(pairs),
            "rank": float(np.mean([rank for rank, _ in pairs])),
            "in_tail": float(np.mean([rank < _TAIL for rank, _ in pairs])),
            "largest": max(size for _, size in pairs),
        }
        for name, pairs in found.items()
    }


def summary(report: dict[str, Any]) -> str:
    """The figures in words."""
    lines = [
        f"{report['num_songs']} songs of {report['song_s']:g} s, model {report['workdir']} at step "
        f"{report['step']}, {report['steps']} steps of {report['sampler']}; cosine distances of "
        f"{EMBEDDING}, ± half of the 95% interval by artist:"
    ]
    for key, name in (("continuation", "the model's"), ("real", "the real")):
        found = report[key]
        own, others, less = (
            Estimate.from_json(found[name]).text() for name in ("own", "others", "others_less_own")
        )
        lines.append(
            f"{name} next {report['continue_s']:g} s: {own} to its own song, {others} to the "
            f"others, {less} more; nearest to its own {found['nearest']:.0%}"
        )
    for name, found in report["seams"].items():
        lines.append(
            f"{found['num']} seams {name}: {found['rank']:.0%} of the song's changes are larger; "
            f"{found['in_tail']:.0%} are in the largest hundredth; the largest is "
            f"{found['largest']:.2f} of the song's largest"
        )
    return "\n".join(lines)


def _embed(audio_NxT: np.ndarray, sample_rate: int, embedding: Embedding) -> np.ndarray:
    """The mean vector of each row's windows, (N, D)."""
    rows = [resample(audio_T, sample_rate, embedding.info.sample_rate) for audio_T in audio_NxT]
    return np.stack(
        [embedding.embed(torch.from_numpy(row)[None])[0].mean(0).numpy() for row in rows]
    )
