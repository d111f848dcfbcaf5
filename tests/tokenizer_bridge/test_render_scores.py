"""The command that renders scores."""

import pytest

TOY = "tests.tokenizer_bridge.sources.scores.toy_command"


@pytest.fixture
def arguments(tmp_path):
    """Flags for a few pieces of four scores, one of which cannot be read."""
    for name in ("0", "1", "2", "bad"):
        file = tmp_path / f"corpus/ryansMammoth/{name}.abc"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    return [f"--output={tmp_path / 'out'}", "--hours=0.005", f"--sound_font={tmp_path / 'a.sf2'}"]


def test_a_corpus_is_made_once_and_described(run_command, arguments, tmp_path):
    outcome = run_command(TOY, *arguments)
    assert outcome.code == 0, outcome.err
    assert f"{tmp_path / 'out'}: 0.4 min of audio, " in outcome.out
    assert "genre: reel 0.01 h" in outcome.out
    assert "1 scores could not be used, the first is ryansMammoth/bad.abc" in outcome.out
    again = run_command(TOY, *arguments)
    assert again.code == 0
    assert again.out == f"whole already, nothing to do: {outcome.out}"


def test_other_hours_are_refused_in_one_line(run_command, arguments):
    run_command(TOY, *arguments)
    outcome = run_command(TOY, *arguments, "--hours=1")
    assert outcome.code == 1
    assert outcome.err.startswith("error: ") and outcome.err.count("\n") == 1
    assert "hours 0.005, not 1.0" in outcome.err


def test_no_score_is_one_line(run_command, arguments, tmp_path):
    for name in ("0", "1", "2"):
        (tmp_path / f"corpus/ryansMammoth/{name}.abc").unlink()
    outcome = run_command(TOY, *arguments)
    assert outcome.code == 1
    assert "none of its 1 scores can be used" in outcome.err


def test_no_sound_font_is_one_line(run_command, tmp_path):
    flags = [f"--output={tmp_path / 'out'}", f"--sound_font={tmp_path / 'none.sf2'}"]
    outcome = run_command("tokenizer_bridge.render_scores", *flags)
    assert outcome.code == 1
    assert outcome.err.count("\n") == 1
    assert "apt-get install fluid-soundfont-gm" in outcome.err
    assert not (tmp_path / "out").exists()
