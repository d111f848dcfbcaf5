"""Measures of samples that need no audio, beside those of real tracks."""

from pathlib import Path
from typing import Any

import numpy as np

from launch.sweeping.sampling import read_meta
from sedd_jax.likelihood import baselines
from sedd_jax.likelihood.held_out import cut_windows
from sedd_jax.sampling.store import SPLIT
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.records import TRAIN_SPLIT, TokenDataset

VALIDATION_SPLIT = "validation"


def measure_samples(tokens: str, workdir: str) -> dict[str, Any]:
    """The measures of a token dataset of samples, and those of real tracks where there are any.

    workdir: the run that they are from. Raises UserError.
    """
    samples = TokenDataset(tokens)
    meta = read_meta(workdir, samples.origin["checkpoint_step"])
    data = TokenDataset(meta.config["data"]["path"])
    data.require_codec(samples.codec)
    tracks = [record.tokens for record in data.records(TRAIN_SPLIT)]
    unigram, bigram = baselines.fit(tracks, data.codec["codebook_size"])

    tokens_NxL = np.stack([record.tokens for record in samples.records(SPLIT)])
    measures = {"seconds_per_sample": samples.origin.get("seconds_per_sample")}
    measures |= measure(tokens_NxL, unigram, bigram)
    try:
        windows = cut_windows(data, VALIDATION_SPLIT, tokens_NxL.shape[1])
        windows = windows.take(np.flatnonzero(windows.begin_W == 0))  # of one track each
        if not len(windows):
            raise UserError(f"no track of split {VALIDATION_SPLIT!r} is as long as a sample")
    except UserError as error:
        print(f"no figures of real tracks to compare with: {error}")
        real = {}
    else:
        real = measure(windows.spread(len(tokens_NxL)).tokens_WxL, unigram, bigram)
    return {"workdir": str(Path(workdir).absolute()), "measures": measures, "real": real}


def measure(
    tokens_NxL: np.ndarray, unigram: baselines.Unigram, bigram: baselines.Bigram
) -> dict[str, float]:
    """The measures of tokens alone; tokens_NxL: N windows of L codes."""
    counts_K = np.bincount(tokens_NxL.ravel(), minlength=len(unigram.probs_K))
    share_K = counts_K[counts_K > 0] / tokens_NxL.size
    return {
        "unigram_bits_per_token": float(unigram.bits(tokens_NxL).mean()),
        "bigram_bits_per_token": float(bigram.bits(tokens_NxL).mean()),
        "entropy_bits": float(-(share_K * np.log2(share_K)).sum()),
        "distinct_codes": int((counts_K > 0).sum()),
    }
