"""Measures of notes: of generated pieces, of real ones, and of what they share."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tqdm import tqdm

from tokenizer_bridge.devices import available_cores
from tokenizer_bridge.notes.comparison import Plan, compare
from tokenizer_bridge.notes.scores import read_scores
from tokenizer_bridge.sources import folder, subset
from tokenizer_bridge.token_dataset.command import naming
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.records import TokenDataset
from tokenizer_bridge.wavtokenizer.registry import load_codec


def measure_notes(
    audio: str,
    reference: str,
    *,
    codec: str | None = None,
    codec_dir: str | None = None,
    tokens: str | None = None,
    generated_tokens: str | None = None,
    notes: Sequence[str] = (),
    clip_s: float = 25.0,
    num_reference: int | None = None,
    seed: int = 0,
    num_workers: int | None = None,
) -> dict[str, Any]:
    """The figures, as the JSON file has them. Arguments are the command's. Raises UserError."""
    with naming("--audio"):
        generated = folder.tracks(audio)
    with naming("--reference"):
        real = folder.tracks(reference)
        if num_reference:
            real = subset(real, num_reference, seed)
    if generated_tokens and not tokens:
        raise UserError("--generated_tokens are looked up in --tokens, which is not given")
    training = TokenDataset(tokens) if tokens else None
    new = TokenDataset(generated_tokens) if generated_tokens else None
    name, network = codec or (training.codec["name"] if training else None), None
    if name:
        network, info = load_codec(name, codec_dir=codec_dir)
        for data in filter(None, (training, new)):
            data.require_codec(vars(info))
    with naming("--notes"):
        scores = read_scores(notes)
    plan = Plan(
        generated=generated,
        reference=real,
        clip_s=clip_s,
        codec=network,
        training=training,
        generated_tokens=new,
        scores=scores,
        num_workers=num_workers or available_cores(),
        seed=seed,
    )
    return compare(plan, bar)


@contextlib.contextmanager
def bar(title: str, total: int, unit: str) -> Iterator[Callable[[], object]]:
    with tqdm(total=total, unit=unit, desc=title, leave=False) as progress:
        yield progress.update
