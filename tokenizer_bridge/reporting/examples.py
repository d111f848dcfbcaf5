"""Examples beside a page's figures: vectors for its plane, files to look at and listen to."""

from collections.abc import Mapping, Sequence

import numpy as np

from tokenizer_bridge.audio.read import read_excerpt
from tokenizer_bridge.audio.resample import resample
from tokenizer_bridge.fad.clips import Clip
from tokenizer_bridge.fad.embed import EmbeddingSet
from tokenizer_bridge.reporting.names import GENERATED, REFERENCE
from tokenizer_bridge.reporting.page import ExampleFile, Examples
from tokenizer_bridge.reporting.plots import best_median_worst

# Hz. The highest rate that FLAC takes whatever it is; beyond, there is nothing to be heard.
_MAX_PLAYED_RATE = 65_535
_PLAYED_RATE = 48_000  # of files beyond it


def select_examples(
    measurement: Mapping,
    generated_clips: Sequence[Clip],
    generated: EmbeddingSet,
    reference: EmbeddingSet,
    controls: Mapping[str, EmbeddingSet],
) -> Examples:
    """The examples of one measurement, read at a rate that a page can play.

    generated_clips: of the files that were compared.
    """
    sets = {REFERENCE: reference, GENERATED: generated, **controls}
    clip_of = {clip.id: clip for clip in reversed(generated_clips)}  # the first of each file
    heard = []
    for rank, entry in best_median_worst(measurement["per_file"]).items():
        clip = clip_of[entry["id"]]
        audio_T, rate = read_excerpt(clip.path, clip.start_s, clip.clip_s, silent_ok=True)
        if rate > _MAX_PLAYED_RATE:
            audio_T, rate = resample(audio_T, rate, _PLAYED_RATE), _PLAYED_RATE
        heard.append(ExampleFile(rank, entry["id"], entry["fad"], audio_T, rate))
    return Examples({name: _mean_of_clips(vectors) for name, vectors in sets.items()}, heard)


def _mean_of_clips(vectors: EmbeddingSet) -> np.ndarray:
    """(N, D): the mean of each clip's windows."""
    return np.stack([windows_WxD.mean(0) for windows_WxD in vectors.per_clip()])
