"""The studio makes what the command and the model make, for several people, and can be stopped."""

import dataclasses
import re
import shlex
import threading
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import soundfile

from launch.changes import Continue, Replace, Vary
from launch.jobs import edit as editing_job
from launch.playing import studio as studio_module
from launch.playing.board import board, history
from launch.playing.job import Cancelled, Job, Report
from launch.playing.studio import Studio, load
from launch.playing.wishes import Wish
from sedd_jax import Model
from sedd_jax.errors import UserError
from tests.sedd_jax import toy_run
from tests.sedd_jax.toy import write_dataset
from tokenizer_bridge.token_dataset.records import TokenDataset

WISH = {"length": 32, "steps": 4, "sampler": "euler", "seed": 5}
JIG = Wish(**WISH, tags=("genre---jig",), guidance=2.0)


def no_report(report: Report) -> None:
    pass


def no_url(path) -> str:
    return f"file={path.name}"


def run_script(text: str, folder: Path, monkeypatch) -> dict[str, np.ndarray]:
    """Runs the commands of a script in a folder; the last tokens that they make, by track."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(editing_job, "run_bridge", run_here)
    dataset = None
    for line in text.replace("\\\n", "").splitlines():
        words = shlex.split(line, comments=True)
        if words[:2] == ["python", "-m"]:
            arguments = dict(word[2:].split("=", 1) for word in words[3:])
            assert not import_module(words[2]).main(words[3:])
            if words[2] != "tokenizer_bridge.decode":
                where = arguments["output"] + "/tokens" * (words[2] == "launch.edit")
                dataset = TokenDataset(folder / where)
    (split,) = dataset.splits
    return {record.id: record.tokens for record in dataset.records(split)}


def run_here(command: str, *arguments: str) -> int:
    """A command of the bridge in this process: another takes seconds to start."""
    return import_module(f"tokenizer_bridge.{command}").main(list(arguments)) or 0


def sound_of(text: str, folder: Path) -> tuple[np.ndarray, int]:
    """The piece that a script says is meant."""
    return soundfile.read(folder / re.search(r"this one is (.*)\.$", text, re.M)[1])


@pytest.mark.parametrize("wish", [Wish(**WISH), JIG])
def test_its_commands_make_the_same_pieces_again(studio, tmp_path, monkeypatch, wish):
    batch = studio.make(wish, no_report)
    tokens_NxL = np.stack([piece.tokens for piece in batch.pieces])
    text = batch.pieces[2].command.read_text()
    made = run_script(text, tmp_path, monkeypatch)
    np.testing.assert_array_equal(np.stack([*made.values()]), tokens_NxL)
    np.testing.assert_array_equal(
        sound_of(text, tmp_path)[0], soundfile.read(batch.pieces[2].sound)[0]
    )
    guidance = {"tags": wish.tags, "guidance": wish.guidance} if wish.tags else {}
    again_NxL = studio.model.sample(4, seed=5, sampler=wish.sampler, steps=4, length=32, **guidance)
    np.testing.assert_array_equal(again_NxL, tokens_NxL)
    assert len({tokens.tobytes() for tokens in tokens_NxL}) == 4


def test_changes_of_changes_are_made_again_by_commands(studio, tmp_path, monkeypatch):
    first = studio.make(Wish(**WISH), no_report)
    seconds = first.pieces[0].seconds
    longer = studio.change(first, 2, Continue(seconds), JIG, no_report)
    start = 0.25 * seconds
    mended = studio.change(longer, 4, Replace([(start, seconds)]), JIG, no_report)
    parent, piece = longer.pieces[3], mended.pieces[1]
    made = run_script(text := piece.command.read_text(), tmp_path, monkeypatch)
    np.testing.assert_array_equal([*made.values()][1], piece.tokens)
    np.testing.assert_array_equal(sound_of(text, tmp_path)[0], soundfile.read(piece.sound)[0])
    (new,) = piece.new
    inside = slice(*(round(t * studio.codec.token_rate) for t in new))
    assert new == pytest.approx((start, seconds)) and (piece.tokens != parent.tokens)[inside].any()
    is_kept = np.ones(len(piece.tokens), bool)
    is_kept[inside] = False
    assert (piece.tokens == parent.tokens)[is_kept].all()
    options = {
        "seed": 5,
        "steps": 4,
        "tags": JIG.tags,
        "guidance": 2.0,
        "batch_size": 4,
        "sampler": "euler",
    }
    again_NxT = studio.model.replace(parent.tokens, [(start, seconds)], 4, **options)
    np.testing.assert_array_equal(again_NxT, [piece.tokens for piece in mended.pieces])
    assert (parent.tokens[:32] == first.pieces[1].tokens).all() and len(parent.tokens) == 64
    more = studio.change(first, 1, Vary(0.5), JIG, no_report)
    share = np.mean([piece.tokens == first.pieces[0].tokens for piece in more.pieces])
    assert 0.4 < share < 0.8 and more.pieces[0].new == ()


@pytest.fixture
def song(tmp_path):
    """A stereo recording of 0.25 s at a rate that is not the codec's."""
    time_T = np.arange(11_025) / 44_100
    sides_CxT = [0.3 * np.sin(6.28 * hertz * time_T) for hertz in (440, 660)]
    soundfile.write(tmp_path / "my song.flac", np.transpose(sides_CxT), 44_100)
    return tmp_path / "my song.flac"


