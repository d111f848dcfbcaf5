r"""Samplers × evaluations of the network, on one model: which sampler to take, and what it costs.

    python -m launch.sweep --config=configs/sweeps/samplers.py --config.run=demo \
        --config.real=TOKENS --config.tags_from=TOKENS --config.reference=MUSIC \
        --config.judge=AR_RUN --metric=kad_musicnn --workdir=DIR

TOKENS is a token dataset of the model's codec, of which unigram and bigram are fitted and real
tracks measured; MUSIC a folder of held-out music, with which decoded samples are compared; AR_RUN
an autoregressive run, whose bits they cost. All but config.run may be left out, and config.real for
a run whose data is where it was. DIR gets results.csv and results.json with all measures and their
95% intervals (of FAD∞, KAD and the judge's bits), and a plot over evaluations of the metric that is
asked for; `--report --metric=judge_bits_per_token` makes another from what there is.

A run has as many steps as its evaluations allow: euler one less, trapezoidal half as many. entropy
may take fewer (`evaluations_per_sample`). 64 samples a set: minutes a set on one GPU; on a CPU take
`--config=configs/sweeps/samplers.py:small`, 6 sets of 16, the fewest that config.reference takes,
or `:tiny`, 4 sets of 4, without it.
"""

from collections.abc import Iterator

from ml_collections import ConfigDict

from configs.sweeps.grid import Overrides, product
from launch.sweeping.sampling import default_config
from sedd_jax.diffusion.choices import SAMPLERS
from sedd_jax.errors import UserError

COMMAND = "sample"
SIZES = {
    "full": (64, tuple(name for name in SAMPLERS if name != "analytic"), (4, 8, 16, 32, 64, 128)),
    "small": (16, ("euler", "spread"), (8, 16, 128)),
    "tiny": (4, ("euler", "spread"), (4, 8)),
}  # samples, samplers, evaluations


def get_config(size: str = "full") -> ConfigDict:
    if size not in SIZES:
        raise UserError(f"the sweep has no size {size!r}; it has {', '.join(SIZES)}")
    config = default_config()
    config.num_samples = SIZES[size][0]
    return config


def sweep(size: str = "full") -> Iterator[Overrides]:
    _, samplers, evaluations = SIZES[size]
    return product(sampler=samplers, evaluations=evaluations)
