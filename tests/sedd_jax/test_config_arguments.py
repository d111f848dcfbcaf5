"""Configs on the command line: files, runs and names, and the keys that are changed."""

import json
import sys

import jsonschema
import pytest

from sedd_jax import config as config_lib
from sedd_jax import config_arguments
from sedd_jax.config_arguments import load, nearest, parse, split
from sedd_jax.config_keys import KEYS
from sedd_jax.errors import UserError
from tests.sedd_jax import toy
from tokenizer_bridge.token_dataset.command import Parser

TRAIN = [sys.executable, "-m", "sedd_jax.train"]


def refusal(source, **texts) -> str:
    with pytest.raises(UserError) as caught:
        load(str(source), {key.replace("__", "."): text for key, text in texts.items()})
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- where a config comes from


def test_a_config_is_a_file_a_run_or_a_name(tmp_path):
    assert load("demo").config.to_dict() == load("configs/demo.py").config.to_dict()
    assert (
        load("graph_noise:quickstart").config.model.width == load("quickstart").config.model.width
    )
    config_lib.save(load("demo", {"seed": "7"}).config, tmp_path / "config.json")
    assert load(str(tmp_path / "config.json")).config.seed == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 / 0", "config.py, line 1: ZeroDivisionError: division by zero"),
        ("import no_such", "config.py, line 1: ModuleNotFoundError: No module named 'no_such'"),
        ("def get_config():\n    return {}['k']", "config.py, line 2: KeyError: 'k'"),
        ("import json\ndef get_config():\n    json.loads('')", "config.py, line 3: JSONDecodeErr"),
        ("def get_config(size): pass", "config.py: get_config(size) cannot be called without one"),
        ("def get_config(): return {}", "config.py: get_config() returns dict, not a ConfigDict"),
        ("size = 1", "config.py has no get_config()"),
        ("\n\ndef get_config(:", "config.py, line 3: SyntaxError: invalid syntax"),
    ],
)
def test_a_file_that_gives_no_config_is_named_with_the_line(tmp_path, text, message):
    (tmp_path / "config.py").write_text(text)
    assert message in refusal(tmp_path / "config.py")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("configs/none.py", "--config=configs/none.py: no such file"),
        ("elsewhere/demo.py", "no such file; the project's own is --config=demo"),
        ("elsewhere/samplers.py:small", "the project's own is --config=samplers:small"),
        ("demi", "did you mean demo?"),
        ("zzz", "there are demo, "),
        ("demo:small", "get_config() cannot be called with 'small'"),
        ("graph_noise:zzz", "there is no configs/zzz.py"),
    ],
)
def test_a_config_that_there_is_not(source, message):
    assert message in refusal(source)


# ---- what is changed in it


def test_values_have_the_types_of_the_table():
    texts = {
        "training.num_steps": "1e5", "training.batch_size": "1_024", "optim.learning_rate": "1",
        "model.scale_by_sigma": "FALSE", "data.path": "1e5",
        "conditioning.categories": "genre, mood/theme",
    }  # fmt: skip
    chosen = load("demo", texts)
    values = [100_000, 1_024, 1.0, False, "1e5", ("genre", "mood/theme")]
    assert list(chosen.overrides.values()) == values
    assert [type(value) for value in chosen.overrides.values()] == [
        int,
        int,
        float,
        bool,
        str,
        tuple,
    ]
    flat = dict(config_lib.flatten(chosen.config))
    assert [flat[key] for key in texts] == values


def test_a_key_without_a_value_keeps_its_type(tmp_path):
    (tmp_path / "config.py").write_text(
        "from ml_collections import ConfigDict, config_dict\n"
        "def get_config():\n"
        "    kinds = {'length': int, 'strength': float, 'judge': str}\n"
        "    return ConfigDict({key: config_dict.placeholder(of) for key, of in kinds.items()})\n"
    )
    texts = {"length": "512", "strength": "2"}
    config = load(str(tmp_path / "config.py"), texts).config
    assert config.to_dict() == {"length": 512, "strength": 2.0, "judge": None}
    message = "config.length=long: an integer is needed"
    assert message in refusal(tmp_path / "config.py", length="long")


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("training__num_steps", "1.5", "config.training.num_steps=1.5: an integer is needed"),
        ("training__num_steps", "nan", "an integer is needed"),
        ("training__num_steps", "many", "an integer is needed"),
        ("optim__eps", "small", "config.optim.eps=small: a number is needed"),
        ("model__scale_by_sigma", "1", "true or false is needed"),
        ("training__lr", "1", "unknown config key training.lr; did you mean config.optim.learning"),
        ("optim__eps_", "1", "unknown config key optim.eps_; did you mean config.optim.eps?"),
        ("colour", "1", "unknown config key colour"),
        ("model", "1", "unknown config key model"),
    ],
)
def test_what_is_no_value_or_no_key_is_refused(key, text, message):
    assert message in refusal("demo", **{key: text})


