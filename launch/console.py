"""All commands under one name: `sedd-music train …` is `python -m sedd_jax.train …`.

`sedd-music -h` lists them. A command is imported when it is asked for, since JAX and PyTorch take
seconds to load; its line in the list is the first of its module's docstring.
"""

import difflib
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from sedd_jax import __version__
from tokenizer_bridge.token_dataset.command import run_command
from tokenizer_bridge.token_dataset.errors import UserError

NAME = "sedd-music"
# Heading → name of a command → its module.
COMMANDS = {
    "Model": {
        "train": "sedd_jax.train",
        "evaluate": "sedd_jax.evaluate",
        "sample": "sedd_jax.sample",
        "edit": "launch.edit",
        "export": "sedd_jax.weights.export",
        "import-weights": "sedd_jax.import_weights",
    },
    "Audio and tokens": {
        "encode": "tokenizer_bridge.encode",
        "decode": "tokenizer_bridge.decode",
        "decode-edits": "tokenizer_bridge.decode_edits",
        "inspect": "tokenizer_bridge.inspect",
        "files-used": "launch.files_used",
        "split-music": "launch.split_music",
        "render-scores": "tokenizer_bridge.render_scores",
    },
    "Listen and measure": {
        "page": "launch.page",
        "app": "launch.app",
        "report": "tokenizer_bridge.report",
        "measure-samples": "launch.measure_samples",
        "measure-gaps": "launch.measure_gaps",
        "measure-edits": "launch.measure_edits",
        "measure-seams": "launch.measure_seams",
        "measure-notes": "tokenizer_bridge.measure_notes",
        "judge-tags": "tokenizer_bridge.judge_tags",
        "judge-guidance": "launch.judge_tags",
    },
    "Codecs and embeddings": {
        "train-codec": "tokenizer_bridge.train_codec",
        "evaluate-codec": "tokenizer_bridge.evaluate_codec",
        "convert-checkpoint": "tokenizer_bridge.convert_checkpoint",
        "convert-musicnn": "tokenizer_bridge.fad.convert_musicnn",
        "check-embedding": "tokenizer_bridge.fad.sanity",
    },
    "Machines": {
        "sweep": "launch.sweep",
        "compile-check": "launch.compile_check",
        "benchmark": "launch.benchmark",
        "soak": "launch.soak",
        "gke-train": "launch.gke_jobset",
        "gke-encode": "launch.gke_encode",
    },
}
_MODULES = {name: module for group in COMMANDS.values() for name, module in group.items()}


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command that the first word names; exits as `python -m` of its module does."""
    if "_ARGCOMPLETE" in os.environ:  # the shell asks how a word goes on
        from launch.completion import complete

        complete(_MODULES)
    words = list(sys.argv[1:] if argv is None else argv)
    run_command(lambda: _run(words))


def summary(module: str) -> str:
    """The first line of a module's docstring, read from its file without importing it."""
    file = Path(__file__).parents[1] / f"{module.replace('.', '/')}.py"
    with file.open(encoding="utf-8") as lines:
        return next(lines).lstrip("r").strip('"\n')


def _run(words: list[str]) -> int | None:
    first, *rest = words or ["--help"]
    if first in ("-h", "--help"):
        print(_help())
        return None
    if first == "--version":
        print(f"{NAME} {__version__}")
        return None
    name = first.replace("_", "-")
    if name not in _MODULES:
        near = difflib.get_close_matches(name, _MODULES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"{NAME} -h lists those that there are"
        raise UserError(f"there is no command {first}; {hint}")
    sys.argv = [f"{NAME} {name}", *rest]  # argparse's usage line begins with the first
    return import_module(_MODULES[name]).main()


def _help() -> str:
    width = max(map(len, _MODULES))
    lines = [
        f"usage: {NAME} COMMAND [--argument=VALUE …]",
        "",
        "New music by discrete diffusion over tokens.",
        f"{NAME} COMMAND -h shows the arguments of a command.",
    ]
    for heading, group in COMMANDS.items():
        lines += ["", f"{heading}:"]
        lines += [f"  {name:{width}}  {summary(module)}" for name, module in group.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
