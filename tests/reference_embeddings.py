"""The embeddings' part of the reference check: our networks against the published programs'.

A file holds `embedding` (its name here), `program` (what was run, and what was changed in it),
`audio` (int16, one clip), `log_mel` (the network's input) and `vectors`; `tags` of musicnn and
`quantised` of VGGish with PCA too. With a `salt` the weights follow from their names by `weight`,
without one they are the published ones.
"""

import functools
import zlib

import numpy as np
import torch

from tests.reference_rows import BadReference, Reference, Row, relative_l2, same_shape
from tokenizer_bridge.fad.cnn14 import Cnn14At16k, Cnn14At32k
from tokenizer_bridge.fad.embeddings import load_embedding
from tokenizer_bridge.fad.vggish import VggishPca

QUANTITIES = ["program", "audio", "log_mel", "vectors"]
NETWORKS = {"vggish": VggishPca, "cnn14-16k": Cnn14At16k, "cnn14-32k": Cnn14At32k}
L2_BOUND = 1e-4


def check(reference: Reference) -> list[Row]:
    """Errors of our front end and network. Raises BadReference for a file of another format."""
    reference.require(QUANTITIES)
    name = str(reference["embedding"])
    audio_1xT = torch.from_numpy(reference["audio"].astype(np.float32) / 2**15)[None]
    if "salt" in reference:
        if name not in NETWORKS:
            raise BadReference(f"no embedding called {name}")
        network = build(name, str(reference["salt"]))
    else:
        network = load_embedding(name).network
    rows = []
    with torch.inference_mode():
        if isinstance(network, VggishPca):
            reference.require(["quantised"])
            quantised = network(audio_1xT)[0].numpy()
            differs = np.abs(same_shape(quantised, reference["quantised"]) - reference["quantised"])
            rows.append(Row("quantised (largest step)", float(differs.max()), 1.0))
            rows.append(Row("quantised (share that differs)", float((differs > 0).mean()), 1e-3))
            network = network.vggish
        if name == "musicnn":
            reference.require(["tags"])
            tags = network.tag_probabilities(audio_1xT)[0].numpy()
            rows.append(Row("tags (L2)", relative_l2(tags, reference["tags"]), L2_BOUND))
        log_mel = network.log_mel(audio_1xT).numpy()
        vectors = network(audio_1xT)[0].numpy()
    return [
        Row("log_mel (L2)", relative_l2(log_mel, reference["log_mel"]), L2_BOUND),
        Row("vectors (L2)", relative_l2(vectors, reference["vectors"]), L2_BOUND),
        *rows,
    ]


@functools.lru_cache(maxsize=1)
def build(name: str, salt: str) -> torch.nn.Module:
    """Our network of that name, with the weights that a salt gives."""
    network = NETWORKS[name]().eval()
    for key, tensor in network.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            published = key.removeprefix("vggish.").removeprefix("pca.")
            shape = tuple(tensor.shape)
            tensor.copy_(torch.from_numpy(weight(published, shape, salt)).reshape(shape))
    return network


def weight(name: str, shape: tuple[int, ...], salt: str) -> np.ndarray:
    """The float32 weight called `name`; the first rule that applies wins.

    Matrices keep the scale of what passes through them and a ReLU.
    """
    rng = np.random.default_rng(zlib.crc32((salt + name).encode()))
    z = rng.standard_normal(shape).astype(np.float32)
    if name.endswith("running_mean"):
        return np.float32(0.1) * z
    if name.endswith("running_var"):
        return np.float32(1) + np.float32(0.1) * np.abs(z)
    if len(shape) >= 2:
        return z * np.sqrt(np.float32(2 / np.prod(shape[1:])))
    if "bn" in name and name.endswith("weight"):
        return np.float32(1) + np.float32(0.05) * z
    return np.float32(0.02) * z
