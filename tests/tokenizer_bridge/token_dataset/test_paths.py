"""Paths as people write them: of every command, and in names that are made of titles."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.test_commands import COMMANDS
from tokenizer_bridge.token_dataset import command
from tokenizer_bridge.token_dataset.command import Parser
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import safe_file_stems
from tokenizer_bridge.token_dataset.paths import local_path, local_paths_within
from tokenizer_bridge.token_dataset.records import TokenDataset, TokenDatasetWriter

PATHS = {
    "workdir", "tokens", "output", "audio", "reference", "music", "codec_dir", "cache_dir",
    "init_from", "samples", "metadata", "notes", "input", "weights", "vectors", "tags_file",
    "tags_from", "vector", "split_files", "checksums", "generated_tokens", "music_tokens",
    "other_tokens", "sound_font", "slurm", "config",
}  # fmt: skip
# Paths of another machine, on which the bucket is mounted.
ELSEWHERE = {"launch.gke_encode", "launch.gke_jobset"}


def test_home_is_the_users(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert local_path("~/a b") == "/home/me/a b" and local_path("~") == "/home/me"
    assert local_path("a~/~b") == "a~/~b" and local_path("~nobody-is-called-so/a").startswith("~")
    assert local_paths_within("train=~/a.tsv,test=b~c") == "train=/home/me/a.tsv,test=b~c"
    assert local_paths_within("x=nlakh:~/n") == "x=nlakh:/home/me/n"
    parser = Parser(prog="thing")
    parser.add_argument("--workdir", type=command.local_path)
    assert parser.parse_args(["--workdir=~/run"]).workdir == "/home/me/run"


@pytest.mark.parametrize("text", ["gs://b/run", "s3://b", "memory://x/y", "file:///tmp/x"])
def test_a_url_is_no_folder(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for call in (local_path, TokenDataset, lambda path: TokenDatasetWriter(path, {})):
        with pytest.raises(UserError, match=f"{text} is a URL, where a path is needed"):
            call(text)
    with pytest.raises(UserError, match="is a URL"):
        local_paths_within(f"a=nlakh:{text}")
    assert list(tmp_path.iterdir()) == []


def test_control_characters_are_refused():
    with pytest.raises(UserError, match=r"'a\\nb' has a control character"):
        local_path("a\nb")
    assert local_path("a\\b [c] 'd' \"e\" ü 🎵:*?") == "a\\b [c] 'd' \"e\" ü 🎵:*?"


@pytest.mark.parametrize("module", sorted(set(COMMANDS) - ELSEWHERE))
def test_every_command_reads_its_paths_so(module, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    found = [a for a in import_module(module).make_parser()._actions if a.dest in PATHS]
    for action in found:
        prefix = "clip:" if action.dest in ("vector", "vectors") else ""
        prefix = "train=" if action.dest == "split_files" else prefix
        assert "/home/me/x" in str(action.type(f"{prefix}~/x")), action.dest
        with pytest.raises((UserError, command.argparse.ArgumentTypeError), match="is a URL"):
            action.type(f"{prefix}gs://bucket/x")


def test_a_command_says_so_in_one_line(tmp_path):
    for module, argument in (("inspect", "--tokens=gs://b/t"), ("decode", "--output=s3://b/w")):
        done = subprocess.run(
            [sys.executable, "-m", f"tokenizer_bridge.{module}", argument],
            capture_output=True, text=True, cwd=Path(__file__).parents[3],
        )  # fmt: skip
        name, _, url = argument.partition("=")
        assert done.returncode == 1 and done.stderr.count("\n") == 1
        assert done.stderr.startswith(f"error: {name}: {url} is a URL")


def test_file_names_keep_letters_of_every_script():
    names = ["曲一", "曲二", "Ünïcode", "Дорога", "हिन्दी", "می‌خواهم", "한국어", "🎵 a", "R+B=x,y@z"]
    kept = ["曲一", "曲二", "Ünïcode", "Дорога", "हिन्दी", "می‌خواهم", "한국어", "🎵_a", "R+B=x,y@z"]
    assert safe_file_stems(names) == kept


def test_file_names_lose_what_file_systems_and_shells_cannot_take():
    (stem,) = safe_file_stems(
        ["a/b\\c:d*e?f\"g<h>i|j k'l$m&n;o(p)q[r]s{t}u!v#w%x^y`z~\u202e\n\x85\xa0"]
    )
    assert stem == "a_b_c_d_e_f_g_h_i_j_k_l_m_n_o_p_q_r_s_t_u_v_w_x_y_z_____"


def test_file_names_that_a_disk_takes_for_the_same_differ():
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    stems = safe_file_stems([composed, decomposed, "STRASSE", "strasse", "\udce9"])
    assert len({stem.casefold() for stem in stems}) == 5 and stems[4] == "_"
    (long,) = safe_file_stems(["曲" * 200])
    assert len(long.encode()) == 150 and set(long) == {"曲"}
