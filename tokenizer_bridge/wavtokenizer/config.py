"""Sizes of a WavTokenizer, as its published YAML states them."""

from dataclasses import dataclass, fields
from math import prod
from pathlib import Path
from typing import Any

import yaml

from tokenizer_bridge.token_dataset.errors import UserError

MAX_CODEBOOK_SIZE = 2**16  # token datasets hold uint16
KINDS = {  # the first of each is the published one
    "encoder": ("seanet", "spectral"),
    "backbone": ("vocos", "local"),
    "head": ("istft", "oscillators"),
}
SAMPLE_RATE = 24_000  # Hz; every published WavTokenizer works at this rate


@dataclass(frozen=True)
class WavTokenizerConfig:
    """Sizes of the encoder, the codebook, the backbone and the head.

    The published YAML fixes the encoder at `num_filters=32`, `dimension=512`, `lstm_layers=2`
    without naming them; a YAML of ours may name them under the extractor's `init_args` as
    `n_filters`, `dimension` and `lstm`. `kind` under the three networks' `init_args` chooses
    `spectral`, `local` and `oscillators` instead of the published `seanet`, `vocos` and `istft`.
    """

    strides: tuple[int, ...] = (8, 5, 4, 2)  # of the decoder; the encoder runs them backwards
    num_filters: int = 32
    dimension: int = 512  # of the codebook vectors
    lstm_layers: int = 2
    codebook_size: int = 4096
    backbone_dim: int = 768
    intermediate_dim: int = 2304
    num_layers: int = 12
    adanorm_num_embeddings: int | None = 4
    n_fft: int = 1280
    sample_rate: int = SAMPLE_RATE  # Hz
    encoder: str = "seanet"
    backbone: str = "vocos"
    head: str = "istft"
    encoder_dim: int = 256  # of the spectral encoder, as the next
    encoder_layers: int = 4
    subframes: int = 4  # a code, of the spectral encoder and the oscillators' amplitudes
    num_oscillators: int = 900
    noise_bands: int = 40

    def __post_init__(self) -> None:
        for key, kinds in KINDS.items():
            if getattr(self, key) not in kinds:
                raise ValueError(f"{key} is {getattr(self, key)!r}; known: {', '.join(kinds)}")
        for field in fields(self):
            if field.name in KINDS:
                continue
            sizes = getattr(self, field.name)
            for size in sizes if field.name == "strides" else [sizes]:
                optional = field.name == "adanorm_num_embeddings" and size is None
                if not optional and (type(size) is not int or size < 1):
                    raise ValueError(f"{field.name} is {size!r}; a whole number above 0 is needed")
        if self.codebook_size > MAX_CODEBOOK_SIZE:
            raise ValueError(f"codebook_size {self.codebook_size} is above {MAX_CODEBOOK_SIZE}")
        if self.head == "oscillators" and self.hop_length % (2 * self.subframes):
            raise ValueError(
                f"the hop {self.hop_length} is no multiple of twice the subframes {self.subframes}"
            )
        if self.head == "istft" and self.n_fft < self.hop_length:
            raise ValueError(f"n_fft {self.n_fft} is shorter than the hop {self.hop_length}")
        if self.backbone == "vocos" and self.backbone_dim % 32:
            raise ValueError(f"backbone dim {self.backbone_dim} is no multiple of 32 (group norm)")

    @property
    def hop_length(self) -> int:
        """Samples per code."""
        return prod(self.strides)

    @property
    def token_rate(self) -> float:
        """Codes per second."""
        return self.sample_rate / self.hop_length

    @classmethod
    def from_yaml(cls, path: str | Path) -> "WavTokenizerConfig":
        """Reads a published training YAML (`model.init_args.…`) or just its three networks.

        Raises:
          UserError: the file is missing, no YAML, or does not describe a WavTokenizer.
        """
        try:
            tree = yaml.safe_load(Path(path).read_text())
        except OSError as e:
            raise UserError(f"{path}: cannot read the codec's YAML ({e.strerror})") from e
        except (yaml.YAMLError, UnicodeDecodeError) as e:
            raise UserError(f"{path}: no valid YAML") from e
        try:
            networks = tree["model"]["init_args"] if "model" in tree else tree
            return cls.from_dict(networks)
        except (KeyError, TypeError) as e:
            raise UserError(f"{path}: no WavTokenizer configuration (missing {e})") from e
        except ValueError as e:
            raise UserError(f"{path}: {e}") from e

    @classmethod
    def from_dict(cls, networks: dict[str, Any]) -> "WavTokenizerConfig":
        """Read the map `{feature_extractor, backbone, head}`, each with its `init_args`.

        Raises:
          KeyError: a network or size is missing.
          ValueError: the sizes contradict each other or name a variant that is not implemented.
        """
        extractor = networks["feature_extractor"]["init_args"]
        backbone = networks["backbone"]["init_args"]
        head = networks["head"]["init_args"]
        head_kind = head.get("kind", "istft")
        config = cls(
            strides=tuple(extractor["dowmsamples"]),  # spelt so in the published files
            num_filters=extractor.get("n_filters", 32),
            dimension=extractor.get("dimension", 512),
            lstm_layers=extractor.get("lstm", 2),
            codebook_size=extractor["vq_bins"],
            backbone_dim=backbone["dim"],
            intermediate_dim=backbone["intermediate_dim"],
            num_layers=backbone["num_layers"],
            adanorm_num_embeddings=backbone.get("adanorm_num_embeddings"),
            n_fft=head["n_fft"] if head_kind == "istft" else cls.n_fft,
            sample_rate=networks.get("sample_rate", SAMPLE_RATE),
            encoder=extractor.get("kind", "seanet"),
            backbone=backbone.get("kind", "vocos"),
            head=head_kind,
            encoder_dim=extractor.get("dim", cls.encoder_dim),
            encoder_layers=extractor.get("num_layers", cls.encoder_layers),
            subframes=head.get("subframes", cls.subframes),
            num_oscillators=head.get("oscillators", cls.num_oscillators),
            noise_bands=head.get("noise_bands", cls.noise_bands),
        )
        must_agree = {
            "num_quantizers": (extractor.get("num_quantizers", 1), 1),
            "head.hop_length": (head["hop_length"], config.hop_length),
            "head.dim": (head["dim"], config.backbone_dim),
            "head.padding": (head.get("padding", "same"), "same"),
            "backbone.input_channels": (backbone["input_channels"], config.dimension),
        }
        for key, (given, wanted) in must_agree.items():
            if given != wanted:
                raise ValueError(f"{key} is {given}; this network needs {wanted}")
        return config
