"""The quickstart's training from the shipped weights: about two minutes on 2 cores.

    python -m sedd_jax.train --config=configs/quickstart_tuned.py --init_from=demo \
        --tokens=TOKENS --workdir=RUN

TOKENS are of the codec demo-scores, which the shipped model knows, and which suits music like what
it has learnt from: a few voices on instruments that decay. Windows of 256 tokens (6.4 s), small
batches and a high learning rate for many updates in little time; an EMA short enough for so few.
"""

from ml_collections import ConfigDict

from configs import demo_scores


def get_config() -> ConfigDict:
    config = demo_scores.get_config()
    config.model.length = 256
    config.conditioning.categories = ()
    config.optim.update(learning_rate=5e-4, warmup_steps=10)
    config.training.update(batch_size=4, num_steps=160, ema_decay=0.9, log_every=10)
    config.evaluation.update(every=40, num_batches=4)
    config.checkpoint.update(every=40, keep_last=1, keep_every=0)
    return config
