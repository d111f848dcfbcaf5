"""Arguments of a command that say which config it works with.

    --config=configs/demo.py            a file with get_config()
    --config=FILE.py:ARGUMENT           the same, called with a text
    --config=RUN/config.json            the config that a run has saved
    --config=demo                       a config of the project, by its name
    --config.group.key=VALUE            instead of what the config says

A parser reads the first; the overrides are taken out of the command line before it sees them, since
there is one for every key.
"""

import contextlib
import dataclasses
import difflib
import inspect
import json
import runpy
import sys
import traceback
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from sedd_jax import config as config_lib
from sedd_jax.config_keys import KEYS
from sedd_jax.errors import UserError, one_line
from tokenizer_bridge.token_dataset import paths
from tokenizer_bridge.token_dataset.command import Parser, local_path

PREFIX = "--config."
SHIPPED = Path(__file__).parents[1] / "configs"
# The config where --config is not given: a name of one, or what makes it of the other arguments.
Default = str | Callable[[Namespace], ConfigDict] | None
_BOOLS = {"true": True, "false": False}


@dataclasses.dataclass(frozen=True)
class Chosen:
    """A config as the command line asks for it.

    source: as given, "FILE.py:ARGUMENT" or the like; config: with the overrides, and locked;
    overrides: dotted key → value, of what the command line changes.
    """

    source: str
    config: ConfigDict
    overrides: Mapping[str, Any]


def add_arguments(parser: Parser, *, required: bool = True, default: str | None = None) -> None:
    """Adds --config, --print_config and --print_config_schema."""
    parser.add_argument(
        "--config",
        type=local_path,
        required=required,
        default=default,
        metavar="CONFIG",
        help="FILE.py, FILE.py:ARGUMENT, RUN/config.json, or the name of a config of the project; "
        "--config.group.key=VALUE changes a key of it.",
    )
    parser.add_argument(
        "--print_config",
        action="store_true",
        help="Print every key with its value and what it can be, and do nothing else.",
    )
    parser.add_argument(
        "--print_config_schema",
        action="store_true",
        help="Print the JSON Schema of a run's config.json, and do nothing else.",
    )


def parse(
    parser: Parser,
    argv: Sequence[str] | None = None,
    short_forms: Mapping[str, str] | None = None,
    default: Default = None,
) -> tuple[Namespace, Chosen]:
    """The other arguments and the config, of a parser with `add_arguments`.

    short_forms: names of arguments of the parser, each of which stands for a key of the config.
    default: the config where the command line names none and the parser has no default of its own:
    as --config names it, or made of the arguments. Their `config` is then None.
    Raises UserError; SystemExit after --print_config and the like, as after --help.
    """
    rest, texts = split(sys.argv[1:] if argv is None else argv)
    _answer(parser, rest, texts, short_forms or {}, default)
    arguments = parser.parse_args(rest)
    for name, key in (short_forms or {}).items():
        if (text := getattr(arguments, name)) is not None:
            texts = {key: text} | texts
    return arguments, _choose(arguments, texts, default)


def _choose(arguments: Namespace, texts: Mapping[str, str], default: Default) -> Chosen:
    if arguments.config is None and callable(default):
        return change("", default(arguments), texts)
    return load(arguments.config or default, texts)


def split(argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """(the other arguments, dotted key → text) of a command line. Raises UserError."""
    rest: list[str] = []
    texts: dict[str, str] = {}
    words = iter(argv)
    for word in words:
        if not word.startswith(PREFIX):
            rest.append(word)
            continue
        name, equals, text = word.removeprefix(PREFIX).partition("=")
        if not equals:
            text = next(words, "")
            if not text or text.startswith("--"):
                raise UserError(f"{word} needs a value: {word}=VALUE")
        texts[name.replace("-", "_")] = text
    return rest, texts


def _answer(
    parser: Parser,
    rest: Sequence[str],
    texts: dict[str, str],
    short_forms: Mapping[str, str],
    default: Default,
) -> None:
    """Prints what is asked for instead of the command's work, and leaves; else does nothing."""
    asking = Parser(add_help=False)
    add_arguments(asking, required=False)
    for name in short_forms:
        asking.add_argument(f"--{name}")
    # Of the other arguments some may be missing, and none matters.
    asked, _ = asking.parse_known_args(rest)
    if asked.print_config_schema:
        print(json.dumps(config_lib.json_schema(), indent=2))
        sys.exit(0)
    if asked.print_config:
        if asked.config is None and default is None:
            raise UserError("--print_config needs --config")
        if asked.config is None and callable(default):
            asked = parser.parse_args(rest)
        given = {key: getattr(asked, name) for name, key in short_forms.items()}
        texts = {key: text for key, text in given.items() if text is not None} | texts
        config = _choose(asked, texts, default).config
        config_lib.check(config)
        print(config_lib.describe(config))
        sys.exit(0)


def load(source: str, texts: Mapping[str, str] | None = None) -> Chosen:
    """The config that `source` names, as --config is given, changed by the texts of its keys.

    Raises UserError in one line: there is no such file, it raises (file and line), it has no
    get_config(), there is no such key, or a text is none of its values.
    """
    path, arguments = find(source)
    if path.suffix == ".json":
        config = config_lib.load(path)
    else:
        config = _get_config(path, run_file(path), arguments)
    return change(source, config, texts or {})


def change(source: str, config: ConfigDict, texts: Mapping[str, str]) -> Chosen:
    """A config of `source` changed by the texts of its keys. Raises UserError as `load`."""
    # Before references are resolved, which leaves None of a placeholder, and of its type nothing.
    overrides = {key: _value(config, key, text) for key, text in texts.items()}
    config = config.copy_and_resolve_references()
    with config.unlocked(), config.ignore_type():
        config.update_from_flattened_dict(overrides)
    return Chosen(source, config.lock(), overrides)


def find(source: str) -> tuple[Path, list[str]]:
    """(file, arguments of its get_config(): one or none) of what --config names.

    Raises UserError when there is no such file, naming configs of the project.
    """
    if Path(source).is_file():  # a colon may be part of its name
        return Path(source), []
    file, *arguments = source.split(":", 1)
    path = Path(file)
    if path.is_file():
        return path, arguments
    shipped = {
        path.stem: path
        for path in SHIPPED.rglob("*.py")
        if "def get_config(" in path.read_text(encoding="utf-8")
    }
    if file in shipped:
        return shipped[file], arguments
    if path.suffix or path.parent != Path("."):
        what = "is a directory" if path.is_dir() else "no such file"
        named = ":".join([path.stem, *arguments])
        by_name = f"; the project's own is --config={named}" if path.stem in shipped else ""
        raise UserError(f"--config={source}: {what}{by_name}")
    near = difflib.get_close_matches(file, shipped, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(shipped))}"
    raise UserError(f"--config={source}: no file, and no config of that name; {hint}")


