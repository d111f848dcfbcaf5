"""Rendered samples, cut and levelled."""

import numpy as np
import pytest
import soundfile

from tokenizer_bridge.sources.scores import sound


def tone(seconds: float, amplitude: float) -> np.ndarray:
    """440 Hz at 48 kHz."""
    return amplitude * np.sin(2 * np.pi * 440 * np.arange(round(48000 * seconds)) / 48000)


@pytest.mark.parametrize("amplitude", [0.001, 0.5])
def test_silence_at_the_end_is_cut_and_the_level_is_one(amplitude):
    faint = 1e-4 * tone(3, amplitude)
    audio = sound.finished(np.concatenate([tone(1, amplitude), faint]), 48000)
    assert len(audio) / 24000 == pytest.approx(1.0, abs=0.03)
    assert 20 * np.log10(np.sqrt((audio[:20000] ** 2).mean())) == pytest.approx(-20, abs=0.2)
    spectrum = np.abs(np.fft.rfft(audio[:24000]))
    assert spectrum.argmax() == 440


def test_a_click_does_not_clip():
    audio = tone(1, 0.01)
    audio[24000:24100] = 1.0
    assert np.abs(sound.finished(audio, 48000)).max() == pytest.approx(10 ** (-1 / 20), rel=1e-3)


def test_silence_is_refused():
    with pytest.raises(ValueError, match="silent"):
        sound.finished(np.zeros(48000), 48000)


def test_a_file_is_whole_or_absent(tmp_path, monkeypatch):
    sound.write(tmp_path / "jig/a.flac", np.zeros(2400, np.float32))
    assert soundfile.info(tmp_path / "jig/a.flac").samplerate == 24000

    def cut_short(path, *args, **kwargs):
        path.write_bytes(b"fLaC")
        raise KeyboardInterrupt

    monkeypatch.setattr(soundfile, "write", cut_short)
    with pytest.raises(KeyboardInterrupt):
        sound.write(tmp_path / "jig/b.flac", np.zeros(2400, np.float32))
    assert [path.name for path in (tmp_path / "jig").iterdir()] == ["a.flac"]
