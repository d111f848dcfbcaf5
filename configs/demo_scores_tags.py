"""Fine-tuning that makes tags steer: two short trainings after `demo_scores`.

    python -m sedd_jax.train --config=configs/demo_scores_tags.py:short --init_from=RUN \
        --tokens=TOKENS --workdir=SHORT
    python -m sedd_jax.train --config=configs/demo_scores_tags.py --init_from=SHORT \
        --tokens=TOKENS --workdir=TAGS

Tags decide what is drawn while nearly all is masked, t near 1; later the tokens that are there tell
the instrument as well. Ordinary training sees that 1 time in 50. Here many rows are drawn there:
first rows of 32 tokens, of which a batch holds many different tracks, then whole windows, which
mend what the short ones cost elsewhere. Only what turns noise level and tags into modulation is
trained, a sixth of the parameters.
"""

from ml_collections import ConfigDict

from configs import demo_scores


def get_config(rows: str = "whole") -> ConfigDict:
    """rows: "short" or "whole", see above. Raises ValueError for another."""
    config = demo_scores.get_config()
    config.optim.warmup_steps = 30
    config.optim.trainable = ("condition", "sigma_map", "adaLN")
    config.training.update(ema_decay=0.99, log_every=25)
    config.checkpoint.update(every=100, keep_last=1, keep_every=0)
    if rows == "short":
        config.model.length = 32
        config.optim.learning_rate = 1e-3
        config.training.update(batch_size=128, num_steps=400)
        config.training.update(high_noise_share=0.75, high_noise_from=0.95)
        config.evaluation.update(every=200, num_batches=2)
    elif rows == "whole":
        config.optim.learning_rate = 3e-4
        config.training.update(batch_size=8, num_steps=300)
        config.training.update(high_noise_share=0.25, high_noise_from=0.9)
        config.evaluation.update(every=200, num_batches=8)
    else:
        raise ValueError(f"rows are short or whole, not {rows!r}")
    return config
