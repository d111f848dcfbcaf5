"""Pictures of tokens, and what event files hold of pictures and audio."""

import io
import struct
import wave

import numpy as np
import PIL.Image
import pytest

from sedd_jax.monitoring.event_file import EventFile
from sedd_jax.monitoring.media import Medium, png, token_picture
from tests.sedd_jax.events import read_media


def pixels(data: bytes) -> np.ndarray:
    with PIL.Image.open(io.BytesIO(data)) as image:
        assert image.format == "PNG" and image.mode == "RGB"
        return np.asarray(image)


def test_a_png_is_read_as_it_was_drawn():
    picture = np.random.default_rng(0).integers(0, 256, (3, 5, 3), np.uint8)
    np.testing.assert_array_equal(pixels(png(picture)), picture)


@pytest.mark.parametrize("num_codes", [32, 1024, 4096])
def test_equal_codes_look_equal_and_others_do_not(num_codes):
    tokens = np.array([0, 7, 7, num_codes - 1, 8, 7, 0], np.uint16)
    picture = pixels(token_picture(tokens, num_codes))
    across = picture.shape[1] // len(tokens)
    assert picture.shape[0] == 128 and picture.shape[1] == across * len(tokens) > 500
    columns = [picture[:, i * across].tobytes() for i in range(len(tokens))]
    assert [columns.index(column) for column in columns] == [0, 1, 1, 3, 4, 1, 0]
    marked = (picture != 255).any(axis=2)
    assert (marked.sum(axis=0) == 4).all()  # one mark a token
    assert marked[-4:, 0].all() and marked[:4, 3 * across].all()  # high numbers are up
    assert pixels(token_picture(np.zeros(1_000, np.uint16), num_codes)).shape == (128, 1_000, 3)


def test_an_event_file_holds_pictures_and_audio(tmp_path):
    sound = np.arange(-300, 300, dtype="<i2")
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, 24_000, 0, "NONE", ""))
        file.writeframes(sound.tobytes())
    (tmp_path / "b.png").write_bytes(png(np.zeros((2, 7, 3), np.uint8)))
    media = [
        Medium("audio/0", tmp_path / "a.wav", "genre---jig, ü"),
        Medium("tokens/0", tmp_path / "b.png"),
    ]
    events = EventFile(tmp_path / "events", 1)
    events.write_media(300, media)
    events.close()
    audio, picture = read_media(tmp_path / "events")
    # Fields of Summary.Audio and Summary.Image by number (tensorflow's summary.proto).
    assert (audio.step, audio.tag, audio.text) == (300, "audio/0", "genre---jig, ü")
    assert audio.kind == 6 and audio.fields == {
        1: struct.pack("<f", 24_000), 2: 1, 3: 600, 5: b"audio/wav",
        4: (tmp_path / "a.wav").read_bytes(),
    }  # fmt: skip
    assert (picture.step, picture.tag, picture.text) == (300, "tokens/0", "")
    data = (tmp_path / "b.png").read_bytes()
    assert picture.kind == 4 and picture.fields == {1: 2, 2: 7, 3: 3, 4: data}
