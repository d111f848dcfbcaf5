"""Clips to vectors, with the shipped musicnn and with a toy network."""

import dataclasses
import os

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from tokenizer_bridge.fad.clips import Clip, Sound, plan_clips
from tokenizer_bridge.fad.embed import EmbedOptions, collect, embed
from tokenizer_bridge.fad.embeddings import Embedding, EmbeddingInfo
from tokenizer_bridge.sources import Failure, Track
from tokenizer_bridge.token_dataset.errors import UserError

RATE = 8_000


class Toy(nn.Module):
    """Two windows a clip; mean, deviation and first sample of each. Counts the clips it sees."""

    min_samples = 2

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.num_clips = 0

    def forward(self, audio_BxT):
        self.num_clips += len(audio_BxT)
        windows_BxWxT = audio_BxT.unflatten(1, (2, -1)) * self.scale
        parts = [windows_BxWxT.mean(2), windows_BxWxT.std(2), windows_BxWxT[:, :, 0]]
        return torch.stack(parts, dim=2)


@pytest.fixture
def toy():
    return Embedding(EmbeddingInfo("toy", "0" * 64, 3, RATE, 0.5, 0.5), Toy())


@pytest.fixture(scope="module")
def tracks(tmp_path_factory):
    """Seven files of 2 s of noise, of several rates, channel counts and formats."""
    folder = tmp_path_factory.mktemp("tracks")
    rng = np.random.default_rng(0)
    made = []
    kinds = [(8_000, 1, "wav"), (44_100, 2, "flac"), (22_050, 1, "ogg"), (48_000, 2, "wav"),
             (11_025, 1, "wav"), (44_100, 2, "mp3"), (16_000, 1, "flac")]  # fmt: skip
    for i, (rate, channels, suffix) in enumerate(kinds):
        path = folder / f"{i}.{suffix}"
        soundfile.write(path, 0.1 * (i + 1) * rng.uniform(-1, 1, (2 * rate, channels)), rate)
        made.append(Track(f"{i}.{suffix}", path, artist=f"artist {i % 2}"))
    return made


def embed_clips(embedding, clips, **options):
    return collect(embedding.info, embed(embedding, clips, EmbedOptions(**options)))


def embed_tracks(embedding, tracks, clip_s=1.0, clips_per_file=1, **options):
    clips, failures = plan_clips(tracks, clip_s, clips_per_file)
    assert failures == []
    return embed_clips(embedding, clips, **options)


def test_vectors_come_in_the_order_of_clips_whatever_rides_together(toy, tracks):
    one, _ = embed_tracks(toy, tracks, clips_per_file=2, batch_size=1, num_workers=1)
    assert one.clips == tuple(track.id for track in tracks for _ in range(2))
    assert one.artists == tuple(track.artist for track in tracks for _ in range(2))
    assert one.clip_of_N.tolist() == [clip for clip in range(14) for _ in range(2)]
    assert one.vectors_NxD.shape == (28, 3) and one.vectors_NxD.dtype == np.float32
    loudness_C = [vectors_WxD[:, 1].mean() for vectors_WxD in one.per_clip()]
    assert (np.diff(np.reshape(loudness_C, (7, 2)).mean(1)) != 0).all()
    for batch_size, num_workers in [(3, 1), (4, 3), (100, 8)]:
        other, _ = embed_tracks(
            toy, tracks, clips_per_file=2, batch_size=batch_size, num_workers=num_workers
        )
        np.testing.assert_allclose(other.vectors_NxD, one.vectors_NxD, rtol=1e-5, atol=1e-7)


def test_select(toy, tracks):
    all_of_them, _ = embed_tracks(toy, tracks)
    some = all_of_them.select([4, 1])
    assert some.clips == (tracks[4].id, tracks[1].id)
    assert some.clip_of_N.tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(some.vectors_NxD[:2], all_of_them.vectors_NxD[8:10])
    np.testing.assert_array_equal(some.per_clip()[1], all_of_them.per_clip()[1])


def test_what_is_cached_is_not_embedded_again(toy, tracks, tmp_path):
    first, _ = embed_tracks(toy, tracks, cache_dir=tmp_path)
    again, _ = embed_tracks(toy, tracks, cache_dir=tmp_path)
    assert toy.network.num_clips == len(tracks)
    np.testing.assert_array_equal(again.vectors_NxD, first.vectors_NxD)


def test_a_file_that_changed_is_embedded_again(toy, tracks, tmp_path):
    path = tmp_path / "x.wav"
    path.write_bytes(tracks[0].path.read_bytes())
    embed_tracks(toy, [Track("x", path)], cache_dir=tmp_path / "cache")
    path.write_bytes(tracks[3].path.read_bytes())
    os.utime(path, (0, 0))  # some clocks of files stand still for 10 ms
    found, _ = embed_tracks(toy, [Track("x", path)], cache_dir=tmp_path / "cache")
    expected, _ = embed_tracks(toy, [tracks[3]])
    np.testing.assert_array_equal(found.vectors_NxD, expected.vectors_NxD)