def test_a_recording_is_gone_on_with_and_stays_what_it_was(studio, song, tmp_path, monkeypatch):
    upload = studio.upload(song, song.name, no_report)
    (piece,) = upload.pieces
    assert piece.label == "my song.flac" and piece.seconds == 0.25 and piece.command is None
    assert [file.name for file in studio.folder.rglob("upload*")] == ["upload.flac"]
    assert "read in " in board(upload, studio, no_url)
    longer = studio.change(upload, 1, Continue(0.1), JIG, no_report)
    assert "read in" not in board(longer, studio, no_url)
    again = studio.change(longer, 3, Continue(0.1), JIG, no_report)
    audio_TxC, rate = soundfile.read(again.pieces[0].sound)
    assert rate == 44_100 and audio_TxC.shape == (pytest.approx(0.45 * rate, abs=rate / 3000), 2)
    made = run_script(text := again.pieces[0].command.read_text(), tmp_path, monkeypatch)
    np.testing.assert_array_equal([*made.values()][0], again.pieces[0].tokens)
    np.testing.assert_array_equal(sound_of(text, tmp_path)[0], audio_TxC)


@pytest.mark.parametrize("content, text", [
    (b"Dear diary", "diary.mp3: "),
    (b"", "diary.mp3: "),
])  # fmt: skip
def test_what_is_no_audio_is_refused_by_its_own_name(studio, tmp_path, content, text):
    (tmp_path / "x.mp3").write_bytes(content)
    with pytest.raises(UserError, match=text) as refusal:
        studio.upload(tmp_path / "x.mp3", "diary.mp3", no_report)
    assert str(tmp_path) not in str(refusal.value) and not any(studio.folder.iterdir())


def test_what_is_too_long_is_refused(studio, song, monkeypatch):
    monkeypatch.setattr(studio_module, "MOST_UPLOAD_S", 0.2)
    with pytest.raises(UserError, match="my song.flac lasts 0 s: up to 0 s can be taken"):
        studio.upload(song, song.name, no_report)


@pytest.mark.parametrize("stretch, text", [
    ((0.004, 0.002), "does not end after it begins"),
    ((0.0, 1.0), "ends after the song"),
])  # fmt: skip
def test_a_stretch_that_is_none_is_refused(studio, stretch, text):
    first = studio.make(Wish(**WISH), no_report)
    with pytest.raises(UserError, match=text):
        studio.change(first, 1, Replace([stretch]), JIG, no_report)


def test_a_piece_has_its_sound_and_pictures_in_the_folder(studio):
    batch = studio.make(JIG, no_report)
    for i, piece in enumerate(batch.pieces):
        audio_T, rate = soundfile.read(piece.sound)
        assert rate == studio.codec.sample_rate
        assert len(audio_T) == 32 * studio.codec.hop_length == pytest.approx(piece.seconds * rate)
        expected_T = np.clip(studio.codec.decode(piece.tokens), -1, 1)
        np.testing.assert_allclose(audio_T, expected_T, atol=1e-4)
        assert f"sample-0000{i}.wav" in piece.command.read_text() and piece.recording is None
        assert studio.folder in piece.sound.parents and studio.folder in piece.command.parents
        assert all(name in str(piece.pictures) for name in ("wave", "spectrum", "tokens"))
    studio.forget([batch.number, 99])
    assert studio.batch(batch.number) is None and not any(studio.folder.iterdir())


