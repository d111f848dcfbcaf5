"""Graph × noise: 4 trainings.

    python -m launch.sweep --config=configs/sweeps/graph_noise.py --tokens=TOKENS --workdir=DIR

Trains the paper's small model 4 times for 20,000 steps: a job for a cluster (`--slurm`, `--gke`),
each run on 8 GPUs or TPU chips. On a CPU take a smaller model by name,
`--config=configs/sweeps/graph_noise.py:quickstart`: 4 times a few minutes on 2 cores.
What to expect: bounds of four processes on the same tokens, in bits per token, so they compare.
Absorbing with log-linear noise is the paper's choice for music; uniform is published with geometric
noise. Absorbing with geometric noise is legal but odd: with sigma from 1e-4 to 20, half of the
training time sees under 5% of the tokens masked. All four start near uniform codes, at about 8
nats (11.5 bits) a token for 4,096 of them: the offset of `model.scale_by_sigma` is the absorbing
graph's, and left out under the uniform one. Uniform learns more slowly at first. Measured on a toy
of 256 codes, each followed by one of 8 (unigram 7.80 bits, the chain itself 2.46), with 2 blocks of
width 64, length 64, batch 32, after 400 steps:

                 log-linear   geometric
    absorbing      6.58         5.98
    uniform        7.81         7.73
"""

from collections.abc import Iterator

from ml_collections import ConfigDict

from configs.sweeps.grid import Overrides, base_config, product


def get_config(base: str = "music_small") -> ConfigDict:
    config = base_config(base)
    config.training.num_steps = min(config.training.num_steps, 20_000)
    return config


def sweep(base: str = "music_small") -> Iterator[Overrides]:
    del base
    return product(
        {"graph.type": ["absorbing", "uniform"], "noise.type": ["loglinear", "geometric"]}
    )
