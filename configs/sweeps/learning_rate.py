"""Learning rate × warm-up: 12 trainings.

    python -m launch.sweep --config=configs/sweeps/learning_rate.py --tokens=TOKENS --workdir=DIR

Trains the paper's small model 12 times for 20,000 steps: a job for a cluster (`--slurm`, `--gke`),
each run on 8 GPUs or TPU chips. On a CPU take a smaller model by name,
`--config=configs/sweeps/learning_rate.py:quickstart`: 12 times a few minutes on 2 cores.
What to expect: a heat map of validation bits per token. Where the learning rate is too large, a
longer warm-up helps first and nothing helps later; choose a cell beside the best one, away from
that edge. A run that blows up stops by itself, is reported and leaves its cell out: lines instead.
"""

from collections.abc import Iterator

from ml_collections import ConfigDict

from configs.sweeps.grid import Overrides, base_config, product


def get_config(base: str = "music_small") -> ConfigDict:
    config = base_config(base)
    config.training.num_steps = min(config.training.num_steps, 20_000)
    return config


def sweep(base: str = "music_small") -> Iterator[Overrides]:
    num_steps = get_config(base).training.num_steps
    return product(
        {
            "optim.learning_rate": [1e-4, 3e-4, 1e-3, 3e-3],
            "optim.warmup_steps": [0, num_steps // 100, num_steps // 8],
        }
    )
