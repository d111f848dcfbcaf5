"""A song edited by the command: through both packages, and all that is refused."""

import functools
import json
import sys
from importlib import import_module

import numpy as np
import pytest
import soundfile

from launch import edit
from launch.jobs import edit as job
from tests.sedd_jax import toy_run
from tests.sedd_jax.toy import write_dataset
from tests.tokenizer_bridge.toy_songs import music
from tokenizer_bridge.audio.splice import FADE_S
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.locks import alone_in
from tokenizer_bridge.token_dataset.records import TokenDataset
from tokenizer_bridge.wavtokenizer.registry import load_codec

RATE = 24_000  # of song and toy codec, which has 3,000 tokens/s
SECONDS = 1.2


@pytest.fixture(scope="module")
def codec_info(codec_dir):
    return vars(load_codec("toy", codec_dir=codec_dir)[1])


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, codec_info):
    """A run at random on the toy codec's tokens, with windows of 256."""
    folder = tmp_path_factory.mktemp("edit")
    data = write_dataset(folder / "tokens", codec=codec_info)
    toy_run.write_run(folder / "run", data, codec=codec_info, model__length=256)
    return folder / "run"


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    path = tmp_path_factory.mktemp("song") / "My song.wav"
    left = music(SECONDS, 1)
    soundfile.write(path, np.stack([left, 0.5 * left], axis=1), RATE, subtype="PCM_16")
    return path


@pytest.fixture(autouse=True)
def bridge_here(monkeypatch):
    """The bridge's commands run in this process, which has PyTorch already; their names."""
    started = []

    def run(command, *arguments):
        started.append(command)
        try:
            return import_module(f"tokenizer_bridge.{command}").main(arguments) or 0
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1

    monkeypatch.setattr(job, "run_bridge", run)
    return started


def run(workdir, codec_dir, output, *more) -> int:
    return edit.main(
        [
            f"--workdir={workdir}", f"--codec_dir={codec_dir}", f"--output={output}", "--steps=2",
            *map(str, more),
        ]
    )  # fmt: skip


def tokens_of(path) -> np.ndarray:
    dataset = TokenDataset(path)
    (split,) = dataset.splits
    return np.stack([record.tokens for record in dataset.records(split)])


def test_a_stretch_is_replaced_and_all_else_is_the_song(workdir, codec_dir, song, tmp_path):
    output = tmp_path / "out"
    words = f"--audio={song}", "--replace=0.5:0.51", "--variations=2", "--seed=5"
    assert run(workdir, codec_dir, output, *words) == 0
    edited, (old,) = tokens_of(output / "tokens"), tokens_of(output / "song")
    new = slice(1500, 1530)
    changed = np.any(edited != old, axis=0)
    assert not np.delete(changed, np.arange(1500, 1530)).any()
    assert changed[new].any() and (edited[0] != edited[1]).any()
    original, _ = soundfile.read(song, dtype="int16")
    first, last = round((0.5 - FADE_S) * RATE), round((0.51 + FADE_S) * RATE)
    for index in range(2):
        path = output / f"My_song-replace-{index:05d}.wav"
        samples, rate = soundfile.read(path, dtype="int16")
        assert rate == RATE and samples.shape == original.shape
        same = np.all(samples == original, axis=1)
        assert same[:first].all() and same[last:].all() and not same[first:last].all()
    origin = json.loads((output / "tokens/dataset.json").read_text())["origin"]
    assert "--seed=5" in origin["command"] and origin["command"].startswith("python -m launch.edit")
    assert origin["edit"] == {
        "mode": "replace",
        "value": [[0.5, 0.51]],
        "stretches": [[1500, 1530]],
    }


def test_it_goes_on_and_more_variations_join_the_first(
    workdir, codec_dir, song, tmp_path, bridge_here
):
    output = tmp_path / "out"
    words = f"--audio={song}", "--continue_s=0.02"
    assert run(workdir, codec_dir, output, *words, "--variations=1") == 0
    first = tokens_of(output / "tokens")
    assert first.shape == (1, round(SECONDS * 3000) + 60)
    samples, _ = soundfile.read(output / "My_song-continue_s-00000.wav")
    assert samples.shape == (round((SECONDS + 0.02) * RATE), 2)
    assert run(workdir, codec_dir, output, *words, "--variations=3") == 0
    both = tokens_of(output / "tokens")
    assert len(both) == 3
    np.testing.assert_array_equal(both[:1], first)
    assert bridge_here == ["encode", "decode_edits"] * 2


