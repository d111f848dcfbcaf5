"""The pages: command lines parse, links and files exist, the example runs, README.md is short."""

import re
import shlex
from importlib import import_module
from importlib.util import find_spec
from itertools import product, takewhile
from pathlib import Path

import pytest
import soundfile

from sedd_jax import config_arguments
from sedd_jax.errors import UserError
from tests.programs import ROOT
from tests.sedd_jax import toy_run
from tests.sedd_jax.toy import write_dataset
from tokenizer_bridge import Codec

PACKAGES = ("sedd_jax", "tokenizer_bridge", "configs", "launch")
PAGES = ["README.md", *(f"{p}/README.md" for p in PACKAGES), "tokenizer_bridge/fad/README.md"]
CLIP = ROOT / "tokenizer_bridge/assets/clips/legacy__track4.ogg"
MOST_LINES = 200

_START = re.compile(r"python -m [\w.]+|bash [\w./]+")
_SPAN = re.compile(r"`([^`]+)`")
_FENCE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^()\s]+)\)|(?:src|href)=\"([^\"]+)\"")
_FILE = re.compile(rf"(?<![\w/.~-])(?:{'|'.join(PACKAGES)}|tests)/[\w./{{}},-]*")


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def command_lines(text: str) -> tuple[list[str], list[str]]:
    """(whole command lines, those inside sentences, which may leave arguments out) of a page."""
    # Continued lines are joined, and Python is no shell.
    text = re.sub(r"\s*\\\n\s*", " ", _FENCE.sub("", text))
    lines = [line for line in text.splitlines() if re.match("    |python -m |bash ", line)]
    spans = [" ".join(span.split()) for span in _SPAN.findall(text)]

    def starts(line: str) -> list[str]:
        """A line starts several, as in bash launch/xla_flags.sh gpu python -m sedd_jax.train."""
        line = re.sub(r"\s#\s.*", "", line)
        return [line[match.start() :] for match in _START.finditer(line)]

    return [c for line in lines for c in starts(line)], [c for span in spans for c in starts(span)]


def check_command(command: str, whole: bool) -> None:
    """Raises, with the line, when the command would refuse it, whatever files there are.

    Of one that is not whole only the names of its arguments are checked.
    """
    words = shlex.split(command)
    name, given = (words[2], words[3:]) if words[0] == "python" else (words[1], words[2:])
    # What comes then is another program's, or another command.
    given = [*takewhile(lambda word: word not in ("--", "&&", "python", "bash"), given)]
    names = {word.partition("=")[0] for word in given if word.startswith("--")}
    if words[0] == "bash":
        script = read(name)
        opening = "\n".join(takewhile(lambda line: line.startswith("#"), script.splitlines()))
        known = {*re.findall(r"--\w+", opening), "--help"}
        assert names <= known, f"{command}: {name} has no {names - known}"
        return
    assert find_spec(name), f"{command}: there is no {name}"
    module = import_module(name)
    if not hasattr(module, "make_parser"):
        return
    parser = module.make_parser()
    has_config = "--print_config" in parser._option_string_actions
    given, keys = config_arguments.split(given) if has_config else (given, {})
    names = {name for name in names if not (has_config and name.startswith("--config."))}
    unknown = names - {*parser._option_string_actions}
    assert not unknown, f"{command}: {name} has no {unknown}"
    if not whole or "…" in given or any(word.startswith("--print_config") for word in given):
        return
    try:
        arguments = parser.parse_args(given)
        # A file of the reader's is not there.
        if has_config and not re.match("[A-Z]", arguments.config or "X"):
            config_arguments.load(arguments.config, keys)
    except UserError as error:
        pytest.fail(f"{command}: {error}")


def anchors(page: Path) -> set[str]:
    """The names of a page's headings in links, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def expand(path: str) -> list[str]:
    """a/{b,c} as a shell reads it: a/b and a/c."""
    parts = re.split(r"\{([^}]*)\}", path)
    choices = [part.split(",") if i % 2 else [part] for i, part in enumerate(parts)]
    return ["".join(chosen) for chosen in product(*choices)]


@pytest.mark.parametrize("page", PAGES)
def test_command_lines_parse(page):
    whole, parts = command_lines(read(page))
    assert whole
    for command in whole:
        check_command(command, whole=True)
    for command in parts:
        check_command(command, whole=False)


@pytest.mark.parametrize(("command", "message"), [
    ("python -m sedd_jax.sample --workdir=RUN --num_sample=3 --output=NEW", "has no .*num_sample"),
    ("python -m sedd_jax.sample --workdir=RUN --steps=many", "steps"),
    ("python -m sedd_jax.train --config=demi --workdir=RUN", "no config of that name"),
    ("python -m sedd_jax.train --config=demo --workdir=RUN --config.optim.rate=1", "unknown"),
    ("python -m tokenizer_bridge.recode --audio=MUSIC", "there is no"),
    ("bash launch/tpu_vm.sh --nome=x -- --config.seed=1", "has no .*nome"),
    ("bash launch/xla_flags.sh gpu python -m sedd_jax.train --config=demo", "--workdir"),
])  # fmt: skip
def test_what_a_command_refuses_is_found(command, message):
    whole, _ = command_lines(f"Type\n\n    {command}\n\nand wait.")
    with pytest.raises((AssertionError, pytest.fail.Exception), match=message):
        for line in whole:
            check_command(line, whole=True)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    links = [target or source for target, source in _LINK.findall(read(page))]
    for link in links:
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert target.exists(), f"{page}: {link}: no such file"
        assert not anchor or anchor in anchors(target), f"{page}: {link}: no such heading"


@pytest.mark.parametrize("page", PAGES)
def test_named_files_are_there(page):
    for named in _FILE.findall(read(page)):
        for path in expand(named):
            assert (ROOT / path.rstrip(".,-")).exists(), f"{page} names {path}"


@pytest.mark.parametrize("package", [*PACKAGES, "tokenizer_bridge/fad"])
def test_a_page_names_every_room(package):
    text = read(f"{package}/README.md")
    for room in (ROOT / package).iterdir():
        if room.suffix in (".py", ".sh") or [*room.glob("*.py")]:
            assert room.stem in text or room.stem == "__init__", f"{package}: where is {room.name}?"


def test_the_first_page_is_short():
    assert len(read("README.md").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("page", PAGES)
def test_python_is_python(page):
    for code in _FENCE.findall(read(page)):
        compile(code, page, "exec")


def test_the_example_runs(tmp_path):
    (code,) = _FENCE.findall(read("README.md"))
    codec = Codec.load("demo")
    tokens = write_dataset(tmp_path / "tokens")
    toy_run.write_run(tmp_path / "run", tokens, codec=vars(codec.info))
    audio_T, rate = soundfile.read(CLIP, frames=24_000)
    soundfile.write(tmp_path / "song.wav", audio_T, rate)
    for name, ours in {"RUN": "run", "new.wav": "new.wav", "song.mp3": "song.wav"}.items():
        assert f'"{name}"' in code
        code = code.replace(f'"{name}"', repr(str(tmp_path / ours)))
    names: dict = {}
    exec(code, names)
    samples, length = 4, names["model"].length
    assert names["tokens"].shape == (samples, length)
    assert names["scores"].shape == (samples, length, codec.codebook_size + 1)
    assert names["audio"].shape == (samples, length * codec.hop_length)
    assert soundfile.info(tmp_path / "new.wav").frames == length * codec.hop_length
    assert len(names["codes"]) == pytest.approx(codec.token_rate, abs=1)
