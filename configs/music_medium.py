"""SEDD-medium on music tokens: the paper's larger model.

    python -m sedd_jax.train --config=configs/music_medium.py --tokens=TOKENS --workdir=RUN

330 M parameters; data, schedule and batch as in configs/music_small.py. Hardware: 8 GPUs of 80 GB
or 16 TPU chips, and more; the train state is split over all chips of a slice (`mesh.fsdp`), slices
are data-parallel. A batch of 128 rows feeds at most 128 chips: on more, split the blocks too
(`--config.mesh.tensor=2`) or raise `training.batch_size`.
What to expect: memory, time a step and MFU bound on several machines are in launch/README.md;
`python -m launch.compile_check --config=configs/music_medium.py --topology=…` says it for yours.
"""

from ml_collections import ConfigDict

from configs import music_small


def get_config() -> ConfigDict:
    config = music_small.get_config()
    config.model.update(num_blocks=24, width=1024, num_heads=16)
    config.mesh.update(data=1, fsdp=-1)
    return config
