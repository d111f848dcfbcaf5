"""Measures generated tokens without listening to them.

    python -m launch.measure_samples --tokens=NEW --workdir=RUN --output=MEASURES.json

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

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from launch.sweeping.sampling import read_meta
from sedd_jax.likelihood import baselines
from sedd_jax.likelihood.held_out import cut_windows
from sedd_jax.sampling.store import SPLIT
from tokenizer_bridge.token_dataset.command import Parser, local_path, run_command
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import write_json_atomically
from tokenizer_bridge.token_dataset.records import TRAIN_SPLIT, TokenDataset

VALIDATION_SPLIT = "validation"


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add(
        "--tokens",
        type=local_path,
        required=True,
        metavar="NEW",
        help="Token dataset of the samples.",
    )
    add(
        "--workdir",
        type=local_path,
        required=True,
        metavar="RUN",
        help="The run that they are from.",
    )
    add("--output", type=local_path, required=True, metavar="JSON", help="File to write.")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = make_parser().parse_args(argv)
    report = measure_samples(arguments.tokens, arguments.workdir)
    write_json_atomically(Path(arguments.output), report)
    for name, value in report["measures"].items():
        real = report["real"]
        compare = f"  (real tracks {real[name]:.5g})" if name in real else ""
        print(f"{name:<24}{'–' if value is None else f'{value:.5g}'}{compare}")


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


if __name__ == "__main__":
    run_command(main)
