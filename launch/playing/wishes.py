"""Settings of pieces that are asked for, and the command that makes the same pieces again."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sedd_jax.conditions import SEPARATOR, category
from sedd_jax.diffusion.sampler import SAMPLERS
from sedd_jax.errors import UserError

NUM_PIECES = 4  # of one wish
MOST_SEED = 2**32 - 1
MOST_STEPS = 1024
MOST_GUIDANCE = 20.0


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What NUM_PIECES new pieces are to be like. length: tokens of a piece.

    guidance: how much the tags count; without tags it is 1, since there is nothing to count.
    Raises UserError for a number that is out of range.
    """

    length: int
    steps: int
    sampler: str
    seed: int
    tags: tuple[str, ...] = ()
    guidance: float = 1.0

    def __post_init__(self):
        if not self.tags:
            object.__setattr__(self, "guidance", 1.0)
        if not 1 <= self.steps <= MOST_STEPS:
            raise UserError(f"{self.steps} steps: from 1 to {MOST_STEPS:,} can be taken")
        if not 0 <= self.seed <= MOST_SEED:
            raise UserError(f"seed {self.seed}: a whole number from 0 to {MOST_SEED:,} is needed")
        if not 0 <= self.guidance <= MOST_GUIDANCE:
            raise UserError(f"guidance {self.guidance:g}: from 0 to {MOST_GUIDANCE:g} can be had")
        if self.sampler not in SAMPLERS:
            raise UserError(f"there is no sampler {self.sampler!r}")


@dataclass(frozen=True)
class Source:
    """The model as commands name it. codec_dir: the codec's own folder, None for a known codec."""

    workdir: str
    step: int | None = None
    codec_dir: str | None = None

    def sample_command(self, wish: Wish) -> str:
        """The command lines that make the pieces of a wish again, as tokens and as WAV files."""
        words = ["python", "-m", "sedd_jax.sample", f"--workdir={self.workdir}"]
        words += [f"--step={self.step}"] if self.step is not None else []
        words += [f"--num_samples={NUM_PIECES}", f"--seed={wish.seed}", f"--sampler={wish.sampler}"]
        words += [f"--steps={wish.steps}", f"--length={wish.length}"]
        if wish.tags:
            words += [f"--tags={','.join(wish.tags)}", f"--guidance={wish.guidance!r}"]
        words += [f"--batch_size={NUM_PIECES}", "--output=PIECES", "--audio=WAVS"]
        words += [f"--codec_dir={self.codec_dir}"] if self.codec_dir else []
        return _lines(words)


def script(source: Source, wish: Wish, index: int) -> str:
    """A shell script that makes the pieces of a wish again, and says which of them is meant.

    index: of the piece, from 0.
    """
    return (
        "#!/usr/bin/env bash\n"
        f"# Makes {NUM_PIECES} pieces again, in WAVS; this one is WAVS/sample-{index:05d}.wav.\n"
        f"{source.sample_command(wish)}\n"
    )


def by_category(tags: Mapping[str, int]) -> dict[str, list[str]]:
    """Category → its tags' names in order of the alphabet, of `category---name`.

    tags: as `sedd_jax.Model.tags` has them. Tags without a category come last, under "tag".
    """
    names: dict[str, list[str]] = {}
    for tag in sorted(tags):
        if category(tag):
            names.setdefault(category(tag), []).append(tag.partition(SEPARATOR)[2])
    if bare := [tag for tag in sorted(tags) if not category(tag)]:
        names["tag"] = bare
    return names


def tag_of(category: str, name: str, tags: Mapping[str, int]) -> str:
    """The tag of a category and a name from `by_category`."""
    return tag if (tag := f"{category}{SEPARATOR}{name}") in tags else name


def _lines(words: Sequence[str], width: int = 88) -> str:
    """A command in lines that a shell joins again."""
    lines = [""]
    for word in map(shlex.quote, words):
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append("   ")
        lines[-1] += f" {word}" if lines[-1] else word
    return " \\\n".join(lines)
