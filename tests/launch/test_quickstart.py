"""The script around the commands: what it calls, on whatever folder it is given."""

import csv
import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from tokenizer_bridge.sources.splits import split_of

PROJECT = Path(__file__).parents[2]
RUN = "Best [1990]"  # to a shell that looks for files, a pattern
PAGE = "Best%20%5B1990%5D/model/index.html"  # as a URL


@pytest.fixture
def quickstart(tmp_path):
    """Runs the script with an environment whose python only notes how it is called."""
    python = tmp_path / "venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(
        "#!/bin/sh\n"
        'for argument in "$@"; do printf "%s|" "$argument"; done\n'
        "echo\n"
        'case "$2" in *.encode) mkdir -p "$RUN/tokens"; touch "$RUN/tokens/$SPLIT-0"\n'
        '[ -z "$TOKENS" ] || echo "$TOKENS" > "$RUN/tokens/dataset.json"; exit "$CODE";; esac\n'
    )
    python.chmod(0o755)
    digest = hashlib.sha256((PROJECT / "requirements.txt").read_bytes()).hexdigest()
    (tmp_path / "venv/.requirements.sha256").write_text(f"{digest}  -\n")

    def run(
        *arguments: str, split: str = "validation", tokens: str = "", code: int = 0
    ) -> subprocess.CompletedProcess:
        ours = {"VENV": "venv", "CDPATH": "/tmp:.", "LC_ALL": "C", "RUN": str(tmp_path / RUN)}
        ours |= {"SPLIT": split, "TOKENS": tokens, "CODE": str(code)}
        return subprocess.run(
            ["bash", PROJECT / "launch/quickstart.sh", *arguments],
            cwd=tmp_path,
            env=os.environ | ours,
            capture_output=True,
            text=True,
        )

    return run


@pytest.mark.parametrize("name", ["music", "-my music", "-"])
def test_any_folder_name_reaches_the_commands_whole(quickstart, tmp_path, name):
    (tmp_path / name).mkdir()
    done = quickstart(name)
    assert done.returncode == 0, done.stderr
    assert f"|--audio={tmp_path / name}|" in done.stdout
    assert f"{RUN}/wavs|--music={tmp_path / name}|\n" in done.stdout
    assert "|--workdir=demo|" not in done.stdout


@pytest.mark.parametrize("split", ["validation", "train"])
def test_a_single_track_is_measured_on_itself(quickstart, tmp_path, split):
    (tmp_path / "music").mkdir()
    assert f"/{RUN}/model|--split={split}|" in quickstart("music", split=split).stdout


def test_a_single_file_is_music(quickstart, tmp_path):
    (tmp_path / "a song.mp3").write_text("")
    done = quickstart("a song.mp3")
    assert done.returncode == 0, done.stderr
    assert f"|--audio={tmp_path / 'a song.mp3'}|" in done.stdout
    assert f"{RUN}/wavs|--music={tmp_path}|\n" in done.stdout


def test_it_ends_with_the_files_and_the_address(quickstart, tmp_path):
    (tmp_path / "music").mkdir()
    *_, files, address = quickstart("music").stdout.splitlines()
    assert files == f"-m|launch.files_used|--tokens={tmp_path / RUN}/tokens|"
    assert address == f"open file://{tmp_path}/{PAGE}"


def test_music_that_has_grown_is_trained_on(quickstart, tmp_path):
    (tmp_path / "music").mkdir()
    changes = "|--allow_change=data.path|"
    for tokens in ("one", "one"):
        said = quickstart("music", tokens=tokens).stdout
        assert changes not in said and "num_steps" not in said
    for _ in range(2):  # also where it was stopped before it was trained
        said = quickstart("music", tokens="two").stdout
        assert changes in said and "|--config.training.num_steps=400|" in said
        assert f"/{RUN}/new_400|--audio={tmp_path / RUN}/wavs_400|" in said
    assert "|--config.training.num_steps=600|" in quickstart("music", tokens="three").stdout
    assert "|--config.training.num_steps=270|" in quickstart("--steps=90", "music").stdout


def test_music_that_has_grown_when_the_encoding_is_stopped_is_trained_on(quickstart, tmp_path):
    (tmp_path / "music").mkdir()
    assert quickstart("music", tokens="one").returncode == 0
    assert quickstart("music", tokens="two", code=130).returncode == 130  # the tokens are there
    said = quickstart("music", tokens="two").stdout
    assert "|--allow_change=data.path|" in said and "|--config.training.num_steps=400|" in said


