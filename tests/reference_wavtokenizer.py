"""The WavTokenizer half of the reference check: our network against the published program's."""

import json
import zlib
from pathlib import Path

import numpy as np
import torch

from tests.reference_rows import BadReference, Reference, Row, relative_l2, same_shape
from tokenizer_bridge.wavtokenizer.checkpoints import UNUSED_PREFIX
from tokenizer_bridge.wavtokenizer.network import WavTokenizer, WavTokenizerConfig

QUANTITIES = [
    "salt", "config", "audio", "encoder_output", "codes", "code_margin", "audio_out",
    "random_codes", "random_audio_out",
]  # fmt: skip
MARGIN = 1e-2  # squared distance: nearer than this, rounding may choose the runner-up
L2_BOUND = 1e-4
CODES_BOUND = 0.01  # share of all codes that may differ


def check(reference: Reference) -> list[Row]:
    """Errors of our encoder, codes and decoder, with weights that follow from their names.

    Raises:
      BadReference: a quantity is missing, or the configuration is not one of a WavTokenizer.
    """
    reference.require(QUANTITIES)
    codec = build(reference)
    audio_BxT = torch.from_numpy(reference["audio"])[None]
    codes_BxL = _codes(reference, "codes", codec.config.codebook_size)
    random_codes_BxL = _codes(reference, "random_codes", codec.config.codebook_size)
    with torch.inference_mode():
        z_CxL = codec.encoder_output(audio_BxT)[0].numpy()
        our_codes_L = codec.encode(audio_BxT)[0].numpy()
        audio_out = codec.decode(codes_BxL)[0].numpy()
        random_audio_out = codec.decode(random_codes_BxL)[0].numpy()

    differs_L = same_shape(our_codes_L, reference["codes"]) != reference["codes"]
    clear_L = reference["code_margin"] > MARGIN
    rows = [
        Row("encoder_output (L2)", relative_l2(z_CxL, reference["encoder_output"]), L2_BOUND),
        Row(f"codes, margin > {MARGIN} (share)", _share(differs_L[clear_L]), 0.0),
        Row("codes, all (share)", _share(differs_L), CODES_BOUND),
        Row("audio_out (L2)", relative_l2(audio_out, reference["audio_out"]), L2_BOUND),
        Row(
            "random_audio_out (L2)",
            relative_l2(random_audio_out, reference["random_audio_out"]),
            L2_BOUND,
        ),
    ]
    shapes_path = reference.path.with_name(f"{reference.path.stem}_state_dict.json")
    if shapes_path.is_file():
        wrong = mismatched_names(codec, shapes_path)
        rows.append(Row("state-dict names and shapes (wrong)", len(wrong), 0))
    return rows


def build(reference: Reference) -> WavTokenizer:
    """The network that the file's configuration describes, with the weights its salt gives."""
    try:
        codec = WavTokenizer(WavTokenizerConfig.from_dict(reference.config)).eval()
    except (KeyError, TypeError, ValueError) as error:
        raise BadReference(f"no WavTokenizer configuration ({error})") from error
    salt = str(reference["salt"])
    state = codec.state_dict()
    for name, tensor in state.items():
        if not name.endswith("window"):
            tensor.copy_(torch.from_numpy(weight(name, tuple(tensor.shape), salt)))
    return codec


def weight(name: str, shape: tuple[int, ...], salt: str) -> np.ndarray:
    """The float32 weight called `name`; the first rule of the format that applies wins."""
    rng = np.random.default_rng(zlib.crc32((salt + name).encode()))
    z = rng.standard_normal(shape).astype(np.float32)
    if name.endswith("inited"):
        return np.ones_like(z)
    if name.endswith("weight_g"):
        return np.float32(1) + np.float32(0.1) * np.abs(z)
    if name.endswith("cluster_size"):
        return np.abs(z)
    if len(shape) >= 2:
        return z / np.sqrt(np.float32(np.prod(shape[1:])))
    if name.endswith("gamma"):
        return np.float32(0.1) + np.float32(0.01) * z
    if "norm" in name and name.endswith("weight"):
        return np.float32(1) + np.float32(0.05) * z
    return np.float32(0.02) * z


def mismatched_names(codec: WavTokenizer, shapes_path: Path) -> list[str]:
    """State-dict names that the JSON of the published network has otherwise, or not at all."""
    published = {name: tuple(shape) for name, shape in json.loads(shapes_path.read_text()).items()}
    ours = {name: tuple(tensor.shape) for name, tensor in codec.state_dict().items()}
    used = {name for name in published if not name.startswith(UNUSED_PREFIX)}
    return sorted(name for name in used | set(ours) if published.get(name) != ours.get(name))


def _codes(reference: Reference, key: str, codebook_size: int) -> torch.Tensor:
    codes_L = reference[key].astype(np.int64)
    if codes_L.min() < 0 or codes_L.max() >= codebook_size:
        raise BadReference(f"{key} has codes outside 0 … {codebook_size - 1}")
    return torch.from_numpy(codes_L)[None]


def _share(wrong: np.ndarray) -> float:
    return float(wrong.mean()) if wrong.size else 0.0
