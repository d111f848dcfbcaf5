"""WavTokenizer: audio to discrete codes and back (Ji et al. 2024, arXiv 2408.16532)."""

import torch
from torch import nn

from tokenizer_bridge.wavtokenizer.config import WavTokenizerConfig
from tokenizer_bridge.wavtokenizer.quantizer import SingleCodebookVQ
from tokenizer_bridge.wavtokenizer.seanet import SEANetEncoder
from tokenizer_bridge.wavtokenizer.vocos import ISTFTHead, VocosBackbone


class WavTokenizer(nn.Module):
    """Encoder, single codebook, decoder; state-dict names are those of the published weights.

    B batch, T samples at `config.sample_rate`, C codebook dimension, L = ceil(T / hop) codes.
    """

    def __init__(self, config: WavTokenizerConfig):
        super().__init__()
        self.config = config
        encoder = SEANetEncoder(
            config.num_filters, config.dimension, config.strides, config.lstm_layers
        )
        quantizer = SingleCodebookVQ(config.codebook_size, config.dimension)
        encodec = nn.ModuleDict({"encoder": encoder, "quantizer": quantizer})
        self.feature_extractor = nn.ModuleDict({"encodec": encodec})
        self.backbone = VocosBackbone(
            config.dimension,
            config.backbone_dim,
            config.intermediate_dim,
            config.num_layers,
            config.adanorm_num_embeddings,
        )
        self.head = ISTFTHead(config.backbone_dim, config.n_fft, config.hop_length)

    @property
    def encoder(self) -> SEANetEncoder:
        return self.feature_extractor["encodec"]["encoder"]

    @property
    def quantizer(self) -> SingleCodebookVQ:
        return self.feature_extractor["encodec"]["quantizer"]

    def encoder_output(self, audio_BxT: torch.Tensor) -> torch.Tensor:
        """Vectors (B, C, L) before quantisation."""
        return self.encoder(audio_BxT[:, None])

    def synthesise(self, z_BxCxL: torch.Tensor) -> torch.Tensor:
        """Vectors (B, C, L) to audio (B, L·hop)."""
        return self.head(self.backbone(z_BxCxL))

    def encode(self, audio_BxT: torch.Tensor) -> torch.Tensor:
        """Audio (B, T), float in [−1, 1], to int64 codes (B, L)."""
        return self.quantizer.encode(self.encoder_output(audio_BxT))

    def decode(self, codes_BxL: torch.Tensor) -> torch.Tensor:
        """Codes (B, L) to audio (B, L·hop), not clipped."""
        return self.synthesise(self.quantizer.decode(codes_BxL))
