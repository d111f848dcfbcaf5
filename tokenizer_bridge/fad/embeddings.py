"""Embedding networks by name: audio in, vectors out. B clips, T samples, W windows, D values.

A network's class says what it is: SAMPLE_RATE (Hz), DIM, WINDOW_S (also its hop), `min_samples` of
a clip, and WEIGHTS: names of weights, each with the submodule that it fills.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from tokenizer_bridge.devices import move_to
from tokenizer_bridge.fad.choices import EMBEDDINGS
from tokenizer_bridge.fad.cnn14 import Cnn14At16k, Cnn14At32k
from tokenizer_bridge.fad.musicnn import Musicnn
from tokenizer_bridge.fad.vggish import Vggish, VggishPca
from tokenizer_bridge.fad.weights import load_into, load_weights
from tokenizer_bridge.token_dataset.errors import UserError


@dataclass(frozen=True)
class EmbeddingInfo:
    """The facts about an embedding that a report states."""

    name: str
    weights_sha256: str  # hexadecimal; of several files, joined by "+"
    dim: int
    sample_rate: int  # Hz
    window_s: float | None  # None: one vector a clip
    hop_s: float | None
    weights: str = "published"  # or "own": the user's, of any SHA-256; or "random"


class Embedding(nn.Module):
    """A network in eval mode, and what it is.

    min_samples: of the shortest clip that has a vector.
    """

    def __init__(self, info: EmbeddingInfo, network: nn.Module):
        super().__init__()
        self.info, self.network = info, network
        self.min_samples: int = network.min_samples
        self.eval().requires_grad_(False)

    def embed(self, audio_BxT: torch.Tensor) -> torch.Tensor:
        """(B, W, D) float32, on the network's device, of (B, T) float32 at `info.sample_rate`.

        Every clip on its own. Raises ValueError for clips below `min_samples`.
        """
        if audio_BxT.shape[1] < self.min_samples:
            raise ValueError(f"{audio_BxT.shape[1]} samples; {self.min_samples} are needed")
        device = next(self.network.parameters()).device
        with torch.inference_mode():
            return self.network(audio_BxT.to(device, torch.float32))


_CLASSES = (Musicnn, Vggish, VggishPca, Cnn14At16k, Cnn14At32k)
_NETWORKS = dict(zip(EMBEDDINGS, _CLASSES, strict=True))


def load_embedding(
    name: str,
    weights: Mapping[str, str] | None = None,
    device: str | torch.device = "cpu",
) -> Embedding:
    """The embedding called `name`, one of EMBEDDINGS, with its published weights.

    weights: files to use instead of shipped and cached ones, by name, as `weights.parse_weights`
    returns them. Raises UserError for an unknown name, and for weights that are missing (with the
    command that gets them), damaged or not the published ones, and for a device of no use.
    """
    network = _class_of(name)()
    loaded = [load_weights(part, weights) for part in network.WEIGHTS]
    for (part, place), one in zip(network.WEIGHTS.items(), loaded, strict=True):
        load_into(network.get_submodule(place), one, part)
    sha256 = "+".join(one.sha256 for one in loaded)
    origin = "own" if any(one.own for one in loaded) else "published"
    return Embedding(_info(name, network, sha256, origin), move_to(network, device))


def parts_of(names: Iterable[str]) -> list[str]:
    """Names of the weights that embeddings are made of. Raises UserError for an unknown name."""
    return list(dict.fromkeys(part for name in names for part in _class_of(name).WEIGHTS))


def untrained_embedding(name: str, device: str | torch.device = "cpu") -> Embedding:
    """The network with random weights: as fast, and good for nothing else."""
    network = _class_of(name)()
    return Embedding(_info(name, network, "0" * 64, "random"), network.to(device))


def _class_of(name: str) -> type[nn.Module]:
    if name not in _NETWORKS:
        raise UserError(f"{name}: no such embedding; choose one of {', '.join(EMBEDDINGS)}")
    return _NETWORKS[name]


def _info(name: str, network: nn.Module, weights_sha256: str, origin: str) -> EmbeddingInfo:
    return EmbeddingInfo(
        name=name,
        weights_sha256=weights_sha256,
        dim=network.DIM,
        sample_rate=network.SAMPLE_RATE,
        window_s=network.WINDOW_S,
        hop_s=network.WINDOW_S,
        weights=origin,
    )
