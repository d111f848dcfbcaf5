"""Controls: halves that share no artist, and audio made of one of them."""

import os
import time

import numpy as np
import pytest
import torch

from tokenizer_bridge.audio.read import read_audio
from tokenizer_bridge.audio.write import write_audio
from tokenizer_bridge.encoding.tracks import encode_batch
from tokenizer_bridge.fad.clips import Clip
from tokenizer_bridge.fad.controls import embed_controls, make_audio, split_halves
from tokenizer_bridge.fad.embed import collect, embed
from tokenizer_bridge.fad.embeddings import EmbeddingInfo
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.wavtokenizer.registry import load_codec

RATE, CLIP_S = 24_000, 0.25


class Levels(torch.nn.Module):
    """An embedding one can predict: RMS and peak of a clip."""

    info = EmbeddingInfo("levels", "00", 2, RATE, None, None)
    min_samples = 1

    def embed(self, audio_BxT):
        rms_B = audio_BxT.square().mean(1).sqrt()
        return torch.stack([rms_B, audio_BxT.abs().amax(1)], 1)[:, None]


@pytest.fixture(scope="module")
def toy(codec_dir):
    return load_codec("toy", codec_dir=codec_dir)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """8 files of 4 artists: decaying noise at levels that differ."""
    folder, rng = tmp_path_factory.mktemp("music"), np.random.default_rng(0)
    made = []
    for i in range(8):
        samples = rng.standard_normal(RATE) * np.geomspace(1, 0.1, RATE) * 0.02 * (1 + i)
        write_audio(folder / f"{i}.wav", samples, RATE)
        made.append(Clip(folder / f"{i}.wav", f"{i}.wav", f"artist {i % 4}", 0.1, CLIP_S))
    return made


def artists_of(indices, artists):
    return {artists[i] for i in indices}


def test_halves_share_no_artist():
    rng = np.random.default_rng(0)
    artists = [f"artist {i}" for i in rng.geometric(0.1, size=301)]
    ids = [str(i) for i in range(301)]
    halves = split_halves(ids, artists, seed=0)
    assert not artists_of(halves.a, artists) & artists_of(halves.b, artists)
    assert len(halves.a) == len(halves.b) >= 148
    assert halves.by == "artists" and not halves.warnings
    assert split_halves(ids, artists, seed=0) == halves
    assert split_halves(ids, artists, seed=1).a != halves.a


def test_clips_of_one_file_stay_together():
    ids = [f"file {i // 3}" for i in range(60)]
    halves = split_halves(ids, [None] * 60, seed=0)
    assert len(halves.a) == len(halves.b) == 30
    assert not {ids[i] for i in halves.a} & {ids[i] for i in halves.b}


def test_files_without_an_artist_count_as_their_own():
    artists = ["big"] * 10 + [None] * 30
    halves = split_halves([str(i) for i in range(40)], artists, seed=0)
    assert len(halves.a) == len(halves.b) == 20
    assert set(range(10)) <= set(halves.a) or set(range(10)) <= set(halves.b)
    assert halves.by == "known artists"
    assert halves.warnings == (
        "the artists of 30 of 40 files are not known: the halves that controls are made of share "
        "none that is known, but may share others",
    )


@pytest.mark.parametrize(
    ("artists", "warning"),
    [
        ([None] * 20, "no artists are known"),
        (["one"] * 20, "too few artists (1)"),
        (["one"] * 18 + ["two"] * 2, "too few artists (2)"),
    ],
)
def test_where_artists_make_no_halves_files_do_and_a_warning_says_so(artists, warning):
    halves = split_halves([str(i) for i in range(20)], artists, seed=0)
    assert len(halves.a) == len(halves.b) == 10
    assert halves.by == "files" and len(halves.warnings) == 1
    assert warning in halves.warnings[0]


def test_what_is_made_of_a_half(clips, toy, tmp_path):
    codec, info = toy
    told = []
    made = make_audio(
        clips, codec, info, folder=tmp_path, seed=0, batch_size=3, on_clip=lambda: told.append(1)
    )
    assert len(told) == 2 * len(clips)
    num_samples = round(CLIP_S * RATE)
    real_NxT = np.stack([_real(clip)[:num_samples] for clip in clips])
    codes_NxL = encode_batch(codec, real_NxT)
    with torch.inference_mode():
        decoded_NxT = codec.decode(torch.from_numpy(codes_NxL)).numpy()[:, :num_samples]
    floor_NxT = np.stack(list(made.clips("codec_floor")))
    np.testing.assert_allclose(floor_NxT, decoded_NxT.clip(-1, 1), atol=2 / 32768)

    noise_NxT = np.stack(list(made.clips("white_noise")))
    np.testing.assert_allclose(noise_NxT.std(1), np.sqrt((real_NxT**2).mean(1)), rtol=0.05)
    np.testing.assert_allclose(np.corrcoef(noise_NxT), np.eye(len(clips)), atol=0.06)


