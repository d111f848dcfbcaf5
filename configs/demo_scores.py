"""The model that comes with the project: tunes rendered from scores, steered by tags.

    python -m tokenizer_bridge.render_scores --output=CORPUS --hours=60
    python -m tokenizer_bridge.encode --audio=CORPUS --tags=CORPUS/tags.csv --codec=demo-scores \
        --output=TOKENS
    python -m sedd_jax.train --config=configs/demo_scores.py --tokens=TOKENS --workdir=RUN

Windows of 1,024 tokens (26 s of music at 40 tokens/s), 1,024 codes, 12.6 M parameters:
small enough that eight pieces of half the length take under a minute on two CPU cores.
What to expect: on one H200, 25 steps a second. The shipped weights come from step 8,131, after
325 s, trained on two corpora together (20 hours of seed 0 and 40 of seed 1, 8.0 M tokens): 1.47 ±
0.09 bits per token on the held-out pieces of the first (95% interval, 59 tunes), where a bigram
pays 2.56. The bound was still falling, and tags still acted weakly (a piece in the asked instrument
in 31% of 64 pieces), with config.optim.condition_rate at 1 and no rows of high noise. Trained on
from there by configs/demo_scores_tags.py, the shipped weights follow their tags, at 1.48 bits.
"""

from ml_collections import ConfigDict

from configs import music_small


def get_config() -> ConfigDict:
    config = music_small.get_config()
    config.model.update(num_blocks=8, width=320, num_heads=5, cond_dim=128, length=1_024)
    config.conditioning.categories = ("instrument", "genre", "key", "mode", "metre", "tempo")
    config.optim.update(learning_rate=1e-3, warmup_steps=500)
    config.training.update(batch_size=64, num_steps=12_000, ema_decay=0.9995, log_every=50)
    config.evaluation.update(every=500, num_batches=4)
    config.checkpoint.update(every=1_000, keep_last=1, keep_every=3_000)
    config.sampling.update(batch_size=8)
    return config
