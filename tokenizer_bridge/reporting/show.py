"""What a page shows beside figures: vectors for its plane, and files to look at and listen to."""

from collections.abc import Mapping, Sequence

import numpy as np

from tokenizer_bridge.audio import read_excerpt
from tokenizer_bridge.fad.clips import Clip
from tokenizer_bridge.fad.embed import EmbeddingSet
from tokenizer_bridge.reporting.page import Heard, Shown
from tokenizer_bridge.reporting.plots import GENERATED, REFERENCE, best_median_worst


def show(
    measurement: Mapping,
    generated_clips: Sequence[Clip],
    generated: EmbeddingSet,
    reference: EmbeddingSet,
    controls: Mapping[str, EmbeddingSet],
) -> Shown:
    """generated_clips: of the files that `measurement` compared; read at their own rate."""
    sets = {REFERENCE: reference, GENERATED: generated, **controls}
    clip_of = {clip.id: clip for clip in reversed(generated_clips)}  # the first of each file
    heard = []
    for rank, entry in best_median_worst(measurement["per_file"]).items():
        clip = clip_of[entry["id"]]
        audio_T, rate = read_excerpt(clip.path, clip.start_s, clip.clip_s)
        heard.append(Heard(rank, entry["id"], entry["fad"], audio_T, rate))
    return Shown({name: _mean_of_clips(vectors) for name, vectors in sets.items()}, heard)


def _mean_of_clips(vectors: EmbeddingSet) -> np.ndarray:
    """(N, D): the mean of each clip's windows."""
    return np.stack([windows_WxD.mean(0) for windows_WxD in vectors.per_clip()])
