"""The settings of a codec's training, with their defaults: known without PyTorch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CodecTrainingConfig:
    """Everything that decides the result. A resumed run must have the same, but for `steps`."""

    steps: int = 8000
    minutes: float | None = None  # of training steps; decides instead of `steps` where given
    batch_size: int = 10
    crop_s: float = 1.0
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    continuous_steps: int = 300  # steps without the quantiser, before the codebook is started
    lloyd_steps: int = 10
    codebook_decay: float = 0.98
    dead_below: float = 0.1  # share of the mean use under which a code is moved
    commitment: float = 0.5
    steadiness: float = 0.1  # penalty on vectors that change where the spectrum does not
    clip_norm: float = 2.0
    ema_decay: float = 0.998  # of the weights that are validated and exported
    seed: int = 0
