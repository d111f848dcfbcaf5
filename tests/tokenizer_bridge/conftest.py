"""A toy codec in a folder, and the commands run as a user runs them."""

import contextlib
import multiprocessing
import os
import resource
import runpy
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest
import safetensors.torch
import soundfile
import torch

from tests.tokenizer_bridge.tiny_codec import NETWORKS, write_yaml
from tests.tokenizer_bridge.toy_songs import music
from tokenizer_bridge.wavtokenizer.config import WavTokenizerConfig
from tokenizer_bridge.wavtokenizer.network import WavTokenizer


@dataclass(frozen=True)
class Outcome:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def codec():
    """A WavTokenizer of toy size whose codes vary with the audio: 3,000 tokens/s, 16 codes."""
    torch.manual_seed(0)
    codec = WavTokenizer(WavTokenizerConfig.from_dict(NETWORKS)).eval()
    with torch.no_grad():
        z_LxC = codec.encoder_output(0.1 * torch.randn(1, 24_000))[0].T
        codec.quantizer.codebook.embed.copy_(z_LxC[:: len(z_LxC) // 16][:16])
    return codec


@pytest.fixture(scope="session")
def codec_dir(codec, tmp_path_factory):
    """The toy codec as a user would lay it out."""
    folder = tmp_path_factory.mktemp("codec")
    write_yaml(folder / "config.yaml")
    safetensors.torch.save_file(codec.state_dict(), folder / "model.safetensors")
    return folder


@pytest.fixture
def songs(tmp_path):
    """Nine tracks of three artists, 0.3 to 2.7 s, the longer ones in several windows."""
    for index in range(9):
        path = tmp_path / f"songs/artist{index % 3}/song{index}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, music(0.3 * (index + 1), index), 24000)
    return tmp_path / "songs"


@pytest.fixture(scope="session")
def run_command(tmp_path_factory):
    """Runs a command in a process of its own: `run_command(module, *arguments)` -> Outcome."""
    return CommandRunner(tmp_path_factory.mktemp("command"))


class CommandRunner:
    """Forks each command from a server that has imported torch already, which takes seconds."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._context = multiprocessing.get_context("forkserver")
        modules = ["tokenizer_bridge.encoding.workers", "tokenizer_bridge.decoding"]
        self._context.set_forkserver_preload(modules)

    def start(
        self,
        module: str,
        *arguments: str,
        max_file_bytes: int | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
    ):
        """The process of a command that has just been started."""
        argv = [module, *map(str, arguments)]
        process = self._context.Process(
            target=_run, args=(module, argv, self._folder, max_file_bytes, dict(environment))
        )
        process.start()
        return process

    def __call__(self, module: str, *arguments: str, **options) -> Outcome:
        process = self.start(module, *arguments, **options)
        process.join()
        texts = [(self._folder / name).read_text() for name in ("out", "err")]
        return Outcome(process.exitcode, *texts)


def _run(module, argv, folder, max_file_bytes, environment) -> None:
    os.environ |= environment
    if max_file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, max_file_bytes))
    sys.argv = argv
    with (
        open(folder / "out", "w") as out,
        open(folder / "err", "w") as err,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        runpy.run_module(module, run_name="__main__")
