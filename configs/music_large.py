"""A model for pods: 1.3 B parameters, beyond the paper's sizes.

    python -m sedd_jax.train --config=configs/music_large.py --tokens=TOKENS --workdir=RUN

24 blocks of width 2,048 with heads of 128, the width of a TPU's matrix unit. 512 windows of 1,024
tokens a step. Four fp32 copies of the parameters (weights, two Adam moments, EMA) take 21 GB, split
over all chips of a slice (`mesh.fsdp`); slices are data-parallel. Hardware: 64 TPU v5p, 16 H100 or
more. Blocks are computed anew in the backward pass (`model.remat`).
What to expect: memory, time a step and MFU bound are in launch/README.md. The learning rate is
the paper's for its smaller models, halved; nobody has tuned it.
"""

from ml_collections import ConfigDict

from configs import music_medium


def get_config() -> ConfigDict:
    config = music_medium.get_config()
    config.model.update(width=2048, num_heads=16, cond_dim=256, remat="block")
    config.optim.learning_rate = 1.5e-4
    config.training.batch_size = 512
    return config
