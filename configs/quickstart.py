"""The quickstart's model: a few minutes of training on 2 cores, to see the whole chain work.

    python -m sedd_jax.train --config=configs/quickstart.py --tokens=TOKENS --workdir=RUN

Windows of 256 tokens (3.4 s of music at 75 tokens/s).
What to expect: bits per token on held-out music at the unigram baseline of the same split; samples
that carry the texture of the music but not its form. configs/demo.py is the next size.
"""

from ml_collections import ConfigDict

from configs import music_small


def get_config() -> ConfigDict:
    config = music_small.get_config()
    config.model.update(num_blocks=4, width=192, num_heads=6, cond_dim=64, length=256)
    config.optim.update(learning_rate=1e-3, warmup_steps=20)
    config.training.update(batch_size=16, num_steps=200, ema_decay=0.95, log_every=10)
    config.evaluation.update(every=25, num_batches=4)
    config.checkpoint.update(every=50, keep_last=2, keep_every=0)
    config.sampling.update(batch_size=8)
    return config