def test_steps_that_were_asked_for_are_made_on_music_that_has_grown(quickstart, tmp_path):
    (tmp_path / "music").mkdir()
    assert "num_steps=90|" in quickstart("--steps=90", "music", tokens="one").stdout
    said = quickstart("--steps=90", "music", tokens="two").stdout
    assert "|--allow_change=data.path|" in said and "|--config.training.num_steps=180|" in said


def test_a_folder_that_is_missing_is_one_line(quickstart):
    done = quickstart("nowhere")
    assert done.returncode == 1 and done.stderr == "error: nowhere: no such file or folder\n"


def test_the_shipped_model_comes_first_and_can_be_all(quickstart, tmp_path):
    said = quickstart("--demo_only").stdout
    assert said.index("|--workdir=demo|") < said.index("launch.page|--tokens=")
    assert f"listen: file://{tmp_path}/{PAGE}\n" in said
    assert "tokenizer_bridge.encode" not in said
    said = quickstart().stdout
    assert said.index("|--workdir=demo|") < said.index("tokenizer_bridge.encode")
    assert f"|--other_tokens={tmp_path / RUN}/demo|" in said


@pytest.mark.parametrize(
    ("codec", "training"),
    [
        ("demo-scores", "|--config=configs/quickstart_tuned.py|--init_from=demo|"),
        ("demo", "|--config=configs/quickstart.py|--tokens="),
    ],
)
def test_the_shipped_weights_are_trained_on_where_they_know_the_codec(
    quickstart, tmp_path, codec, training
):
    (tmp_path / "music").mkdir()
    said = quickstart(f"--codec={codec}", "music").stdout
    assert f"sedd_jax.train{training}" in said and f"|--codec={codec}|" in said
    default = "demo" if codec == "demo" else None  # of a folder; without one it is demo-scores
    assert (quickstart("music") if default else quickstart()).stdout.count(training) == 1


def test_steps_reach_training_and_name_the_new_pieces(quickstart, tmp_path):
    (tmp_path / "music").mkdir()
    said = quickstart("--steps=400", "music").stdout
    assert "|--config.training.num_steps=400|" in said
    assert f"/{RUN}/new_400|--audio={tmp_path / RUN}/wavs_400|" in said
    assert "num_steps" not in quickstart("music").stdout


@pytest.mark.parametrize(
    ("arguments", "count"), [([], 9), (["--demo_only"], 3), (["music"], 6), (["--steps=1"], 9)]
)
def test_every_stage_says_how_much_is_left(quickstart, tmp_path, arguments, count):
    (tmp_path / "music").mkdir()
    said = quickstart(*arguments).stdout
    heads = [line for line in said.splitlines() if line.startswith("== ")]
    assert [head.split()[1] for head in heads] == [f"{i}/{count}" for i in range(1, count + 1)]
    assert heads[-1].endswith(" and then 0:00)") and "0:00)" not in heads[0]


@pytest.mark.parametrize("argument", ["--steps=0", "--steps=many", "--codec=mp3", "--codec=demo"])
def test_an_option_that_makes_no_sense_is_one_line(quickstart, argument):
    done = quickstart(argument)
    assert done.returncode == 2 and done.stderr.startswith(f"error: {argument}")
    assert done.stderr.count("\n") == 1 and not done.stdout


def test_an_unknown_option_is_no_missing_folder(quickstart):
    done = quickstart("--demo")
    assert done.returncode == 2 and done.stderr.startswith(
        "error: there is no option --demo; usage"
    )


def test_what_cannot_be_both_is_one_line(quickstart):
    done = quickstart("--demo_only", "music")
    assert done.returncode == 2 and done.stderr.startswith("usage: ")
    assert done.stderr.count("\n") == 1


def test_the_shipped_tunes_are_held_out_by_their_names():
    """They were held out from the shipped model too, so that its music is new to it."""
    folder = PROJECT / "tokenizer_bridge/assets/tunes"
    with (folder / "tags.csv").open(newline="") as file:
        artist_of = {row["path"]: row["artist"] for row in csv.DictReader(file)}
    assert set(artist_of) == {path.name for path in folder.glob("*.ogg")}
    splits = [split_of(artist) for artist in artist_of.values()]
    assert [splits.count(s) for s in ("train", "validation", "test")] == [16, 6, 2]