def test_an_autoregressive_model_goes_on_and_does_nothing_else(tmp_path, codec_info):
    data = write_dataset(tmp_path / "data", {"train": [40]}, codec=codec_info)
    options = {"codec": codec_info, "model__length": 32, "model__type": "autoregressive"}
    toy_run.write_run(tmp_path / "ar", data, **options)
    words = [f"--workdir={tmp_path / 'ar'}", f"--tokens={data}", "--variations=2"]
    assert edit.main([*words, f"--output={tmp_path / 'out'}", "--continue_s=0.01"]) == 0
    edited, (old,) = tokens_of(tmp_path / "out/tokens"), tokens_of(data)
    assert edited.shape == (2, 70)
    np.testing.assert_array_equal(edited[:, :40], [old, old])
    assert (edited[0, 40:] != edited[1, 40:]).any()
    for mode in ("--replace=0.001:0.002", "--vary=0.5", "--keep_every=2"):
        with pytest.raises(UserError, match=f"{mode} needs a diffusion .* with --continue_s"):
            edit.main([*words, f"--output={tmp_path / 'not'}", mode])
    assert not (tmp_path / "not").exists()


@pytest.mark.parametrize("mode", ["--vary=0.9", "--keep_every=2"])
def test_scattered_tokens_leave_nothing_of_the_recording(
    workdir, codec_dir, song, tmp_path, bridge_here, mode
):
    words = f"--audio={song}", mode, "--variations=1"
    assert run(workdir, codec_dir, tmp_path / "out", *words) == 0
    assert bridge_here == ["encode", "decode"]
    edited, old = tokens_of(tmp_path / "out/tokens"), tokens_of(tmp_path / "out/song")
    assert edited.shape == old.shape and 0.45 < (edited == old).mean() < 1
    (path,) = (tmp_path / "out").glob("*.wav")
    assert soundfile.info(path).channels == 1


def test_tokens_alone_need_no_audio(workdir, codec_dir, codec_info, tmp_path, bridge_here):
    data = write_dataset(tmp_path / "data", codec=codec_info)
    words = f"--tokens={data}", "--continue_s=0.01", "--variations=1"
    with pytest.raises(UserError, match=r"has 8 tracks: name one with --track"):
        run(workdir, codec_dir, tmp_path / "out", *words)
    assert run(workdir, codec_dir, tmp_path / "out", *words, "--track=validation-1") == 0
    assert tokens_of(tmp_path / "out/tokens").shape == (1, 70 + 30) and not bridge_here


def test_the_same_as_the_model_as_an_object(workdir, codec_dir, codec_info, tmp_path):
    from sedd_jax import Model

    data = write_dataset(tmp_path / "data", {"train": [200]}, codec=codec_info)
    words = f"--tokens={data}", "--replace=0.01:0.02,0.05:", "--variations=2", "--seed=3"
    drawing = {"sampler": "confidence", "schedule": "uniform", "strength": 2.0}
    words += tuple(f"--{name}={value}" for name, value in drawing.items())
    assert run(workdir, codec_dir, tmp_path / "out", *words) == 0
    (song,) = tokens_of(data)
    model = Model.load(workdir)
    stretches = [(0.01, 0.02), (0.05, 200 / 3000)]
    rows = model.replace(song, stretches, num_samples=2, seed=3, steps=2, **drawing)
    np.testing.assert_array_equal(tokens_of(tmp_path / "out/tokens"), rows)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--audio=SONG"], "nothing to do: give one of --continue_s, --replace, --vary, --keep_e"),
        (["--audio=SONG", "--vary=0.5", "--continue_s=2"], "--continue_s and --vary: give one of"),
        (["--vary=0.5"], "named by --audio or by --tokens"),
        (["--audio=none.wav", "--vary=0.5"], "--audio: none.wav: no such file"),
        (["--audio=.", "--vary=0.5"], "is a folder: one song at a time"),
        (["--audio=SONG", "--vary=0.5", "--track=x"], "--track is for --tokens"),
        (["--audio=SONG", "--replace=3"], "'3' must be START:STOP in seconds"),
        (["--audio=SONG", "--replace=1:2:3"], "'1:2:3' must be START:STOP"),
        (["--audio=SONG", "--replace=a:3"], "'a' is no number"),
        (["--audio=SONG", "--replace=0.9:0.3"], "--replace: the stretch 0.9:0.3 s does not end"),
        (["--audio=SONG", "--replace=0.1:0.3,0.2:0.4"], "0.1:0.3 and 0.2:0.4 s overlap"),
        (["--audio=SONG", "--replace=1:3"], "--replace: the stretch 1:3 s ends after the song"),
        (["--audio=SONG", "--continue_s=0"], "--continue_s: 0 s is no length"),
        (["--audio=SONG", "--vary=1"], "--vary: the share of tokens to keep is 1"),
        (["--tokens=OTHER", "--vary=0.5"], "tokens of codec 'toy' do not match codec 'toy'"),
        (["--audio=SONG", "--vary=0.5", "--tags=genre---jig"], "the model knows no tags"),
        (["--audio=SONG", "--vary=0.5", "--output=TAKEN"], "is not empty: choose another"),
        (["--audio=SONG", "--vary=0.5", "--output=SONG/a/b"], "My song.wav is a file: choose anot"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(
    workdir, codec_dir, codec_info, song, tmp_path, words, message
):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "letter.txt").write_text("mine")
    if "--tokens=OTHER" in words:
        write_dataset(tmp_path / "other", {"train": [40]})
    places = {"SONG": song, "OTHER": tmp_path / "other", "TAKEN": taken}
    for name, place in places.items():
        words = [word.replace(f"={name}", f"={place}") for word in words]
    with pytest.raises(UserError, match=message.replace(".", r"\.")):
        run(workdir, codec_dir, tmp_path / "out", *words)
    assert not (tmp_path / "out").exists()  # as though nothing had been asked


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(RATE), "silent"),
        (np.zeros(0), "no samples"),
        (0.1 * np.ones(1000), "too short"),
        (None, "not audio"),
    ],
)
def test_songs_without_music_are_one_line(workdir, codec_dir, tmp_path, capsys, samples, message):
    path = tmp_path / "bad.wav"
    if samples is None:
        path.write_text("no audio at all")
    else:
        soundfile.write(path, samples, RATE)
    with pytest.raises(SystemExit) as end:
        run(workdir, codec_dir, tmp_path / "out", f"--audio={path}", "--vary=0.5")
    assert end.value.code == 1 and not (tmp_path / "out").exists()
    errors = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    assert len(errors) == 1 and "bad.wav" in errors[0] and message in errors[0]


