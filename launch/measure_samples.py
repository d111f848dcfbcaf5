"""What can be said of generated tokens without listening to them.

    python -m launch.measure_samples --samples=NEW --workdir=RUN --output=MEASURES.json

NEW is what `python -m sedd_jax.sample --workdir=RUN` wrote. The same measures are taken of as many
windows of RUN's validation tracks, if it has so many: good samples are near to them, not below.

    seconds_per_sample       of the sampling itself, compilation left out
    unigram_bits_per_token   cross-entropy under the add-α unigram of the training tracks
    bigram_bits_per_token    the same under their Kneser–Ney bigram
                             (sedd_jax/likelihood/baselines.py): whether neighbours follow each
                             other as in the data; it sees no further
    entropy_bits             of the codes' frequencies, all samples together; biased low by up to
                             log2(codes / tokens) where tokens are few
    distinct_codes           how many codes occur at all
"""

from pathlib import Path

import numpy as np
from absl import flags

from launch.sweeping.sampling import read_meta
from sedd_jax.likelihood import baselines
from sedd_jax.likelihood.held_out import cut_windows
from sedd_jax.sampling.store import SPLIT
from tokenizer_bridge.token_dataset.errors import UserError, run_door
from tokenizer_bridge.token_dataset.files import write_json_atomically
from tokenizer_bridge.token_dataset.records import TokenDataset

TRAIN_SPLIT = "train"
VALIDATION_SPLIT = "validation"

SAMPLES = flags.DEFINE_string("samples", None, "Token dataset of the samples.", required=True)
WORKDIR = flags.DEFINE_string("workdir", None, "The run that they are from.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.", required=True)


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


def main(argv: list[str]) -> None:
    del argv
    samples = TokenDataset(SAMPLES.value)
    meta = read_meta(WORKDIR.value, samples.origin["checkpoint_step"])
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
    report = {"workdir": str(Path(WORKDIR.value).absolute()), "measures": measures, "real": real}
    write_json_atomically(Path(OUTPUT.value), report)
    for name, value in measures.items():
        compare = f"  (real tracks {real[name]:.5g})" if name in real else ""
        print(f"{name:<24}{'–' if value is None else f'{value:.5g}'}{compare}")


if __name__ == "__main__":
    run_door(main)
