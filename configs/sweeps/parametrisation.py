"""Parametrisation × seed: 9 trainings.

    python -m launch.sweep --config=configs/sweeps/parametrisation.py --tokens=TOKENS --workdir=DIR

Trains the paper's small model 9 times for 20,000 steps: a job for a cluster (`--slurm`, `--gke`),
each run on 8 GPUs or TPU chips. On a CPU take a smaller model by name,
`--config=configs/sweeps/parametrisation.py:quickstart`: 9 times a few minutes on 2 cores.
What to expect: bounds of one and the same kind, in bits per token, so they compare. Runs of a seed
see the same tokens at the same times and are validated on the same noise, so compare them seed by
seed. sedd_jax/README.md has a small measurement, which `masked` and `conditional` win; in the first
few hundred steps seeds differ by more.
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
    # The seeds first, so that a sweep that was stopped has compared some of them.
    return product(
        {"seed": range(3), "loss.type": ["score_entropy", "conditional", "masked"]},
    )
