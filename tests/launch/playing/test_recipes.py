"""Scripts that make pieces again: commands that exist, each taking what the one before it made."""

import shlex
from importlib import import_module

from launch.changes import Continue, Replace, Vary
from launch.playing.recipes import Changed, New, Source, Upload, script
from launch.playing.wishes import Wish

WISH = Wish(length=512, steps=32, sampler="euler", seed=7)
TAGGED = Wish(
    length=512, steps=32, sampler="euler", seed=7, tags=("a---jig", "b---it's"), guidance=2.5
)
SOURCE = Source("/runs/my run", 40, "/codecs/mine")


def parsed(text: str) -> list:
    """The module and the arguments of each command, as it takes them."""
    assert max(map(len, text.splitlines())) < 100
    commands = [shlex.split(line, comments=True) for line in text.replace("\\\n", "").splitlines()]
    commands = [words for words in commands if words[:2] == ["python", "-m"]]
    return [
        (words[2], import_module(words[2]).make_parser().parse_args(words[3:]))
        for words in commands
    ]


def test_new_pieces():
    text = script(SOURCE, New(TAGGED), 2)
    assert "# Makes 4 pieces again; this one is WAVS/sample-00002.wav.\n" in text
    (_, sample), (_, decode) = parsed(text)
    assert (sample.workdir, sample.step, sample.num_samples) == ("/runs/my run", 40, 4)
    assert (sample.tags, sample.guidance) == (["a---jig", "b---it's"], 2.5)
    assert (sample.length, sample.steps, sample.seed, sample.batch_size) == (512, 32, 7, 4)
    assert (decode.tokens, decode.output) == (sample.output, "WAVS")
    assert decode.codec_dir == "/codecs/mine"
    assert "--guidance" not in script(Source("demo"), New(WISH), 0)


def test_changes_of_new_pieces():
    once = Changed(New(WISH), 3, Continue(12.8), WISH, of_recording=False)
    twice = Changed(once, 1, Replace([(1.25, 3.5)]), TAGGED, of_recording=False)
    text = script(SOURCE, twice, 0)
    names = [name for name, _ in parsed(text)]
    assert names == ["sedd_jax.sample", *["launch.edit"] * 2, "tokenizer_bridge.decode"]
    (_, sample), (_, first), (_, second), (_, decode) = parsed(text)
    assert (first.tokens, first.track) == (sample.output, "sample-00003")
    assert first.continue_s == 12.8 and first.variations == 4 and first.audio is None
    assert second.tokens == f"{first.output}/tokens" and first.output != second.output
    assert second.track == "sample-00003-continue_s-00001"
    assert second.replace == [(1.25, 3.5)] and second.tags == ["a---jig", "b---it's"]
    assert decode.tokens == f"{second.output}/tokens"
    assert "this one is WAVS/sample-00003-continue_s-00001-replace-00000.wav" in text


def test_changes_of_recordings():
    once = Changed(Upload("my song.mp3"), 0, Replace([(1.0, 2.0)]), WISH, of_recording=True)
    ((name, first),) = parsed(text := script(SOURCE, once, 2))
    assert name == "launch.edit" and first.audio == "my song.mp3" and first.tokens is None
    assert first.codec_dir == "/codecs/mine"
    assert f"this one is {first.output}/my_song-replace-00002.wav" in text
    twice = Changed(once, 2, Vary(0.4), WISH, of_recording=True)
    (_, _), (_, second) = parsed(script(SOURCE, twice, 0))
    assert second.audio == f"{first.output}/my_song-replace-00002.wav" and second.vary == 0.4
    thrice = Changed(twice, 1, Vary(0.4), WISH, of_recording=False)
    (_, _), (_, _), (_, third), (_, decode) = parsed(script(SOURCE, thrice, 0))
    assert third.tokens == f"{second.output}/tokens" and third.codec_dir is None
    assert third.track == "my_song-replace-00002-vary-00001"
    assert decode.tokens == f"{third.output}/tokens"
