"""A data set and a config small enough that a training test takes seconds."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from configs import music_small
from tests.programs import ROOT, Program
from tokenizer_bridge.token_dataset.records import Record, TokenDatasetWriter

NUM_CODES = 32
CODEC = {
    "name": "toy",
    "weights_sha256": "0" * 64,
    "sample_rate": 24_000,
    "hop_length": 320,
    "codebook_size": NUM_CODES,
}


def write_dataset(
    path, lengths=None, codec=CODEC, seed=0, artists=None, tags=None, vectors=None
) -> Path:
    """A token dataset of random walks over the codes.

    lengths: split → lengths of its tracks; artists, tags, vectors: likewise, none by default.
    """
    widths = {
        k: len(v) for rows in (vectors or {}).values() for row in rows for k, v in row.items()
    }
    lengths = lengths or {"train": [40, 100, 33, 77, 64, 90], "validation": [50, 70]}
    rng = np.random.default_rng(seed)
    with TokenDatasetWriter(path, codec, vectors=widths) as writer:
        for split, split_lengths in lengths.items():
            for i, length in enumerate(split_lengths):
                steps = rng.integers(0, 3, length)
                tokens = (np.cumsum(steps) % codec["codebook_size"]).astype(np.uint16)
                artist = artists[split][i] if artists and split in artists else None
                own = tags[split][i] if tags and split in tags else ()
                told = vectors[split][i] if vectors and split in vectors else {}
                record = Record(f"{split}-{i}", tokens, length / 75, artist, own, vectors=told)
                writer.write(split, record)
    return Path(path)


def toy_config(**overrides) -> ConfigDict:
    """A config with every key; overrides by dotted key with __ for the dots."""
    config = music_small.get_config()
    config.model.update(num_blocks=1, width=16, num_heads=2, cond_dim=8, length=16)
    config.optim.update(learning_rate=1e-2, warmup_steps=5)
    config.training.update(batch_size=8, num_steps=20, log_every=5, ema_decay=0.9)
    config.evaluation.update(every=0, num_batches=1)
    config.checkpoint.update(every=10, keep_last=2, keep_every=0)
    config.update_from_flattened_dict(
        {key.replace("__", "."): value for key, value in overrides.items()}
    )
    return config


# Programs of these tests run for milliseconds and compile for seconds.
FAST_COMPILE = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
COMPILED = Path(tempfile.gettempdir()) / f"sedd_jax_test_programs_{os.getuid()}"


def train_command(dataset, workdir, **overrides) -> list[str]:
    """The command line that trains a toy in a process of its own."""
    config_file = Path(workdir).with_name("toy_config.py")
    config_file.write_text("from tests.sedd_jax.toy import toy_config as get_config\n")
    flags = [f"--config.{key.replace('__', '.')}={value}" for key, value in overrides.items()]
    return [
        sys.executable, "-m", "sedd_jax.train", f"--config={config_file}",
        f"--config.data.path={dataset}", f"--workdir={workdir}", *flags,
    ]  # fmt: skip


def environment(**extra: str) -> dict[str, str]:
    """For a process as a user starts it; what one compiles is there for the next."""
    ours = {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "1",
        "JAX_NUMPY_RANK_PROMOTION": "allow",
        "JAX_COMPILATION_CACHE_DIR": str(COMPILED),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONPATH": str(ROOT),
    }
    return os.environ | ours | extra


def start(command: list[str], **extra: str) -> Program:
    return Program(command, env=environment(**extra))


def run(command: list[str], **extra: str) -> subprocess.CompletedProcess:
    with start(command, **extra) as program:
        return program.result()


def error_line(result: subprocess.CompletedProcess) -> str:
    """The one `error: …` line of a command that refused; fails unless that is all there is."""
    assert result.returncode == 1, result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.stderr, result.stderr
    return lines[0]


def metrics(workdir) -> list[dict]:
    """The whole lines of metrics.jsonl; none before there is one."""
    path = Path(workdir) / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