def test_what_a_signal_stops_goes_on_and_what_was_there_stays(
    workdir, codec_dir, song, tmp_path, monkeypatch
):
    def stopped(command, *arguments):
        (tmp_path / "out/song").mkdir(parents=True)
        return 143

    monkeypatch.setattr(job, "run_bridge", stopped)
    words = f"--audio={song}", "--replace=5:"
    with pytest.raises(SystemExit) as end:
        run(workdir, codec_dir, tmp_path / "out", *words)
    assert end.value.code == 143 and (tmp_path / "out/song").exists()
    monkeypatch.setattr(job, "run_bridge", lambda command, *arguments: 1)
    with pytest.raises(SystemExit):
        run(workdir, codec_dir, tmp_path / "out", *words)
    assert (tmp_path / "out/song").exists()


def test_two_at_once_do_not_take_the_song_from_each_other(
    workdir, codec_dir, song, tmp_path, monkeypatch
):
    def at_work_already(command, *arguments):  # the other one, on the song that it has just begun
        (tmp_path / "out/song").mkdir(exist_ok=True)
        return 1

    monkeypatch.setattr(job, "run_bridge", at_work_already)
    monkeypatch.setattr(job, "alone_in", functools.partial(alone_in, patience_s=0.0))
    with alone_in(tmp_path / "out", ""):
        with pytest.raises(UserError, match="out: another process is editing there; stop it or"):
            run(workdir, codec_dir, tmp_path / "out", f"--audio={song}", "--vary=0.5")


def test_another_edit_does_not_overwrite_the_first(workdir, codec_dir, song, tmp_path):
    words = f"--audio={song}", "--variations=1"
    assert run(workdir, codec_dir, tmp_path / "out", *words, "--replace=0.5:0.51") == 0
    with pytest.raises(UserError, match=r"out holds edits by --replace=0.5:0.51: choose another"):
        run(workdir, codec_dir, tmp_path / "out", *words, "--replace=0.5:0.52")
    with pytest.raises(UserError, match="holds other samples"):
        run(workdir, codec_dir, tmp_path / "out", *words, "--replace=0.5:0.51", "--seed=1")
    (path,) = (tmp_path / "out").glob("*.wav")
    content = path.read_bytes()
    path.write_bytes(b"mine")
    assert run(workdir, codec_dir, tmp_path / "out", *words, "--replace=0.5:0.51") == 1
    assert path.read_bytes() == b"mine"
    again = *words, "--replace=0.5:0.51", "--overwrite"
    assert run(workdir, codec_dir, tmp_path / "out", *again) == 0
    assert path.read_bytes() == content
    other = tmp_path / "other.wav"
    other.write_bytes(song.read_bytes())
    with pytest.raises(UserError, match=r"out holds edits of My song\.wav: choose another --outp"):
        run(workdir, codec_dir, tmp_path / "out", f"--audio={other}", "--replace=0.5:0.51")
