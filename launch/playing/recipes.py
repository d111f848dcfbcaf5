"""The making of pieces, step by step, and the commands that make the same pieces again."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from launch.changes import Change
from launch.playing.wishes import NUM_PIECES, Wish
from tokenizer_bridge.token_dataset.files import safe_file_stems


@dataclass(frozen=True)
class New:
    """Pieces made from nothing."""

    wish: Wish


@dataclass(frozen=True)
class Upload:
    """A recording of the reader's. name: of its file."""

    name: str


@dataclass(frozen=True)
class Changed:
    """Pieces made of another one. index: of that piece, from 0, among those of its recipe.

    of_recording: whether it was given as audio and not as tokens.
    """

    recipe: "Recipe"
    index: int
    change: Change
    wish: Wish
    of_recording: bool


Recipe = New | Upload | Changed


@dataclass(frozen=True)
class Source:
    """The model as commands name it. codec_dir: the codec's own folder, None for a known codec."""

    workdir: str
    step: int | None = None
    codec_dir: str | None = None

    @property
    def arguments(self) -> list[str]:
        """The arguments that name the model."""
        step = [] if self.step is None else [f"--step={self.step}"]
        return [f"--workdir={self.workdir}", *step]

    @property
    def codec_arguments(self) -> list[str]:
        """Those that name the codec, of commands that decode."""
        return [f"--codec_dir={self.codec_dir}"] if self.codec_dir else []


@dataclass(frozen=True)
class _Made:
    """Commands, and where their results lie: tokens and audio files, "" for none, and the name that
    stands before the index of each."""

    commands: list[str]
    tokens: str
    audio: str
    name: str

    def track(self, index: int) -> str:
        return f"{self.name}-{index:05d}" if self.commands else self.name


def script(source: Source, recipe: New | Changed, index: int) -> str:
    """A shell script that makes the pieces of a recipe again, and says which of them is meant.

    index: of the piece, from 0.
    """
    made = _made(source, recipe)
    audio, commands = made.audio, list(made.commands)
    if not audio:
        audio = "WAVS"
        commands.append(
            _command("tokenizer_bridge.decode", f"--tokens={made.tokens}", f"--output={audio}",
                     *source.codec_arguments)
        )  # fmt: skip
    (stem,) = safe_file_stems([made.track(index)])
    what = f"# Makes {NUM_PIECES} pieces again; this one is {audio}/{stem}.wav."
    return "\n".join(["#!/usr/bin/env bash", what, "set -e", *commands]) + "\n"


def _made(source: Source, recipe: Recipe) -> _Made:
    if isinstance(recipe, Upload):
        return _Made([], "", "", recipe.name)
    wish = recipe.wish
    asked = [f"--seed={wish.seed}", f"--sampler={wish.sampler}", f"--steps={wish.steps}"]
    if wish.tags:
        asked += [f"--tags={','.join(wish.tags)}", f"--guidance={wish.guidance!r}"]
    asked += [f"--temperature={wish.temperature!r}"] if wish.temperature != 1 else []
    asked += [f"--top_p={wish.top_p!r}"] if wish.top_p != 1 else []
    asked.append(f"--batch_size={NUM_PIECES}")
    if isinstance(recipe, New):
        command = _command(
            "sedd_jax.sample", *source.arguments, f"--num_samples={NUM_PIECES}", *asked,
            f"--length={wish.length}", "--output=PIECES",
        )  # fmt: skip
        return _Made([command], "PIECES", "", "sample")
    before = _made(source, recipe.recipe)
    track = before.track(recipe.index)
    output = f"EDITS_{len(before.commands) + isinstance(_root(recipe), Upload)}"
    if not recipe.of_recording:
        song = [f"--tokens={before.tokens}", f"--track={track}"]
    else:
        if before.audio:  # whose files may have been named a little differently
            track = f"{safe_file_stems([track])[0]}.wav"
        song = [f"--audio={PurePath(before.audio, track)}"]
    command = _command(
        "launch.edit", *source.arguments, *song, recipe.change.argument,
        f"--variations={NUM_PIECES}", *asked, f"--output={output}",
        *(source.codec_arguments if recipe.of_recording else []),
    )  # fmt: skip
    name = f"{PurePath(track).stem}-{recipe.change.mode}"
    audio = output if recipe.of_recording else ""
    return _Made([*before.commands, command], f"{output}/tokens", audio, name)


def _root(recipe: Recipe) -> Recipe:
    return _root(recipe.recipe) if isinstance(recipe, Changed) else recipe


def _command(module: str, *arguments: str, width: int = 88) -> str:
    """A command in lines that a shell joins again."""
    words: Sequence[str] = ["python", "-m", module, *map(shlex.quote, arguments)]
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append("   ")
        lines[-1] += f" {word}" if lines[-1] else word
    return " \\\n".join(lines)
