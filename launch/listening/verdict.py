"""What an evaluation says of a model, in one sentence."""

from collections.abc import Mapping

from scipy import stats

CONFIDENCE = 0.95


def verdict(report: Mapping) -> str:
    """The model's bound against a bigram and unigrams, in bits per token.

    report: as sedd_jax.evaluate writes it. Differences are paired by track; their intervals are
    Student's for so many tracks. "Better" is said where the whole interval is.
    """
    bigram, unigram = (_Difference(report, name) for name in ("bigram", "unigram"))
    if bigram.is_better and unigram.is_better:
        said = (
            f"Better than a bigram by {bigram.size} bits per token, and than unigrams by "
            f"{unigram.size}"
        )
    elif unigram.is_better:
        said = (
            f"Better than unigrams by {unigram.size} bits per token, but not than a bigram: "
            f"{bigram.size} {bigram.side} it"
        )
    else:
        said = (
            f"Not better than unigrams: {unigram.size} bits per token {unigram.side} them, and "
            f"{bigram.size} {bigram.side} a bigram"
        )
    bits = {name: value["mean"] for name, value in report["bits_per_token"].items()}
    return (
        f"{said} (at most {bits['model']:.2f} bits; a bigram {bits['bigram']:.2f}, unigrams "
        f"{bits['unigram']:.2f}; {_measured_on(report)})."
    )


class _Difference:
    """What a baseline pays above the model: `size`, with its interval where there is one."""

    def __init__(self, report: Mapping, name: str):
        above = report["above_model"][name]
        mean, error, half = above["mean"], above["standard_error"], 0.0
        self.size = f"{abs(mean):.2f}"
        if error is not None:
            half = error * stats.t.ppf(0.5 + CONFIDENCE / 2, report["num_tracks"] - 1)
            self.size += f" ± {half:.2f}"
        self.is_better = mean > half
        self.side = "below" if mean > 0 else "above"  # of the model against the baseline


def _measured_on(report: Mapping) -> str:
    music = "music that it was trained on" if report["split"] == "train" else "held-out music"
    tracks = report["num_tracks"]
    if tracks < 2:
        return f"one track of {music}, so that there is no interval"
    return f"{tracks:,} tracks of {music}, {CONFIDENCE:.0%} intervals"
