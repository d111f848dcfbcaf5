"""Tracks to codes, whatever batches and windows they went through.

Batches of one where results are compared to the bit: others round differently.
"""

import math

import numpy as np
import pytest
import soundfile
import torch

from tests.tokenizer_bridge.toy_songs import HOP, music
from tokenizer_bridge.audio.read import Preparation
from tokenizer_bridge.audio.windows import Windowing
from tokenizer_bridge.cleaning import Cleaning
from tokenizer_bridge.encoding.tracks import (
    Encoded,
    encode_batch,
    encode_tracks,
    encode_windowed,
    window_agreement,
)
from tokenizer_bridge.sources import Failure, folder

PLAIN = Preparation(low_cut_hz=0)


def test_a_short_clip_is_encoded_in_one_piece(codec):
    audio = music(0.7, 1)[: 12345 + 3]
    whole = encode_batch(codec, audio[None])[0]
    assert len(whole) == math.ceil(len(audio) / HOP)
    np.testing.assert_array_equal(encode_windowed(codec, audio, Windowing(3000, 600)), whole)


def test_windows_agree_with_one_piece(codec):
    audio = music(4.0, 2)[:-5]
    without_context = window_agreement(codec, audio, Windowing(300, 0))
    with_context = window_agreement(codec, audio, Windowing(300, 100))
    assert len(set(encode_batch(codec, audio[None])[0])) > 4  # else agreeing is no feat
    assert with_context > 0.995
    assert with_context > without_context


def test_tracks_come_out_as_if_alone(codec, songs):
    windowing = Windowing(1000, 200)
    tracks = folder.tracks(songs)
    for batch_size in (1, 4):
        results = list(encode_tracks(codec, tracks, windowing, batch_size, preparation=PLAIN))
        assert sorted(result.track.id for result in results) == [track.id for track in tracks]
        differing, total = 0, 0
        for result in results:
            audio, _ = soundfile.read(result.track.path, dtype="float32")
            alone = encode_windowed(codec, audio, windowing)
            assert result.codes.dtype == np.uint16 and len(result.codes) == len(alone)
            differing += np.count_nonzero(result.codes != alone)
            total += len(alone)
            assert result.duration_s == pytest.approx(len(audio) / 24000)
        # By rounding, in larger batches: 4 or 5 of 40,500, by the kind of CPU.
        assert differing <= (0 if batch_size == 1 else 0.0005 * total)


def test_progress_counts_audio_once_however_windows_overlap(codec, songs):
    told = []
    results = list(
        encode_tracks(codec, folder.tracks(songs), Windowing(1000, 400), 2, on_audio=told.append)
    )
    assert len(told) > len(results) / 2
    assert sum(told) == pytest.approx(sum(result.duration_s for result in results), rel=0.01)


def test_a_failure_takes_no_other_track_with_it(codec, songs):
    signal = music(2.5, 9)
    signal[-1] = np.nan  # found when two windows have been encoded already
    soundfile.write(songs / "artist1/bad.wav", signal, 24000, subtype="FLOAT")
    results = list(encode_tracks(codec, folder.tracks(songs), Windowing(1000, 200), 2))
    assert sum(isinstance(result, Encoded) for result in results) == 9
    (failure,) = (result for result in results if isinstance(result, Failure))
    assert failure.id == "artist1/bad.wav" and "not finite" in failure.reason


def test_an_error_in_a_reader_is_raised(codec, songs, monkeypatch):
    def broken(path, rate, channel):
        raise ZeroDivisionError

    monkeypatch.setattr("tokenizer_bridge.audio.read.stream_mono", broken)
    with pytest.raises(ZeroDivisionError):
        list(encode_tracks(codec, folder.tracks(songs), Windowing(1000, 200), 2))


def test_operations_of_a_cpu_use_one_core(codec, songs, monkeypatch):
    """Threads that share an operation wait for each other by spinning, which a busy CPU makes
    dear: 24 s took minutes."""
    seen = set()
    real = encode_batch

    def watched(*arguments):
        seen.add(torch.get_num_threads())
        return real(*arguments)

    monkeypatch.setattr("tokenizer_bridge.encoding.tracks.encode_batch", watched)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = [
            {
                result.track.id: result.codes.tobytes()
                for result in encode_tracks(
                    codec, folder.tracks(songs), Windowing(1000, 200), 1, num_threads=threads
                )
            }
            for threads in (1, 3)
        ]
    finally:
        torch.set_num_threads(before)
    assert seen == {1}
    assert found[0] == found[1] and len(found[0]) == 9


@pytest.mark.parametrize("gain", [-1.0, -0.98])
def test_channels_that_cancel_are_not_mixed(codec, tmp_path, gain):
    """Mixed, they gave two codes for a whole track; long ones in several windows, and clean."""
    left = music(2.5, 3)
    soundfile.write(tmp_path / "x.wav", np.stack([left, gain * left], 1), 24000, subtype="FLOAT")
    soundfile.write(tmp_path / "y.wav", left, 24000, subtype="FLOAT")
    for cleaning in (None, Cleaning(loudness_lufs=-23.0)):
        opposite, mono = sorted(
            encode_tracks(
                codec, folder.tracks(tmp_path), Windowing(1000, 200), 1, cleaning=cleaning
            ),
            key=lambda result: result.track.id,
        )
        assert (opposite.channel, mono.channel) == (0, None)
        np.testing.assert_array_equal(opposite.codes, mono.codes)
        assert opposite.duration_s == mono.duration_s == 2.5


def test_a_constant_changes_next_to_no_code(codec, tmp_path):
    audio = music(2.5, 3)
    for name, offset in (("a", 0.0), ("b", 0.03), ("c", 0.1)):
        soundfile.write(tmp_path / f"{name}.wav", audio + offset, 24000, subtype="FLOAT")
    tracks, windowing = folder.tracks(tmp_path), Windowing(1000, 200)
    for preparation, changed in ((PLAIN, 0.15), (Preparation(), 0.0)):
        codes = {
            result.track.id: result.codes
            for result in encode_tracks(codec, tracks, windowing, 1, preparation=preparation)
        }
        shares = [np.mean(codes["a.wav"] != codes[name]) for name in ("b.wav", "c.wav")]
        assert min(shares) >= changed and (changed or max(shares) < 0.002)
