"""Pictures that pages hold: deterministic, in the page's own colours, without anything outside."""

import base64
import io
import re

import numpy as np
import soundfile

from tokenizer_bridge.pages.pictures import INK, player, plot, spectrogram, token_picture


def drawing(figure) -> None:
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=INK, label="line")
    axes.legend()


def test_a_plot_takes_the_pages_ink_and_is_the_same_each_time():
    first, second = (plot(drawing, 4, 2, "A <label>") for _ in range(2))
    assert first == second
    assert "currentColor" in first and INK not in first
    assert 'aria-label="A &lt;label&gt;"' in first
    assert re.search(r"<text[^>]*>line</text>", first)  # words, not outlines
    assert not re.search(r"<svg [^>]*(width|height)=", first)


def test_ids_of_two_plots_on_a_page_differ():
    ids = [set(re.findall(r' id="([^"]+)"', plot(drawing, 4, 2, label))) for label in "ab"]
    assert ids[0] and not ids[0] & ids[1]


def test_a_player_holds_the_sound():
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 4_000).astype(np.float32)
    kind, data = player(samples, 8_000).split(";base64,")
    assert kind == "data:audio/flac"
    heard, rate = soundfile.read(io.BytesIO(base64.b64decode(data)))
    assert rate == 8_000
    np.testing.assert_allclose(heard, samples, atol=1 / 2**15)


def test_spectrograms_of_very_short_audio_and_silence_are_plots():
    assert "<image" in spectrogram(np.zeros(10, np.float32), 8_000, "Silence")


def test_tokens_are_marks_of_whole_columns_in_the_pages_ink():
    picture = token_picture(np.array([0, 1, 4095, 4095, 2048]), 4096, "Tokens of <one>")
    assert 'viewBox="0 0 5 32"' in picture and "--tokens: 5px" in picture
    # Two low codes and two high ones are a mark each; rows count from the top.
    assert 'd="M0 31h2v1h-2zM2 0h2v1h-2zM4 15h1v1h-1z"' in picture
    assert 'fill="currentColor"' in picture and "Tokens of &lt;one&gt;" in picture
