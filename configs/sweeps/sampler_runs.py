r"""Models × samplers × evaluations: which model suits few evaluations, such as which `loss.type`.

    python -m launch.sweep --config=configs/sweeps/sampler_runs.py:RUN,RUN,RUN \
        --config.real=TOKENS --config.tags_from=TOKENS --config.reference=MUSIC \
        --config.judge=AR_RUN --metric=judge_bits_per_token --workdir=DIR

Every RUN is the folder of a trained run or of an exported model, or `demo`; all are of the codec of
TOKENS, and what the other flags mean, configs/sweeps/samplers.py tells. 64 samples a set, the best
and the paper's sampler at 8, 16 and 32 evaluations. `--config.num_samples=16` is the fewest that
config.reference takes. The sampler "spread" is for the absorbing graph.
"""

from collections.abc import Iterator

from ml_collections import ConfigDict

from configs.sweeps.grid import Overrides, product
from launch.sweeping.sampling import default_config
from sedd_jax.errors import UserError

COMMAND = "sample"


def get_config(runs: str = "") -> ConfigDict:
    """runs: their names, separated by commas. Raises UserError when there are none."""
    config = default_config()
    config.num_samples = 64
    config.run = _names(runs)[0]
    return config


def sweep(runs: str = "") -> Iterator[Overrides]:
    # The evaluations first, so that a sweep that was stopped has compared all models at some.
    return product(evaluations=(16, 8, 32), sampler=("spread", "euler"), run=_names(runs))


def _names(runs: str) -> list[str]:
    names = [name for name in runs.split(",") if name]
    if not names:
        raise UserError("no models are named: --config=configs/sweeps/sampler_runs.py:RUN,RUN")
    return list(dict.fromkeys(names))
