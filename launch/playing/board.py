"""Pieces on the page: the board with those of one wish, and the list of earlier ones."""

from collections.abc import Callable, Sequence
from pathlib import Path

from launch.changes import Vary
from launch.listening.captions import tag_label
from launch.playing.pieces import Batch
from launch.playing.recipes import Changed, Upload
from launch.playing.studio import Studio
from tokenizer_bridge.pages.template import render

_TEMPLATES = Path(__file__).parent


def board(batch: Batch, studio: Studio, url: Callable[[Path], str]) -> str:
    """The HTML of a batch's pieces; url: of a file in the studio's folder."""
    return render(_TEMPLATES / "board.html.j2", batch=batch, facts=facts(batch, studio), url=url)


def history(batches: Sequence[Batch], shown: int | None, studio: Studio) -> str:
    """The HTML of the list of batches, the newest first; shown: the number of that on the board."""
    lines = [(batch, facts(batch, studio)) for batch in reversed(batches)]
    return render(_TEMPLATES / "history.html.j2", lines=lines, shown=shown)


def facts(batch: Batch, studio: Studio) -> list[str]:
    """The settings of a batch in a few words each."""
    lasting = f"{batch.pieces[0].seconds:.1f} s"
    if isinstance(batch.recipe, Upload):
        return [lasting]
    wish = batch.recipe.wish
    said = [tag_label(tag) for tag in wish.tags]
    said += [f"guidance {wish.guidance:g}"] if wish.guidance != 1.0 else []
    if isinstance(batch.recipe, Changed) and isinstance(batch.recipe.change, Vary):
        said.append(f"{batch.recipe.change.keep:.0%} kept")
    said += [lasting, f"{wish.steps} steps"]
    said += [f"temperature {wish.temperature:g}"] if wish.temperature != 1 else []
    said += [f"top-p {wish.top_p:g}"] if wish.top_p != 1 else []
    said += [f"{wish.sampler} sampler"] if wish.sampler != studio.default_wish.sampler else []
    return [*said, f"seed {wish.seed}"]