def test_it_reports_how_far_it_is(studio):
    reports: list[Report] = []
    studio.make(JIG, reports.append)
    shares = [report.share for report in reports]
    assert reports[0].text.startswith("Compiling") and shares == sorted(shares)
    assert [r.text for r in reports if "step" in r.text][-1] == "Sampling: step 5 of 5, 0 s left"
    studio.make(JIG, reports.append)
    assert [report.text for report in reports].count("Sampling") == 1
    studio.make(dataclasses.replace(JIG, sampler="trapezoidal"), reports.append)  # two evaluations
    assert reports[-2].text == "Sampling: step 9 of 9, 0 s left"


def test_what_is_made_by_default_has_been_compiled(studio, monkeypatch):
    monkeypatch.setattr(studio_module, "DEFAULT_STEPS", 4)
    monkeypatch.setattr(Studio, "lengths", [16, 32])  # which other tests compile as well
    studio.warm(no_report)
    guided = dataclasses.replace(studio.default_wish, tags=JIG.tags, guidance=3.0)
    for wish in (studio.default_wish, guided):
        reports: list[Report] = []
        studio.make(wish, reports.append)
        assert reports[0].text == "Sampling"


def test_a_second_one_waits_and_a_cancelled_one_leaves_nothing(studio):
    sampling, go_on = threading.Event(), threading.Event()

    def first_work(report):
        def slow_report(what: Report) -> None:
            if "step 2" in what.text:
                sampling.set()
                go_on.wait(600)
            report(what)

        return studio.make(JIG, slow_report)

    first = Job(first_work)
    assert sampling.wait(600)
    second = Job(lambda report: studio.make(JIG, report))
    assert next(second.reports()).text == "Waiting: 1 is before you"
    third = Job(lambda report: studio.make(JIG, report))
    third.cancel()
    with pytest.raises(Cancelled):  # though it waits
        third.result()
    first.cancel()
    go_on.set()
    with pytest.raises(Cancelled):
        first.result()
    assert len(second.result().pieces) == 4
    assert [path.name for path in studio.folder.iterdir()] == [f"batch-{second.result().number}"]


def test_an_unknown_tag_is_refused(studio):
    with pytest.raises(UserError, match="'genre---polka'"):
        studio.make(Wish(**WISH, tags=("genre---polka",)), no_report)


def test_the_board_and_the_list_of_earlier_pieces(studio):
    batches = [studio.make(wish, no_report) for wish in (JIG, Wish(**WISH))]
    html = board(batches[0], studio, no_url)
    assert html.count('class="piece"') == html.count("<audio") == 4
    assert "genre: jig" in html and "guidance 2" in html and "seed 5" in html
    assert 'href="file=piece-1-3.wav" download="piece-1-3.wav"' in html
    assert 'href="file=piece-1-3.sh" download="piece-1-3.sh"' in html
    listed = history(batches, batches[1].number, studio)
    assert listed.index('data-batch="2" aria-current="true"') < listed.index('data-batch="1">')


def test_models_that_the_page_cannot_play_with_are_refused(codec_dir, tmp_path):
    data = write_dataset(tmp_path / "tokens", {"train": [40]})
    toy_run.write_run(tmp_path / "run", data, model__type="autoregressive")
    with pytest.raises(
        UserError, match="run is autoregressive: the page is for diffusion models; "
    ):
        load(str(tmp_path / "run"), tmp_path, codec_dir=str(codec_dir))


def test_samplers_are_those_for_the_model_s_graph(studio, loaded, tmp_path):
    assert {"euler", "confidence"} <= {*studio.samplers}
    uniform = Model(toy_run.make_run(graph__type="uniform")[0], {}, 0)
    assert Studio(uniform, *loaded[1:], tmp_path).samplers == ["euler", "analytic", "trapezoidal"]
