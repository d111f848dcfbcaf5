"""The model that comes with the project: tunes rendered from scores, steered by tags.

    python -m sedd_jax.train --config=configs/demo_scores.py --config.data.path=TOKENS --workdir=RUN

Windows of 1,024 tokens (26 s of music at 40 tokens/s), a codebook of 1,024 codes, 12 M parameters:
small enough that eight pieces of half the length take under a minute on two CPU cores.
"""

from ml_collections import ConfigDict

from configs import music_small


def get_config() -> ConfigDict:
    config = music_small.get_config()
    config.model.update(num_blocks=8, width=320, num_heads=5, cond_dim=128, length=1_024)
    config.conditioning.categories = ("instrument", "genre", "key", "mode", "metre", "tempo")
    config.optim.update(learning_rate=1e-3, warmup_steps=500)
    config.training.update(batch_size=64, num_steps=12_000, ema_decay=0.999, log_every=50)
    config.evaluation.update(every=500, num_batches=4)
    config.checkpoint.update(every=1_000, keep_last=1, keep_every=2_000)
    config.sampling.update(batch_size=8, steps=64)
    return config
