"""The verdict of an evaluation on a model, in one sentence."""

from collections.abc import Mapping

from sedd_jax.network.choices import AUTOREGRESSIVE
from tokenizer_bridge.token_dataset.intervals import Estimate, interval_name


def verdict(report: Mapping) -> str:
    """The model's bits per token, or the bound on them, against a bigram and unigrams.

    report: as sedd_jax.evaluate writes it. Differences are paired by artist. "Better" is said where
    the whole interval is.
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
    most = "" if is_exact(report) else "at most "
    return (
        f"{said} ({most}{bits['model']:.2f} bits; a bigram {bits['bigram']:.2f}, unigrams "
        f"{bits['unigram']:.2f}; {_measured_on(report)})."
    )


def is_exact(report: Mapping) -> bool:
    """True where the model's figure is no bound: that of an autoregressive model."""
    return report.get("model_type") == AUTOREGRESSIVE


class _Difference:
    """The bits that a baseline pays above the model: `size`, with its interval if there is one."""

    def __init__(self, report: Mapping, name: str):
        above = Estimate.from_json(report["above_model"][name])
        self.size = f"{abs(above.mean):.2f}"
        if above.half_width is not None:
            self.size += f" ± {above.half_width:.2f}"
        self.is_better = above.mean > (above.half_width or 0.0)
        self.side = "below" if above.mean > 0 else "above"  # of the model against the baseline


def _measured_on(report: Mapping) -> str:
    music = "music that it was trained on" if report["split"] == "train" else "held-out music"
    tracks = report["num_tracks"]
    model = Estimate.from_json(report["bits_per_token"]["model"])
    without = "no " if model.half_width is None else ""
    plural = "" if tracks == 1 else "s"
    return f"{tracks:,} track{plural} of {music}; {without}{interval_name(model.num_artists)}"
