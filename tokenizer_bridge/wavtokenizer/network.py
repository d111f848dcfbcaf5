"""WavTokenizer: audio to discrete codes and back (Ji et al. 2024, arXiv 2408.16532)."""

import torch
from torch import nn

from tokenizer_bridge.wavtokenizer.config import WavTokenizerConfig
from tokenizer_bridge.wavtokenizer.oscillators import OscillatorHead
from tokenizer_bridge.wavtokenizer.quantizer import SingleCodebookVQ
from tokenizer_bridge.wavtokenizer.seanet import SEANetEncoder
from tokenizer_bridge.wavtokenizer.spectral import LocalBackbone, SpectralEncoder
from tokenizer_bridge.wavtokenizer.vocos import ISTFTHead, VocosBackbone


class WavTokenizer(nn.Module):
    """Encoder, single codebook, decoder; state-dict names are those of the published weights.

    B batch, T samples at `config.sample_rate`, C codebook dimension, L = ceil(T / hop) codes.
    """

    def __init__(self, config: WavTokenizerConfig):
        super().__init__()
        self.config = config
        encoder = _encoder(config)
        quantizer = SingleCodebookVQ(config.codebook_size, config.dimension)
        encodec = nn.ModuleDict({"encoder": encoder, "quantizer": quantizer})
        self.feature_extractor = nn.ModuleDict({"encodec": encodec})
        self.backbone = _backbone(config)
        self.head = _head(config)

    @property
    def encoder(self) -> nn.Module:
        return self.feature_extractor["encodec"]["encoder"]

    @property
    def quantizer(self) -> SingleCodebookVQ:
        return self.feature_extractor["encodec"]["quantizer"]

    def encoder_output(self, audio_BxT: torch.Tensor) -> torch.Tensor:
        """Vectors (B, C, L) before quantisation."""
        return self.encoder(audio_BxT[:, None])

    def synthesise(
        self, z_BxCxL: torch.Tensor, first_B: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Vectors (B, C, L) to audio (B, L·hop); `first_B` as of `decode`."""
        return self.head(self.backbone(z_BxCxL), first_B)

    def encode(self, audio_BxT: torch.Tensor) -> torch.Tensor:
        """Audio (B, T), float in [−1, 1], to int64 codes (B, L)."""
        return self.quantizer.encode(self.encoder_output(audio_BxT))

    def decode(self, codes_BxL: torch.Tensor, first_B: torch.Tensor | None = None) -> torch.Tensor:
        """Codes (B, L) to audio (B, L·hop), not clipped.

        first_B: int64 (B,) or (1,), where in a longer piece each row starts, in codes; 0 if not
        given. A head of running oscillators needs it so that windows join without a jump of phase.
        """
        return self.synthesise(self.quantizer.decode(codes_BxL), first_B)


def _encoder(config: WavTokenizerConfig) -> nn.Module:
    if config.encoder == "seanet":
        return SEANetEncoder(
            config.num_filters, config.dimension, config.strides, config.lstm_layers
        )
    return SpectralEncoder(
        config.dimension,
        config.sample_rate,
        config.hop_length,
        config.subframes,
        config.encoder_dim,
        config.encoder_layers,
    )


def _backbone(config: WavTokenizerConfig) -> nn.Module:
    sizes = (config.dimension, config.backbone_dim, config.intermediate_dim, config.num_layers)
    if config.backbone == "vocos":
        return VocosBackbone(*sizes, config.adanorm_num_embeddings)
    return LocalBackbone(*sizes)


def _head(config: WavTokenizerConfig) -> nn.Module:
    if config.head == "istft":
        return ISTFTHead(config.backbone_dim, config.n_fft, config.hop_length)
    return OscillatorHead(
        config.backbone_dim,
        config.sample_rate,
        config.hop_length,
        config.subframes,
        config.num_oscillators,
        config.noise_bands,
    )
