"""The height at which a picture shows a code."""

import numpy as np
import torch

from tokenizer_bridge.codec import Codec


def code_ranks(codec: Codec) -> np.ndarray:
    """(K,) rank of every code along the codebook's first principal axis: near codes look near."""
    embed_KxD = codec.network.quantizer.codebook.embed.float()
    centred_KxD = embed_KxD - embed_KxD.mean(0)
    _, _, axes = torch.linalg.svd(centred_KxD, full_matrices=False)
    return (centred_KxD @ axes[0]).argsort().argsort().numpy()