def test_shuffled_tokens_keep_their_frequencies_and_lose_their_order(clips, toy, tmp_path):
    codec, info = toy
    drawn = []

    class Listening(type(codec)):
        def decode(self, codes_BxL, first_B=None):
            drawn.append(codes_BxL.numpy())
            return super().decode(codes_BxL, first_B)

    listening = Listening(codec.config).eval()
    listening.load_state_dict(codec.state_dict())
    make_audio(clips, listening, info, folder=tmp_path, seed=0, batch_size=8)
    real_NxL, shuffled_NxL = drawn
    shares = [
        np.bincount(codes.ravel(), minlength=16) / codes.size for codes in (real_NxL, shuffled_NxL)
    ]
    np.testing.assert_allclose(*shares, atol=0.03)  # of 6,000 draws: 4 standard errors
    by_clip = [np.bincount(codes, minlength=16) / len(codes) for codes in real_NxL]
    assert np.abs(by_clip - shares[0]).max() > 0.1  # clips differ in what codes they have …
    by_clip = [np.bincount(codes, minlength=16) / len(codes) for codes in shuffled_NxL]
    assert np.abs(by_clip - shares[0]).max() < 0.1  # … and shuffled ones don't


def test_made_once_and_again_for_another_seed_codec_or_half(clips, toy, tmp_path):
    codec, info = toy
    told = []
    make = {"folder": tmp_path, "on_clip": lambda: told.append(1)}
    first = make_audio(clips, codec, info, seed=0, **make)
    assert make_audio(clips, codec, info, seed=0, **make) == first
    assert len(told) == 16
    assert make_audio(clips, codec, info, seed=1, **make) != first
    assert make_audio(clips[:4], codec, info, seed=0, **make) != first
    next(iter(first.paths.values())).unlink()
    make_audio(clips, codec, info, seed=0, **make)
    assert len(told) == 16 + 16 + 8 + 16


def test_made_audio_that_was_damaged_is_made_again(clips, toy, tmp_path):
    codec, info = toy
    first = make_audio(clips, codec, info, folder=tmp_path, seed=0)
    for name, keep in (("codec_floor", -100), ("white_noise", 60), ("shuffled_tokens", 0)):
        whole = first.paths[name].read_bytes()
        first.paths[name].write_bytes(whole[:keep])
        make_audio(clips, codec, info, folder=tmp_path, seed=0)
        assert first.paths[name].read_bytes() == whole


def test_the_disk_space_of_made_audio_is_taken_before_any_work(clips, toy, tmp_path):
    codec, info = toy
    taken = []

    def on_clip():
        taken.append(sum(path.stat().st_blocks * 512 for path in tmp_path.glob(".*.partial")))

    made = make_audio(clips, codec, info, folder=tmp_path, seed=0, batch_size=1, on_clip=on_clip)
    assert taken[0] >= sum(path.stat().st_size for path in made.paths.values())


def test_what_killed_processes_left_goes_after_a_day(clips, toy, tmp_path):
    codec, info = toy
    for name, hours in ((".old.npy.1.partial", 25), (".new.npy.2.partial", 23), ("old.npy", 25)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - hours * 3600,) * 2)
    make_audio(clips[:1], codec, info, folder=tmp_path, seed=0)
    assert not (tmp_path / ".old.npy.1.partial").exists()
    assert (tmp_path / ".new.npy.2.partial").exists() and (tmp_path / "old.npy").exists()


def test_a_clip_that_cannot_be_read_leaves_nothing_behind(clips, toy, tmp_path):
    codec, info = toy
    broken = Clip(tmp_path / "broken.wav", "broken.wav", None, 0.0, CLIP_S)
    broken.path.write_bytes(b"no audio")
    with pytest.raises(UserError, match="broken.wav: not audio"):
        make_audio([*clips, broken], codec, info, folder=tmp_path / "made", seed=0, batch_size=4)
    assert not list((tmp_path / "made").iterdir())


def test_controls_under_an_embedding(clips, toy, tmp_path):
    codec, info = toy
    embedding = Levels()
    reference, failures = collect(embedding.info, embed(embedding, clips))
    assert not failures
    halves = split_halves(reference.clips, reference.artists, seed=0)
    made = make_audio([clips[i] for i in halves.a], codec, info, folder=tmp_path, seed=0)
    controls = embed_controls(embedding, reference, halves, made)
    assert list(controls.by_name) == [
        "real_vs_real",
        "codec_floor",
        "shuffled_tokens",
        "white_noise",
        "silence",
    ]
    of_a = tuple(clips[i].id for i in halves.a)
    for vectors in controls.by_name.values():
        assert vectors.clips == of_a
        assert vectors.vectors_NxD.shape == (4, 2)
    assert controls.other_half.clips == tuple(clips[i].id for i in halves.b)
    real_Nx2, noise_Nx2, silence_Nx2 = (
        controls.by_name[name].vectors_NxD for name in ("real_vs_real", "white_noise", "silence")
    )
    np.testing.assert_allclose(noise_Nx2[:, 0], real_Nx2[:, 0], rtol=0.05)
    assert not silence_Nx2.any()


def _real(clip):
    samples, rate = read_audio(clip.path)
    return samples[0][round(clip.start_s * rate) :]