def run_file(path: Path) -> dict[str, Any]:
    """The names that a config file defines. Raises UserError, with the line, when it raises."""
    with running(path):
        return runpy.run_path(str(path))


def call(path: Path, function: Any, arguments: Sequence[str]) -> Any:
    """The result of a config file's function. Raises UserError, with the line, when it raises."""
    signature = inspect.signature(function)
    try:
        signature.bind(*arguments)
    except TypeError:
        given = f"with {arguments[0]!r}" if arguments else f"without one: {path.name}:ARGUMENT"
        names = f"{function.__name__}({', '.join(signature.parameters)})"
        raise UserError(f"{path}: {names} cannot be called {given}") from None
    with running(path):
        return function(*arguments)


@contextlib.contextmanager
def running(path: Path) -> Iterator[None]:
    """Code of a config file, which may raise anything: UserError with the file and the line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {one_line(error)}"
        if isinstance(error, SyntaxError) and error.filename:
            raise UserError(f"{error.filename}, line {error.lineno}: {what}") from error
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(path)]
        where = f"{path}, line {lines[-1]}" if lines else path
        raise UserError(f"{where}: {what}") from error


def _get_config(path: Path, names: Mapping[str, Any], arguments: Sequence[str]) -> ConfigDict:
    if not callable(names.get("get_config")):
        raise UserError(f"{path} has no get_config(), as configs/music_small.py has one")
    config = call(path, names["get_config"], arguments)
    if not isinstance(config, ConfigDict):
        raise UserError(f"{path}: get_config() returns {type(config).__name__}, not a ConfigDict")
    return config


def _value(config: ConfigDict, key: str, text: str) -> Any:
    """The value that a text is to a key. Raises UserError."""
    values = dict(config_lib.flatten(config))
    if key not in values:
        raise unknown_key(key, list(values))
    # Configs of other commands, as sweeps over sampling, have keys of their own.
    *groups, name = key.split(".")
    group = config
    for part in groups:
        group = group[part]
    kind = KEYS[key].type if key in KEYS else group.get_type(name)
    if key == "data.path":
        text = paths.path_or_url(text)
    try:
        return _parse(kind, text)
    except ValueError as error:
        raise UserError(f"config.{key}={text}: {error}") from None


def _parse(kind: type, text: str) -> Any:
    """Raises ValueError saying what is needed."""
    if kind is bool:
        if text.lower() not in _BOOLS:
            raise ValueError("true or false is needed")
        return _BOOLS[text.lower()]
    if kind is int:
        return _integer(text)
    if kind is float:
        try:
            return float(text)
        except ValueError:
            raise ValueError("a number is needed") from None
    if kind is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return text


def _integer(text: str) -> int:
    """An integer, 1e5 among them. Raises ValueError."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        raise ValueError("an integer is needed") from None
    if not number.is_integer():
        raise ValueError("an integer is needed")
    return int(number)


def unknown_key(key: str, known: Sequence[str]) -> UserError:
    """The error about a key that there is not, with those that may be meant."""
    names = " or ".join(f"config.{name}" for name in nearest(key, known))
    return UserError(f"unknown config key {key}" + (f"; did you mean {names}?" if names else ""))


def nearest(key: str, known: Sequence[str], most: int = 3) -> list[str]:
    """Keys that a wrong one may mean, the likeliest first.

    Those of the same last part or the same initials (lr: learning_rate), else those written much
    alike.
    """
    last = key.rpartition(".")[2]

    def initials(name: str) -> str:
        return "".join(word[0] for word in name.split("_"))

    lasts = {name: name.rpartition(".")[2] for name in known}
    same = [name for name in known if lasts[name] == last]
    short = [name for name in known if "_" in lasts[name] and initials(lasts[name]) == last]
    if same or short:
        return [*same, *short][:most]
    like = difflib.get_close_matches(key, known, n=most, cutoff=0.7)
    near = difflib.get_close_matches(last, [*lasts.values()], n=most, cutoff=0.7)
    close = [name for part in near for name in known if lasts[name] == part]
    return list(dict.fromkeys([*like, *close]))[:most]
