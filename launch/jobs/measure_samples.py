"""Measures of samples that need no audio, beside those of real tracks."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from launch.sweeping.sampling import read_model
from sedd_jax.likelihood import baselines
from sedd_jax.likelihood.held_out import cut_windows
from sedd_jax.sampling.settings import Sampling
from sedd_jax.sampling.store import SPLIT
from sedd_jax.weights import exported
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.records import TRAIN_SPLIT, TokenDataset

VALIDATION_SPLIT = "validation"


def measure_samples(tokens: str, workdir: str, real: str | None = None) -> dict[str, Any]:
    """The measures of a token dataset of samples, and those of real tracks where there are any.

    workdir: the run or exported model that they are from. real: token dataset of the real tracks;
    that of the training by default. Raises UserError.
    """
    samples = TokenDataset(tokens)
    model = read_model(workdir, samples.origin["checkpoint_step"])
    path = real or model.config["data"]["path"]
    if not path:
        raise UserError(f"{workdir} does not say where its data lies: name a token dataset")
    data = TokenDataset(path)
    data.require_codec(samples.codec)
    tracks = [record.tokens for record in data.records(TRAIN_SPLIT)]
    unigram, bigram = baselines.fit(tracks, data.codec["codebook_size"])

    tokens_NxL = np.stack([record.tokens for record in samples.records(SPLIT)])
    measures = {
        "seconds_per_sample": samples.origin.get("seconds_per_sample"),
        "evaluations_per_sample": evaluations(samples.origin),
    }
    measures |= measure(tokens_NxL, unigram, bigram)
    try:
        windows = cut_windows(data, VALIDATION_SPLIT, tokens_NxL.shape[1])
        windows = windows.take(np.flatnonzero(windows.begin_W == 0))  # of one track each
        if not len(windows):
            raise UserError(f"no track of split {VALIDATION_SPLIT!r} is as long as a sample")
    except UserError as error:
        print(f"no figures of real tracks to compare with: {error}")
        real_measures = {}
    else:
        real_measures = measure(windows.spread(len(tokens_NxL)).tokens_WxL, unigram, bigram)
    where = workdir if exported.is_name(workdir) else str(Path(workdir).absolute())
    return {"workdir": where, "measures": measures, "real": real_measures}


def evaluations(origin: Mapping[str, Any]) -> float:
    """The evaluations of the network that a sample took, by what its dataset says of itself."""
    if "evaluations_per_sample" in origin:
        return origin["evaluations_per_sample"]
    settings: dict[str, Any] = {f.name: origin.get(f.name) for f in dataclasses.fields(Sampling)}
    return Sampling(**settings).evaluations


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
