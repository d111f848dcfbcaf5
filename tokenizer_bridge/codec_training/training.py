"""Codec training: one deterministic step, and everything needed to go on after a stop."""

import copy
import math
import pickle
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from tokenizer_bridge.audio.windows import spread_starts
from tokenizer_bridge.codec_training.config import CodecTrainingConfig
from tokenizer_bridge.codec_training.losses import MultiResolutionLoss, Reconstruction
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import atomic_file
from tokenizer_bridge.wavtokenizer.config import WavTokenizerConfig
from tokenizer_bridge.wavtokenizer.network import WavTokenizer
from tokenizer_bridge.wavtokenizer.seanet import WeightNormConv1d
from tokenizer_bridge.wavtokenizer.spectral import SpectralEncoder


class CodecTrainer:
    """Network, optimizer and step counter; step k depends on (seed, k) and the state alone.

    With `minutes`, the learning rate follows the time that steps have taken, so that equal minutes
    can be compared; such a run is not deterministic. On a GPU the networks work in bfloat16, the
    spectra, the oscillators and the losses in float32.

    Args:
      tracks: mono int16 arrays at the codec's rate, each at least one crop long.
    """

    def __init__(
        self,
        network: WavTokenizerConfig,
        config: CodecTrainingConfig,
        tracks: list[np.ndarray],
        device: str | torch.device = "cpu",
    ):
        torch.manual_seed(config.seed)
        self.config, self.step, self.seconds = config, 0, 0.0
        self.quantising = False  # whether the codebook has been started
        self.device = torch.device(device)
        self.model = WavTokenizer(network)
        self.loss = MultiResolutionLoss(network.sample_rate).to(self.device)
        self.crop = round(config.crop_s * network.token_rate) * network.hop_length  # samples
        lengths = np.array([len(track) for track in tracks])
        if not tracks or min(lengths) < self.crop:
            raise ValueError("every training track must be at least one crop long")
        self._starts = np.cumsum(lengths) - lengths  # of each track in `audio_N`
        self._last_start = np.cumsum(lengths - self.crop + 1)
        self.audio_N = torch.from_numpy(np.concatenate(tracks)).to(self.device)  # int16
        self.model.to(self.device)
        self._initialise_encoder()
        self.average = copy.deepcopy(self.model).eval()
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=config.learning_rate,
            betas=(0.8, 0.99),
            weight_decay=0.0,
            fused=self.device.type == "cuda",
        )

    def batch(self, step: int, size: int) -> torch.Tensor:
        """Crops (size, T) drawn uniformly over all positions of all tracks, by (seed, step)."""
        rng = np.random.default_rng((self.config.seed, step))
        position_B = rng.integers(self._last_start[-1], size=size)
        track_B = np.searchsorted(self._last_start, position_B, side="right")
        start_B = self._starts[track_B] + position_B - np.r_[0, self._last_start][track_B]
        gain_B = rng.choice([-1.0, 1.0], size) * rng.uniform(0.5, 1.0, size) / 32768
        start_B = torch.from_numpy(start_B).to(self.device)
        gain_B = torch.from_numpy(gain_B.astype(np.float32)).to(self.device)
        index_BxT = start_B[:, None] + torch.arange(self.crop, device=self.device)
        return self.audio_N[index_BxT] * gain_B[:, None]

    @property
    def done(self) -> float:
        """The share of the training that is over, from 0 to 1."""
        if self.config.minutes is not None:
            return min(1.0, self.seconds / (60 * self.config.minutes))
        return self.step / self.config.steps

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then half a cosine to 1% of the peak."""
        c = self.config
        if step < c.warmup_steps:
            return c.learning_rate * (step + 1) / c.warmup_steps
        if c.minutes is not None:
            share = self.done
        else:
            share = min(1.0, (step - c.warmup_steps) / max(1, c.steps - c.warmup_steps))
        return c.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))

    def train_step(self) -> dict[str, torch.Tensor]:
        """One update; returns its loss terms, scalars that stay on the device.

        Raises:
          FloatingPointError: the gradient is not finite (on a GPU: that of one of the last steps).
        """
        begin = time.monotonic()
        c, model, step = self.config, self.model, self.step
        dropout_seed, codebook_seed = np.random.SeedSequence((c.seed, step)).generate_state(2)
        torch.manual_seed(int(dropout_seed))
        generator = torch.Generator().manual_seed(int(codebook_seed))
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(step)
        model.train()
        if not self.quantising and step >= c.continuous_steps:
            self._start_codebook(generator)

        audio = self.batch(step, c.batch_size)
        with self._autocast():
            z_BxCxL = model.encoder_output(audio)
        z_BxCxL = z_BxCxL.float()
        commitment, moved, q_BxCxL = z_BxCxL.new_zeros(()), z_BxCxL.new_zeros(()), z_BxCxL
        if self.quantising:
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
        unsteady = z_BxCxL.new_zeros(())
        if c.steadiness:
            steady_BxL = self.loss.steadiness(audio, model.config.hop_length)
            change_BxL = z_BxCxL.diff(dim=2).square().mean(1)
            unsteady = (steady_BxL[:, : change_BxL.shape[1]] * change_BxL).mean()
        # Oscillators meet every crop at another time, so that no relation of phases is learnt.
        first_B = torch.tensor([int(dropout_seed) % 2**20], device=self.device)
        with self._autocast():
            decoded = model.synthesise(q_BxCxL, first_B)
        terms = self.loss(decoded.float(), audio)
        total = terms.total + c.commitment * commitment + c.steadiness * unsteady + scale
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), c.clip_norm)
        if (self.device.type == "cpu" or step % 50 == 0) and not torch.isfinite(norm):
            raise FloatingPointError(f"the gradient is not finite at step {step}")
        self.optimizer.step()
        self.step += 1
        self._average()
        self.seconds += time.monotonic() - begin
        return {
            "loss": total.detach(),
            "log_mel": terms.log_mel.detach(),
            "convergence": terms.convergence.detach(),
            "log_linear": terms.log_linear.detach(),
            "level": terms.level.detach(),
            "commitment": commitment.detach(),
            "unsteady": unsteady.detach(),
            "grad_norm": norm.detach(),
            "moved_codes": moved,
        }

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda"
        )

    @torch.no_grad()
    def _average(self) -> None:
        """Moves the running average of the weights; the codebook is one already."""
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        own = list(self.model.parameters())
        torch._foreach_lerp_(list(self.average.parameters()), own, 1 - decay)
        self.average.quantizer.load_state_dict(self.model.quantizer.state_dict())

    @torch.inference_mode()
    def validate(self, tracks: list[np.ndarray], crops_per_track: int = 8) -> dict[str, float]:
        """Losses and codebook use on crops spread evenly over held-out tracks."""
        model = self.average
        terms: list[Reconstruction] = []
        codes: list[torch.Tensor] = []
        for track in tracks:
            starts = spread_starts(len(track), self.crop, crops_per_track)
            crops = np.stack([track[i : i + self.crop] for i in starts])
            audio = torch.from_numpy(crops / np.float32(32768)).to(self.device)
            z_BxCxL = model.encoder_output(audio)
            if self.quantising:
                codes.append(model.quantizer.encode(z_BxCxL))
                z_BxCxL = model.quantizer.decode(codes[-1])
            terms.append(self.loss(model.synthesise(z_BxCxL), audio))
        row = {
            name: float(np.mean([getattr(t, name).item() for t in terms]))
            for name in ("log_mel", "convergence", "log_linear", "level")
        }
        use = torch.bincount(
            torch.cat([c.flatten() for c in codes]) if codes else torch.zeros(1, dtype=torch.long)
        ).double()
        share = use[use > 0] / use.sum()
        return row | {"perplexity": float(torch.exp(-(share * share.log()).sum()))}

    @torch.no_grad()
    def _initialise_encoder(self) -> None:
        """Gives the encoder's layers unit-variance output on the first batch, channel by channel.

        With PyTorch's initial values the waveform encoder's signal shrinks by a third from layer to
        layer, and the spectral one's hardly moves about its mean: the decoder learns the average
        spectrum before it notices that its input varies.
        """

        def normalise(module, inputs, output):
            return normalise_output(module, *inputs)

        layers = [m for m in self.model.encoder.modules() if isinstance(m, WeightNormConv1d)]
        if isinstance(self.model.encoder, SpectralEncoder):
            layers = [self.model.encoder.embed, self.model.encoder.out]
        hooks = [module.register_forward_hook(normalise) for module in layers]
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
        per_batch = self.config.batch_size * self.crop / self.model.config.hop_length
        codebook.initialise(
            torch.cat(rows), self.config.lloyd_steps, generator, mean_size=per_batch / size
        )
        self.quantising = True

    def start_from(self, codec: WavTokenizer) -> None:
        """Takes over the weights of a trained codec of the same sizes, its codebook included.

        Raises:
          ValueError: its sizes are others.
        """
        if codec.config != self.model.config:
            raise ValueError("the codec to start from has other sizes")
        for model in (self.model, self.average):
            model.load_state_dict(codec.state_dict())
        self.quantising = True

    def save(self, path: Path) -> None:
        """Writes the whole state, in one piece or not at all."""
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "training": asdict(self.config),
            "network": asdict(self.model.config),
        }
        with atomic_file(path) as partial:
            torch.save(state, partial)

    def restore(self, path: Path) -> None:
        """Continues from `save`; the number of steps or minutes may differ.

        Raises:
          UserError: the state belongs to another configuration, or is damaged.
        """
        try:
            state = torch.load(path, weights_only=True, map_location=self.device)
        except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
            raise UserError(f"{path}: damaged; remove it to train from the start") from error
        for name, given in (
            ("training", asdict(self.config)),
            ("network", asdict(self.model.config)),
        ):
            for key, value in given.items():
                if key not in ("steps", "minutes") and state[name].get(key) != value:
                    raise UserError(
                        f"{path}: was trained with {key}={state[name].get(key)}, not {value}; "
                        "use the same settings or another folder"
                    )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.load_state_dict(state["average"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.quantising = bool(self.model.quantizer.codebook.inited)


def normalise_output(layer: WeightNormConv1d | nn.Linear, x: torch.Tensor) -> torch.Tensor:
    """Sets gain and bias so that every channel of the output for `x` has mean 0 and variance 1.

    Weight norm's own initialisation (Salimans & Kingma 2016, section 3); returns that output.
    """
    y = layer.forward(x)
    over = (0, 2) if isinstance(layer, WeightNormConv1d) else (0, 1)
    scale = 1 / y.std(dim=over).clamp_min(1e-3)
    gain = layer.weight_g if isinstance(layer, WeightNormConv1d) else layer.weight
    gain.mul_(scale.view(-1, *[1] * (gain.ndim - 1)))
    layer.bias.sub_(y.mean(dim=over)).mul_(scale)
    return layer.forward(x)


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