def test_everything_that_vectors_depend_on_is_in_the_cache_key(toy, tracks, tmp_path):
    def count(embedding, clip_s=1.0, clips_per_file=1, **options):
        before = toy.network.num_clips
        embed_tracks(embedding, tracks[:1], clip_s, clips_per_file, cache_dir=tmp_path, **options)
        return toy.network.num_clips - before

    assert count(toy) == 1
    assert count(toy) == 0
    assert count(toy, loudness=-20.0) == 1
    assert count(toy, clips_per_file=2) == 2
    embed_clips(toy, [Clip(tracks[0].path, "0", None, 0.5, 1.5)], cache_dir=tmp_path)
    assert toy.network.num_clips == 5  # the first clip starts there too
    for change in [{"name": "b"}, {"weights_sha256": "1" * 64}, {"weights": "own"}]:
        other = Embedding(dataclasses.replace(toy.info, **change), toy.network)
        assert count(other) == 1


def test_a_damaged_cache_entry_is_computed_again(toy, tracks, tmp_path):
    first, _ = embed_tracks(toy, tracks, cache_dir=tmp_path)
    entries = sorted(tmp_path.rglob("*.vectors"))
    assert len(entries) == len(tracks)
    content = entries[0].read_bytes()
    entries[0].write_bytes(content[:-4])
    entries[1].write_bytes(b"")
    entries[2].write_bytes(entries[2].read_bytes()[:-1] + b"\x7f")
    again, _ = embed_tracks(toy, tracks, cache_dir=tmp_path)
    assert toy.network.num_clips == len(tracks) + 3
    np.testing.assert_allclose(again.vectors_NxD, first.vectors_NxD, rtol=1e-5, atol=1e-7)
    assert entries[0].read_bytes() == content


def test_unusable_files_are_collected_over_all(toy, tracks, tmp_path):
    short, silent, corrupt, loud = (tmp_path / f"{name}.wav" for name in "abcd")
    soundfile.write(short, np.full(RATE // 2, 0.1), RATE)
    soundfile.write(silent, np.zeros(2 * RATE), RATE)
    corrupt.write_bytes(b"RIFF" + bytes(1000))
    soundfile.write(loud, np.full(2 * RATE, 3e4), RATE, subtype="FLOAT")
    missing = tmp_path / "e.wav"
    bad = [Track(path.name, path) for path in (short, silent, corrupt, loud, missing)]
    clips, unplanned = plan_clips([bad[0], *tracks[:3], *bad[1:], *tracks[3:]], 1.0)
    vectors, unread = embed_clips(toy, clips, cache_dir=tmp_path / "cache")
    assert vectors.clips == tuple(track.id for track in tracks)
    reasons = {failure.id: failure.reason for failure in [*unplanned, *unread]}
    assert reasons == {
        "a.wav": "too short: 0.500 s; a clip needs 1 s",
        "b.wav": "silent from 0.5 to 1.5 s",
        "c.wav": reasons["c.wav"],
        "d.wav": "samples are not scaled to ±1 (peak 3e+04)",
        "e.wav": "missing, or a link that leads nowhere",
    }
    assert reasons["c.wav"].startswith("not audio that ")


def test_every_clip_comes_once_and_in_order(toy, tracks, tmp_path):
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(2 * RATE), RATE)
    clips, _ = plan_clips([*tracks, Track("silent", silent)], 1.0)
    embed_clips(toy, clips, cache_dir=tmp_path / "cache", batch_size=3)
    outcomes = embed(toy, clips, EmbedOptions(tmp_path / "cache"))  # from the cache, but the silent
    ids = [one.id if isinstance(one, Failure) else one.clip.id for one in outcomes]
    assert ids == [clip.id for clip in clips]


def test_vectors_that_are_not_finite_name_the_file(toy, tracks):
    toy.network.scale.data.fill_(torch.inf)
    with pytest.raises(UserError, match=r"0\.wav: its toy embedding is not finite \(NaN"):
        embed_tracks(toy, tracks)


def test_clips_below_the_window_are_refused(toy, tmp_path):
    with pytest.raises(UserError, match="clips of 0.0001 s: toy needs at least 0.00025 s"):
        embed_clips(toy, [Clip(tmp_path, "x", None, 0.0, 0.0001)])


def test_audio_in_memory_is_treated_as_files_are(toy, tracks):
    path = tracks[3].path
    (clip,), _ = plan_clips([tracks[3]], 2.0)
    of_file, _ = embed_clips(toy, [clip])
    samples_TxC, rate = soundfile.read(path, dtype="float32")
    audio = [samples_TxC.mean(1), 0 * samples_TxC.mean(1)]
    sounds = (Sound(id, None, audio_T, rate) for id, audio_T in zip("ab", audio, strict=True))
    of_memory, _ = embed_clips(toy, sounds, batch_size=1)
    np.testing.assert_allclose(of_memory.per_clip()[0], of_file.vectors_NxD, atol=1e-6)
    assert of_memory.clips == ("a", "b") and of_memory.artists == (None, None)
    assert (of_memory.per_clip()[1] == 0).all()


def test_loudness_is_the_same_for_all(toy, tracks):
    vectors, _ = embed_tracks(toy, tracks[:2], loudness=-30.0)
    deviations_C = [vectors_WxD[:, 1].mean() for vectors_WxD in vectors.per_clip()]
    assert 0.003 < min(deviations_C) and max(deviations_C) < 0.06
    louder, _ = embed_tracks(toy, tracks[:2], loudness=-24.0)
    ratio = louder.vectors_NxD[:, 1] / vectors.vectors_NxD[:, 1]
    np.testing.assert_allclose(ratio, 10 ** (6 / 20), rtol=1e-3)
