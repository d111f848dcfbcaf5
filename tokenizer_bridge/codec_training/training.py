"""Codec training: one deterministic step, and everything needed to go on after a stop."""

import math
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from tokenizer_bridge.codec_training.losses import MultiResolutionLoss
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import atomic_file
from tokenizer_bridge.wavtokenizer.config import WavTokenizerConfig
from tokenizer_bridge.wavtokenizer.network import WavTokenizer
from tokenizer_bridge.wavtokenizer.seanet import WeightNormConv1d


@dataclass(frozen=True)
class CodecTrainingConfig:
    """Everything that decides the result. A resumed run must have the same, but for `steps`."""

    steps: int = 8000
    batch_size: int = 10
    crop_s: float = 1.0
    learning_rate: float = 1e-3
    warmup_steps: int = 200
    continuous_steps: int = 300  # steps without the quantiser, before the codebook is started
    lloyd_steps: int = 4
    codebook_decay: float = 0.99
    dead_below: float = 0.02  # share of the mean use under which a code is moved
    commitment: float = 0.25
    clip_norm: float = 2.0
    seed: int = 0


class CodecTrainer:
    """Network, optimizer and step counter; step k depends on (seed, k) and the state alone.

    Args:
      tracks: mono int16 arrays at the codec's rate, each at least one crop long.
    """

    def __init__(
        self, network: WavTokenizerConfig, config: CodecTrainingConfig, tracks: list[np.ndarray]
    ):
        torch.manual_seed(config.seed)
        self.config, self.tracks, self.step = config, tracks, 0
        self.model = WavTokenizer(network)
        self.loss = MultiResolutionLoss(network.sample_rate)
        self.crop = round(config.crop_s * network.token_rate) * network.hop_length  # samples
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=config.learning_rate, betas=(0.8, 0.99), weight_decay=0.0
        )
        starts = [max(0, len(track) - self.crop + 1) for track in tracks]
        self._last_start = np.cumsum(starts)
        if not tracks or min(starts) == 0:
            raise ValueError("every training track must be at least one crop long")
        self._initialise_encoder()

    def batch(self, step: int, size: int) -> torch.Tensor:
        """Crops (size, T) drawn uniformly over all positions of all tracks, by (seed, step)."""
        rng = np.random.default_rng((self.config.seed, step))
        crops = np.empty((size, self.crop), np.float32)
        for i, position in enumerate(rng.integers(self._last_start[-1], size=size)):
            track = int(np.searchsorted(self._last_start, position, side="right"))
            start = position - (self._last_start[track - 1] if track else 0)
            crops[i] = self.tracks[track][start : start + self.crop] / np.float32(32768)
        crops *= rng.choice([-1.0, 1.0], (size, 1)) * rng.uniform(0.5, 1.0, (size, 1))
        return torch.from_numpy(crops)

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then half a cosine to 1% of the peak."""
        c = self.config
        if step < c.warmup_steps:
            return c.learning_rate * (step + 1) / c.warmup_steps
        share = (step - c.warmup_steps) / max(1, c.steps - c.warmup_steps)
        return c.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, share))))

    def train_step(self) -> dict[str, float]:
        """One update; returns its loss terms."""
        c, model, step = self.config, self.model, self.step
        dropout_seed, codebook_seed = np.random.SeedSequence((c.seed, step)).generate_state(2)
        torch.manual_seed(int(dropout_seed))
        generator = torch.Generator().manual_seed(int(codebook_seed))
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(step)
        model.train()
        if step == c.continuous_steps:
            self._start_codebook(generator)

        audio = self.batch(step, c.batch_size)
        z_BxCxL = model.encoder_output(audio)
        commitment, moved, q_BxCxL = z_BxCxL.new_zeros(()), 0, z_BxCxL
        if step >= c.continuous_steps:
            codes = model.quantizer.encode(z_BxCxL.detach())
            q_BxCxL = model.quantizer.decode(codes)
            commitment = F.mse_loss(z_BxCxL, q_BxCxL)
            rows = z_BxCxL.detach().transpose(1, 2).flatten(0, 1)
            moved = model.quantizer.codebook.update(
                rows, codes.flatten(), c.codebook_decay, c.dead_below, generator
            )
            q_BxCxL = z_BxCxL + (q_BxCxL - z_BxCxL).detach()  # straight through
        # Keeps the scale of z near one: otherwise z outgrows the slowly moving codebook.
        scale = (z_BxCxL.square().mean() - 1).relu().square()
        terms = self.loss(model.synthesise(q_BxCxL), audio)
        total = terms.total + c.commitment * commitment + scale
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), c.clip_norm)
        if not torch.isfinite(norm):
            raise FloatingPointError(f"the gradient is not finite at step {step}")
        self.optimizer.step()
        self.step += 1
        return {
            "loss": total.item(),
            "log_mel": terms.log_mel.item(),
            "convergence": terms.convergence.item(),
            "log_linear": terms.log_linear.item(),
            "commitment": commitment.item(),
            "grad_norm": norm.item(),
            "moved_codes": moved,
        }

    @torch.inference_mode()
    def validate(self, tracks: list[np.ndarray], crops_per_track: int = 8) -> dict[str, float]:
        """Losses and codebook use on crops spread evenly over held-out tracks."""
        model = self.model.eval()
        log_mel, convergence, log_linear, codes = [], [], [], []
        for track in tracks:
            starts = np.linspace(0, len(track) - self.crop, crops_per_track).astype(int)
            crops = np.stack([track[i : i + self.crop] for i in starts])
            audio = torch.from_numpy(crops / np.float32(32768))
            z_BxCxL = model.encoder_output(audio)
            if model.quantizer.codebook.inited:
                codes.append(model.quantizer.encode(z_BxCxL))
                z_BxCxL = model.quantizer.decode(codes[-1])
            terms = self.loss(model.synthesise(z_BxCxL), audio)
            log_mel.append(terms.log_mel.item())
            convergence.append(terms.convergence.item())
            log_linear.append(terms.log_linear.item())
        use = torch.bincount(
            torch.cat([c.flatten() for c in codes]) if codes else torch.zeros(1, dtype=torch.long)
        ).double()
        share = use[use > 0] / use.sum()
        return {
            "log_mel": float(np.mean(log_mel)),
            "convergence": float(np.mean(convergence)),
            "log_linear": float(np.mean(log_linear)),
            "perplexity": float(torch.exp(-(share * share.log()).sum())),
        }

    @torch.no_grad()
    def _initialise_encoder(self) -> None:
        """Gives every convolution of the encoder unit-variance output on the first batch.

        With PyTorch's initial values the signal shrinks by a third from layer to layer, and the
        decoder learns the average spectrum before it notices that its input varies.
        """

        def normalise(module, inputs, output):
            return module.normalise_output(*inputs)

        convolutions = [m for m in self.model.encoder.modules() if isinstance(m, WeightNormConv1d)]
        hooks = [module.register_forward_hook(normalise) for module in convolutions]
        self.model.encoder_output(self.batch(0, 4 * self.config.batch_size))
        for hook in hooks:
            hook.remove()

    @torch.no_grad()
    def _start_codebook(self, generator: torch.Generator) -> None:
        size = self.model.config.codebook_size
        rows: list[torch.Tensor] = []
        block = 0
        while sum(len(r) for r in rows) < 5 * size:  # enough rows for distinct starting points
            block += 1
            z = self.model.encoder_output(self.batch(-block % 2**32, 16))
            rows.append(z.transpose(1, 2).flatten(0, 1))
        codebook = self.model.quantizer.codebook
        codebook.initialise(torch.cat(rows), self.config.lloyd_steps, generator)

    def save(self, path: Path) -> None:
        """Writes the whole state, in one piece or not at all."""
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "training": asdict(self.config),
            "network": asdict(self.model.config),
        }
        with atomic_file(path) as partial:
            torch.save(state, partial)

    def restore(self, path: Path) -> None:
        """Continues from `save`; the number of steps may differ, and with it the learning rate.

        Raises:
          UserError: the state belongs to another configuration, or is damaged.
        """
        try:
            state = torch.load(path, weights_only=True)
        except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
            raise UserError(f"{path}: damaged; remove it to train from the start") from error
        for name, given in (
            ("training", asdict(self.config)),
            ("network", asdict(self.model.config)),
        ):
            for key, value in given.items():
                if key != "steps" and state[name][key] != value:
                    raise UserError(
                        f"{path}: was trained with {key}={state[name][key]}, not {value}; "
                        "use the same settings or another --output"
                    )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]


def export(model: WavTokenizer, path: Path) -> None:
    """Writes the weights as fp16 safetensors, in one piece or not at all.

    The running sums that only training needs go along, so that the file has every key and shape of
    a published one.
    """
    tensors = {
        name: value.half() if value.is_floating_point() else value
        for name, value in model.state_dict().items()
    }
    with atomic_file(path) as partial:
        save_file({name: value.contiguous() for name, value in tensors.items()}, partial)
