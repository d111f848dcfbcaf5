"""A report made by hand, in the schema of Measurement.as_json (fad/measure.py)."""

import numpy as np

from tokenizer_bridge.reporting.page import ExampleFile, Examples
from tokenizer_bridge.reporting.published import PUBLISHED


def estimate(value: float) -> dict:
    return {"value": value, "low": 0.9 * value - 0.1, "high": 1.1 * value + 0.1}


def side(name: str, clips: int) -> dict:
    return {"name": name, "n_files": clips, "n_clips": clips, "n_vectors": 4 * clips}


def figures(value: float, clips: int, paper_compat: float | None = None) -> dict:
    return {
        "fad": value + 0.5,
        "fad_infinity": estimate(value),
        "kad": estimate(value / 10),
        "paper_compat": paper_compat,
        "generated": side("generated", clips),
        "reference": side("half", clips),
    }


def measurement(embedding: str, reference: str, source: str = "folder", value: float = 3.0) -> dict:
    paper_compat = 2e-4 if embedding.startswith("cnn14") else None
    controls = {
        "real_vs_real": 0.1, "codec_floor": 1.5, "shuffled_tokens": 20, "white_noise": 70,
        "silence": 80,
    }  # fmt: skip
    return {
        "embedding": {
            "name": embedding, "weights_sha256": "ab" * 32, "dim": 8, "sample_rate": 16_000,
            "window_s": 3.0, "hop_s": 3.0, "weights": "published",
        },
        "clip_s": 10.0, "clips_per_file": 1, "loudness": "none", "resampler": "sinc", "seed": 0,
        "confidence": 0.95,
        **figures(value, 300, paper_compat),
        "reference": side(reference, 3600)
        | {"source": source, "directory": "/music", "drawn": "all"},
        "per_file": [{"id": f"sample-{i:03d}", "fad": 10 + (37 * i) % 100} for i in range(100)],
        "controls": {
            name: figures(control, 150, paper_compat) for name, control in controls.items()
        },
        "halves": "artists",
        "warnings": [],
    }  # fmt: skip


def report(*measurements: dict) -> dict:
    return {
        "generated": {"directory": "/generated", "n_files": 300},
        "measurements": list(measurements),
        "settings": {"codec": "demo", "codec_weights_sha256": "cd" * 32},
        "published": [vars(p) for p in PUBLISHED],
        "unusable": [{"set": "jamendo", "path": "a|b<c>.mp3", "reason": "silent (peak 0)"}],
        "warnings": ["jamendo: 300 <few> clips"],
    }


def shown(measurement: dict) -> Examples:
    rng = np.random.default_rng(0)
    sets = {"reference": 200, "generated": 100} | {name: 30 for name in measurement["controls"]}
    vectors = {
        name: rng.normal(i, 1 + 0.2 * i, (count, 8)) for i, (name, count) in enumerate(sets.items())
    }
    audio_T = rng.uniform(-0.1, 0.1, 8_000).astype(np.float32)
    heard = [ExampleFile(rank, f"{rank} file", 10.0 + i * 40, audio_T, 8_000)
             for i, rank in enumerate(("best", "median", "worst"))]  # fmt: skip
    return Examples(vectors, heard)
