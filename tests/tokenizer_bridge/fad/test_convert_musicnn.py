"""The conversion of musicnn's published weights, without TensorFlow."""

import re

import numpy as np
import torch

from tokenizer_bridge.fad.musicnn import Musicnn
from tokenizer_bridge.fad.musicnn_tensorflow import converted

KERNELS = {
    "conv2d": (7, 38, 1, 204), "conv2d_1": (7, 67, 1, 204), "conv2d_2": (128, 1, 1, 51),
    "conv2d_3": (64, 1, 1, 51), "conv2d_4": (32, 1, 1, 51), "conv2d_5": (7, 561, 1, 64),
    "conv2d_6": (7, 64, 1, 64), "conv2d_7": (7, 64, 1, 64), "dense": (1506, 200),
    "dense_1": (200, 50),
}  # fmt: skip
NORMS = [1, 204, 204, 51, 51, 51, 64, 64, 64, 1506, 200]


class Checkpoint:
    """Random tensors of the published names and shapes."""

    def __init__(self):
        rng = np.random.default_rng(0)
        shapes = {f"{name}/kernel": shape for name, shape in KERNELS.items()}
        shapes |= {f"{name}/bias": shape[-1:] for name, shape in KERNELS.items()}
        for i, width in enumerate(NORMS):
            name = f"batch_normalization_{i}" if i else "batch_normalization"
            for part in ("beta", "gamma", "moving_mean", "moving_variance"):
                shapes[f"{name}/{part}"] = (width,)
        self.tensors = {name: rng.random(shape, dtype=np.float32) for name, shape in shapes.items()}
        self.read = set()

    def get_tensor(self, name: str) -> np.ndarray:
        self.read.add(name)
        return self.tensors[name]


def test_every_published_tensor_finds_its_place():
    checkpoint = Checkpoint()
    state = converted(checkpoint.get_tensor)
    assert checkpoint.read == set(checkpoint.tensors)
    network = Musicnn().eval()
    network.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    theirs = checkpoint.tensors
    assert network.timbral[1].conv.weight[5, 0, 3, 40] == theirs["conv2d_1/kernel"][3, 40, 0, 5]
    assert network.middle[0].conv.weight[6, 500, 2] == theirs["conv2d_5/kernel"][2, 500, 0, 6]
    assert network.tag_logits.weight[7, 150] == theirs["dense_1/kernel"][150, 7]
    assert (
        network.middle[2].norm.running_var[9] == theirs["batch_normalization_8/moving_variance"][9]
    )
    assert network.penultimate_norm.bias[3] == theirs["batch_normalization_10/beta"][3]


def test_without_tensorflow_it_says_so(run_command, tmp_path):
    outcome = run_command(
        "tokenizer_bridge.fad.convert_musicnn", "--input=x/", f"--output={tmp_path / 'x'}"
    )
    assert outcome.code == 1 and not (tmp_path / "x").exists()
    assert re.fullmatch(r"error: TensorFlow is needed, .*\n", outcome.err)
