"""Tab completion of `sedd-music` in bash and zsh, by argcomplete.

    eval "$(register-python-argcomplete sedd-music)"

The shell then asks sedd-music at each press of the key: for commands, for the arguments of one, for
values where there is a choice (else for paths) and, after --config., for keys.
"""

import os
from argparse import ArgumentParser
from collections.abc import Mapping
from importlib import import_module

import argcomplete
from argcomplete.lexers import split_line

from tokenizer_bridge.token_dataset.command import Parser

_START = "_ARGCOMPLETE"  # where the shell says at which word, from 1, the program's words begin


def complete(modules: Mapping[str, str]) -> None:
    """Answers the shell, and ends the process. modules: name of each command → its module."""
    _, word, _, words, _ = split_line(os.environ["COMP_LINE"], int(os.environ["COMP_POINT"]))
    if len(words) > 1 and words[1] in modules:
        os.environ[_START] = str(int(os.environ[_START]) + 1)
        argcomplete.autocomplete(parser_of(modules[words[1]], word))
    commands = ArgumentParser(add_help=False)
    commands.add_argument("command", choices=[*modules])
    argcomplete.autocomplete(commands)


def parser_of(module: str, word: str) -> Parser:
    """The parser of a command, prepared for the completion of a word that begins like `word`."""
    parser: Parser = import_module(module).make_parser()
    has_config = any("--print_config" in action.option_strings for action in parser._actions)
    if has_config and word.startswith("--config."):
        from sedd_jax.config_keys import KEYS

        for key, known in KEYS.items():
            choices = ("true", "false") if known.type is bool else known.choices
            parser.add_argument(f"--config.{key}", choices=choices or None)
    return parser
