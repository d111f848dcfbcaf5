"""The studio makes what the command and the model make, for several people, and can be stopped."""

import shlex
import threading

import numpy as np
import pytest
import soundfile

from launch.playing.board import board, history
from launch.playing.job import Cancelled, Job, Report
from launch.playing.wishes import Wish
from sedd_jax import sample
from sedd_jax.errors import UserError
from tokenizer_bridge.token_dataset.records import TokenDataset

WISH = {"length": 32, "steps": 4, "sampler": "euler", "seed": 5}
JIG = Wish(**WISH, tags=("genre---jig",), guidance=2.0)


def no_report(report: Report) -> None:
    pass


def no_url(path) -> str:
    return f"file={path.name}"


@pytest.mark.parametrize("wish", [Wish(**WISH), JIG])
def test_its_command_makes_the_same_pieces_again(studio, tmp_path, monkeypatch, wish):
    batch = studio.make(wish, no_report)
    tokens_NxL = np.stack([piece.tokens for piece in batch.pieces])
    script = batch.pieces[2].command.read_text().replace("\\\n", "")
    words = shlex.split(script, comments=True)
    assert words[:3] == ["python", "-m", "sedd_jax.sample"]
    assert [word.partition("=")[0] for word in words[-2:]] == ["--audio", "--codec_dir"]
    monkeypatch.chdir(tmp_path)
    assert sample.main(words[3:-2]) == 0
    dataset = TokenDataset(tmp_path / "PIECES")
    records = list(dataset.records(dataset.splits[0]))
    np.testing.assert_array_equal(np.stack([record.tokens for record in records]), tokens_NxL)
    guidance = {"tags": wish.tags, "guidance": wish.guidance} if wish.tags else {}
    again_NxL = studio.model.sample(4, seed=5, steps=4, length=32, **guidance)
    np.testing.assert_array_equal(again_NxL, tokens_NxL)
    assert len({tokens.tobytes() for tokens in tokens_NxL}) == 4


def test_a_piece_has_its_sound_and_pictures_in_the_folder(studio):
    batch = studio.make(JIG, no_report)
    for i, piece in enumerate(batch.pieces):
        audio_T, rate = soundfile.read(piece.sound)
        assert rate == studio.codec.sample_rate
        assert len(audio_T) == 32 * studio.codec.hop_length == pytest.approx(piece.seconds * rate)
        expected_T = np.clip(studio.codec.decode(piece.tokens), -1, 1)
        np.testing.assert_allclose(audio_T, expected_T, atol=1e-4)
        assert f"sample-0000{i}.wav" in piece.command.read_text()
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


def test_a_second_one_waits_and_a_cancelled_one_leaves_nothing(studio):
    sampling, go_on = threading.Event(), threading.Event()

    def first_work(report):
        def slow_report(what: Report) -> None:
            if "step 2" in what.text:
                sampling.set()
                go_on.wait(60)
            report(what)

        return studio.make(JIG, slow_report)

    first = Job(first_work)
    assert sampling.wait(60)
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