def test_wrong_keys_are_told_the_nearest():
    known = list(KEYS)
    assert nearest("training.lr", known) == ["optim.learning_rate"]
    assert nearest("training.learning_rate", known) == ["optim.learning_rate"]
    assert nearest("model.num_block", known)[0] == "model.num_blocks"
    assert set(nearest("num_steps", known)) == {"training.num_steps", "profile.num_steps"}
    assert nearest("colour", known) == []


def test_overrides_are_taken_out_of_the_command_line():
    rest, texts = split(["--a=1", "--config=demo", "--config.seed=3", "--config.optim.b1", "0.5"])
    assert rest == ["--a=1", "--config=demo"]
    assert texts == {"seed": "3", "optim.b1": "0.5"}
    assert split(["--config.optim.learning-rate=1"])[1] == {"optim.learning_rate": "1"}
    with pytest.raises(UserError, match="--config.seed needs a value"):
        split(["--config.seed", "--workdir=RUN"])


# ---- commands


def make_parser() -> Parser:
    parser = Parser()
    config_arguments.add_arguments(parser)
    parser.add_argument("--tokens")
    parser.add_argument("--workdir", required=True)
    return parser


def test_a_short_form_is_a_key_and_the_key_itself_is_stronger():
    argv = ["--config=demo", "--workdir=RUN", "--tokens=A"]
    for more, path in (([], "A"), (["--config.data.path=B"], "B")):
        _, chosen = parse(make_parser(), argv + more, {"tokens": "data.path"})
        assert chosen.config.data.path == chosen.overrides["data.path"] == path


def test_every_key_is_printed_with_its_value_and_what_it_can_be(capsys):
    with pytest.raises(SystemExit) as left:
        argv = ["--print-config", "--config=demo", "--config.seed=7", "--tokens=A"]
        parse(make_parser(), argv, {"tokens": "data.path"})
    assert left.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    keys = [line.partition("=")[0] for line in lines[::2]]
    assert keys == [f"config.{key}" for key in KEYS]
    assert "config.seed=7" in lines and "config.data.path=A" in lines
    assert lines[lines.index("config.graph.type=absorbing") + 1].endswith(
        "[str, one of absorbing, uniform]"
    )
    # What is printed can be given again.
    texts = dict(line.removeprefix("config.").split("=", 1) for line in lines[::2])
    assert load("music_large", texts).config == load("demo", {"seed": "7", "data.path": "A"}).config


def test_the_schema_takes_what_a_run_saves_and_nothing_else(capsys):
    with pytest.raises(SystemExit):
        parse(make_parser(), ["--print_config_schema"])
    schema = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    saved = json.loads(config_lib.to_json(load("demo").config))
    jsonschema.validate(saved, schema)
    jsonschema.validate(saved | {"history": [{"step": 1, "changed": {}}]}, schema)
    for group, key, value in (
        ("model", "width", "wide"), ("model", "width", 1), ("graph", "type", "absorb"),
        ("model", "colour", 1),
    ):  # fmt: skip
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(saved | {group: saved[group] | {key: value}}, schema)
    del saved["seed"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(saved, schema)


def test_a_command_says_it_in_one_line(tmp_path):
    line = toy.error_line(toy.run([*TRAIN, "--config=demo", "--config.training.lr=1"]))
    assert line == "error: --workdir is required"
    line = toy.error_line(toy.run([*TRAIN, "somewhere"]))
    assert line.startswith("error: unexpected argument 'somewhere'")
    line = toy.error_line(toy.run([*TRAIN, "--config=demo", f"--workdir={tmp_path / 'run'}"]))
    assert line == "error: --tokens=TOKENS is needed: the config names no data.path"
    assert not (tmp_path / "run").exists()
