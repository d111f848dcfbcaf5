"""A small model for a CPU: about half an hour of training on 2 cores.

    python -m sedd_jax.train --config=configs/demo.py --tokens=TOKENS --workdir=RUN

Windows of 512 tokens (7 s of music at 75 tokens/s). Everything else is as in the paper's run, but
for a higher learning rate and a shorter EMA, which suit so few steps.
Two samples are drawn and decoded every 250 steps: they are in TensorBoard and in RUN/samples.
What to expect: with 19 tracks by one composer (169 min, 762,000 tokens of the demo codec), the
bound on 3 held-out tracks was 11.63 bits per token after 250 steps, 11.42 after 500, 11.15 after
750 and 10.9 ± 0.4 (95%) at the end; a bigram model had 11.2 and unigrams 12.0.
"""

from ml_collections import ConfigDict

from configs import music_small


def get_config() -> ConfigDict:
    config = music_small.get_config()
    config.model.update(num_blocks=6, width=256, num_heads=8, cond_dim=64, length=512)
    config.optim.update(learning_rate=1e-3, warmup_steps=100)
    config.training.update(batch_size=8, num_steps=1_000, ema_decay=0.995, log_every=10)
    config.evaluation.update(every=250, num_batches=8, samples_every=250, num_samples=2)
    config.checkpoint.update(every=100, keep_last=2, keep_every=0)
    config.sampling.update(batch_size=8)
    return config
