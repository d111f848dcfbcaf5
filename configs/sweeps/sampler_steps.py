"""Steps × seed on one checkpoint: 24 sets of samples.

    python -m launch.sweep --config=configs/sweeps/sampler_steps.py \
        --config.run=RUN --workdir=DIR

RUN is the folder of a trained run. 32 samples a set: minutes a set on one GPU or TPU chip. On a CPU
take `--config=configs/sweeps/sampler_steps.py:tiny`, 6 sets of 4 samples with up to 64 steps.
What to expect: seconds per sample grow in proportion to the steps. `bigram_bits_per_token` should
near that of real tracks (the dotted line) as steps are added; the interesting place is where more
steps no longer change it. Below the dotted line is no better: samples that repeat themselves are
there, and show in `--report --metric=entropy_bits`.
The sampler is euler, the paper's; configs/sweeps/samplers.py compares spread and others with it.
analytic is another one only for a run with geometric noise or the uniform graph: there, give the
command again with `--config.sampler=analytic` and another --workdir.
"""

from collections.abc import Iterator

from ml_collections import ConfigDict

from configs.sweeps.grid import Overrides, product
from launch.sweeping.sampling import default_config
from sedd_jax.errors import UserError

COMMAND = "sample"
SIZES = {
    "full": (32, (8, 16, 32, 64, 128, 256, 512, 1024), 3),  # samples, steps, seeds
    "tiny": (4, (4, 16, 64), 2),
}


def get_config(size: str = "full") -> ConfigDict:
    if size not in SIZES:
        raise UserError(f"the sweep has no size {size!r}; it has {', '.join(SIZES)}")
    config = default_config()
    config.num_samples = SIZES[size][0]
    return config


def sweep(size: str = "full") -> Iterator[Overrides]:
    _, steps, num_seeds = SIZES[size]
    return product(steps=steps, seed=range(num_seeds))
