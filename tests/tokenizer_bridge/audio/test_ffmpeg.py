"""Files that ffmpeg decodes: with a stand-in that writes what ffmpeg would, and with ffmpeg itself
where there is one."""

import contextlib
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tokenizer_bridge.audio.opening import lacking_ffmpeg
from tokenizer_bridge.audio.read import AudioError, length_s, read_excerpt, stream_mono

RATE = 24_000
M4A = b"\0\0\0\x20ftypM4A " + bytes(500)
DURATION = "[info]   Duration: 00:00:01.00, start: 0.000000, bitrate: 128 kb/s"

with_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="there is no ffmpeg")


def a_tone(seconds=1.0, channels=2):
    tone_T = 0.3 * np.sin(2 * np.pi * 440 * np.arange(round(RATE * seconds)) / RATE)
    return np.repeat(tone_T[:, None], channels, 1).astype(np.float32)


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Puts an ffmpeg on the PATH that writes given samples, says given lines, and exits so."""

    def put(samples_TxC, said=(DURATION,), code=0):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        header = b".snd" + struct.pack(">5I", 28, 2**32 - 1, 6, RATE, samples_TxC.shape[1])
        sound = header + bytes(4) + samples_TxC.astype(">f4").tobytes() if len(samples_TxC) else b""
        (folder / "sound").write_bytes(sound)
        (folder / "said").write_text("\n".join(said) + "\n")
        program = folder / "ffmpeg"
        program.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$@" > {folder}/asked\n/bin/cat {folder}/sound\n'
            f"/bin/cat {folder}/said >&2\nexit {code}\n"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))
        return folder / "asked"

    return put


def mono(path):
    return np.concatenate(list(stream_mono(path, RATE)))


def reason(path):
    with pytest.raises(AudioError) as caught:
        mono(path)
    return str(caught.value)


def test_what_libsndfile_does_not_know_is_decoded(tmp_path, stand_in):
    asked = stand_in(a_tone())
    (tmp_path / "x.m4a").write_bytes(M4A)
    np.testing.assert_allclose(mono(tmp_path / "x.m4a"), a_tone()[:, 0], atol=1e-7)
    assert length_s(tmp_path / "x.m4a") == 1.0
    excerpt_T, rate = read_excerpt(tmp_path / "x.m4a", 0.25, 0.5)
    assert rate == RATE
    np.testing.assert_allclose(excerpt_T, a_tone()[6_000:18_000, 0], atol=1e-7)
    arguments = asked.read_text().splitlines()
    assert f"file:{tmp_path / 'x.m4a'}" in arguments and "0:a:0" in arguments


def test_a_file_that_libsndfile_reads_is_not_given_to_ffmpeg(tmp_path, stand_in):
    asked = stand_in(a_tone())
    soundfile.write(tmp_path / "x.m4a", a_tone(0.5), RATE, format="FLAC")  # whatever its name
    assert len(mono(tmp_path / "x.m4a")) == RATE // 2
    assert not asked.exists()


@pytest.mark.parametrize(("said", "code", "seconds", "text"), [
    ([DURATION.replace("01.00", "09.00")], 0, 1.0, "cut short: 9.0 s announced, 1.0 s found"),
    ([DURATION.replace("01.00", "09.00"), "[info] Stream #0:0: Video: h264"], 0, 1.0, None),
    ([DURATION, "[error] one bad packet"], 0, 1.0, None),
    (["[aac @ 0x5570] [error] Input exhausted"], 0, 1.0, "damaged: Input exhausted"),
    ([DURATION, "[error] out of luck"], 1, 1.0, "damaged: out of luck"),
    ([DURATION.replace("01.00", "09.00"), "[aac @ 0x1] [warning] Estimating duration from bitrate"],
     0, 1.0, None),
    (["[fatal] Stream map '0:a:0' matches no streams."], 1, 0.0, "(it has no sound)"),
    (["[error] file:PATH: Invalid data found"], 1, 0.0, "(Invalid data found)"),
])  # fmt: skip
def test_what_ffmpeg_says_is_heard(tmp_path, stand_in, said, code, seconds, text):
    path = tmp_path / "x.m4a"
    stand_in(a_tone(seconds), [line.replace("PATH", str(path)) for line in said], code)
    path.write_bytes(M4A)
    if text is None:
        assert len(mono(path)) == round(RATE * seconds)
    else:
        assert text in reason(path)


def test_without_ffmpeg_the_reason_has_the_kind_and_the_cure(tmp_path, without_ffmpeg):
    (tmp_path / "song.mp3").write_bytes(M4A)  # whatever its name
    assert reason(tmp_path / "song.mp3").startswith("MP4 (M4A, AAC, ALAC or video)")
    assert "install ffmpeg" in reason(tmp_path / "song.mp3")
    names = [tmp_path / name for name in ("a.m4a", "b.mp3", "C.WMA", "d.mkv")]
    assert [path.name for path in lacking_ffmpeg(names)] == ["a.m4a", "C.WMA", "d.mkv"]


def test_an_ffmpeg_is_ended_with_its_reader(tmp_path, stand_in):
    def children() -> set[str]:
        found = set()
        for task in Path("/proc/self/task").glob("*/children"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it may end meanwhile
                found.update(task.read_text().split())
        return found

    stand_in(a_tone(60.0))
    (tmp_path / "x.m4a").write_bytes(M4A)
    before = children()  # a test before this one may have left workers, which may end
    blocks = stream_mono(tmp_path / "x.m4a", RATE)
    next(blocks)
    assert children() - before
    blocks.close()
    assert not children() - before


@with_ffmpeg
@pytest.mark.parametrize(("name", "codec"), [
    ("x.m4a", "aac"), ("x.wma", "wmav2"), ("x.mkv", "aac"), ("x.wv", "wavpack"), ("x.m4a", "alac"),
    ("x.webm", "libopus"), ("x.aac", "aac"), ("x.tta", "tta"), ("ac3.wav", "ac3"),
])  # fmt: skip
def test_formats_by_ffmpeg(tmp_path, name, codec):
    source, path = tmp_path / "source.wav", tmp_path / name
    soundfile.write(source, a_tone(3.0), RATE)
    rate = ("-ar", "48000") if codec == "libopus" else ()
    command = ["ffmpeg", "-v", "error", "-i", source, "-c:a", codec, *rate, path]
    made = subprocess.run(command)
    if made.returncode:
        pytest.skip(f"this ffmpeg does not write {codec}")
    decoded_T = mono(path)
    assert len(decoded_T) / RATE == pytest.approx(3.0, abs=0.1)
    spectrum = np.abs(np.fft.rfft(decoded_T[: 2 * RATE]))
    assert spectrum.argmax() == 880
    if codec in ("alac", "tta", "wavpack"):
        np.testing.assert_allclose(decoded_T, soundfile.read(source)[0][:, 0], atol=1e-6)
    if codec == "wmav2":  # cut between two packets, nothing tells it
        return
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert any(words in reason(path) for words in ("cut short", "damaged"))
