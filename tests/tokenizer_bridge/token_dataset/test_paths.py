"""Paths as people write them: of every command, and in names that are made of titles."""

from importlib import import_module

import pytest

from tests.test_commands import COMMANDS
from tokenizer_bridge.token_dataset import command
from tokenizer_bridge.token_dataset.command import Parser
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import safe_file_stems
from tokenizer_bridge.token_dataset.paths import local_path, local_paths_within
from tokenizer_bridge.token_dataset.records import TokenDatasetWriter

PATHS = {
    "workdir", "tokens", "output", "audio", "reference", "music", "codec_dir", "cache_dir",
    "init_from", "samples", "metadata", "notes", "input", "weights", "vectors", "tags_file",
    "tags_from", "vector", "split_files", "checksums", "generated_tokens", "music_tokens",
    "other_tokens", "sound_font", "slurm", "config",
}  # fmt: skip
# Those that may be in an object store.
URLS = {
    ("sedd_jax.train", "workdir"), ("sedd_jax.train", "tokens"), ("sedd_jax.train", "init_from"),
    ("sedd_jax.evaluate", "workdir"), ("sedd_jax.evaluate", "tokens"),
    ("sedd_jax.evaluate", "output"), ("sedd_jax.sample", "workdir"),
    ("sedd_jax.sample", "tags_from"), ("sedd_jax.sample", "output"), ("sedd_jax.sample", "audio"),
    ("sedd_jax.weights.export", "workdir"), ("sedd_jax.weights.export", "output"),
    ("tokenizer_bridge.inspect", "tokens"), ("tokenizer_bridge.inspect", "output"),
    ("launch.page", "workdir"), ("launch.page", "tokens"), ("launch.page", "other_tokens"),
    ("launch.page", "music_tokens"), ("launch.page", "output"),
    ("tokenizer_bridge.encode", "output"),
    ("tokenizer_bridge.encode", "audio"), ("launch.app", "workdir"),
    ("launch.measure_seams", "workdir"), ("launch.edit", "workdir"), ("launch.edit", "tokens"),
    ("launch.judge_tags", "workdir"), ("launch.measure_edits", "workdir"),
    ("launch.measure_gaps", "workdir"),
    ("tokenizer_bridge.decode", "tokens"), ("tokenizer_bridge.decode", "output"),
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


@pytest.mark.parametrize("text", ["gs://b/run", "s3://b", "memory://x/y", "file:///x"])
def test_a_url_is_no_folder(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for call in (local_path, lambda path: TokenDatasetWriter(path, {})):
        with pytest.raises(UserError, match=f"{text} is a URL, where a path is needed"):
            call(text)
    with pytest.raises(UserError, match="is a URL"):
        local_paths_within(f"a=nlakh:{text}")
    assert list(tmp_path.iterdir()) == []


def test_a_url_of_the_hub_says_what_the_model_is_called():
    with pytest.raises(UserError, match="a model of the hub is called TaliDror/AIDD$"):
        local_path("https://huggingface.co/TaliDror/AIDD/tree/main")


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
        if (module, action.dest) in URLS:
            assert action.type("gs://bucket/x") == "gs://bucket/x"
            continue
        with pytest.raises((UserError, command.argparse.ArgumentTypeError), match="is a URL"):
            action.type(f"{prefix}gs://bucket/x")


def test_a_command_names_the_argument():
    for module, argument in (("train_codec", "--audio=gs://b/t"), ("report", "--output=s3://b/w")):
        name, _, url = argument.partition("=")
        with pytest.raises(UserError, match=f"^{name}: {url} is a URL, where a path is needed"):
            import_module(f"tokenizer_bridge.{module}").main([argument])


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
