"""A WavTokenizer of toy size in the published file formats, for tests of everything around it."""

from pathlib import Path

import torch
import yaml

from tokenizer_bridge.wavtokenizer.config import WavTokenizerConfig
from tokenizer_bridge.wavtokenizer.network import WavTokenizer

NETWORKS = {
    "feature_extractor": {
        "class_path": "decoder.feature_extractors.EncodecFeatures",
        "init_args": {
            "encodec_model": "encodec_24khz",
            "bandwidths": [6.6, 6.6, 6.6, 6.6],
            "train_codebooks": True,
            "num_quantizers": 1,
            "dowmsamples": [4, 2],
            "vq_bins": 16,
            "vq_kmeans": 200,
            "n_filters": 2,
            "dimension": 8,
            "lstm": 1,
        },
    },
    "backbone": {
        "class_path": "decoder.models.VocosBackbone",
        "init_args": {
            "input_channels": 8,
            "dim": 32,
            "intermediate_dim": 48,
            "num_layers": 1,
            "adanorm_num_embeddings": 4,
        },
    },
    "head": {
        "class_path": "decoder.heads.ISTFTHead",
        "init_args": {"dim": 32, "n_fft": 32, "hop_length": 8, "padding": "same"},
    },
}


def write_yaml(path: Path, networks: dict | None = None) -> Path:
    """Writes the networks as the published training YAML has them, data and trainer included."""
    tree = {
        "seed_everything": 3407,
        "data": {
            "class_path": "decoder.dataset.VocosDataModule",
            "init_args": {"train_params": {"filelist_path": "./train", "sampling_rate": 24000}},
        },
        "model": {
            "class_path": "decoder.experiment.WavTokenizer",
            "init_args": {
                "sample_rate": 24000,
                "initial_learning_rate": 2e-4,
                "resume": False,
                **(networks or NETWORKS),
            },
        },
        "trainer": {"max_steps": 2_000_000, "devices": [0, 1]},
    }
    path.write_text(yaml.safe_dump(tree))
    return path


def make_codec(seed: int = 0) -> WavTokenizer:
    """The toy network with random values everywhere, codebook included."""
    codec = WavTokenizer(WavTokenizerConfig.from_dict(NETWORKS)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in codec.state_dict().items():
            if not name.endswith("window"):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) - 0.4)
    return codec
