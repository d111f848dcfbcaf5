"""The places that figures go to beside metrics.jsonl."""

import csv
import importlib.util
import json

import numpy as np
import pytest

from sedd_jax import config as config_lib
from sedd_jax.errors import UserError
from sedd_jax.monitoring import writers
from sedd_jax.monitoring.media import Medium, png
from sedd_jax.monitoring.metrics import MetricsWriter
from tests.sedd_jax.toy import toy_config


def rows(path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_step_is_a_row_of_the_table_and_a_later_life_goes_on(tmp_path):
    with MetricsWriter(tmp_path, 0, writers=["csv"]) as writer:
        writer.write(5, {"loss": 2.0})
        writer.write(5, {"bits, of validation": 4.0})
        writer.write(10, {"loss": float("nan")})
        writer.write(15, {"loss": 1.0})
        writer.write_media(15, [Medium("tokens/0", tmp_path / "a.png")])  # which a table has not
    assert rows(tmp_path / "metrics.csv") == [
        {"step": "5", "loss": "2.0", "bits, of validation": "4.0"},
        {"step": "10", "loss": "nan", "bits, of validation": ""},
        {"step": "15", "loss": "1.0", "bits, of validation": ""},
    ]
    with MetricsWriter(tmp_path, 10, writers=["csv"]) as writer:
        writer.write(15, {"loss": 0.5, "new": 1.0})
    assert [row["loss"] for row in rows(tmp_path / "metrics.csv")] == ["2.0", "nan", "0.5"]
    assert rows(tmp_path / "metrics.csv")[-1]["new"] == "1.0"
    assert not (tmp_path / "tensorboard").exists()


def test_weights_and_biases_keeps_one_run_for_all_lives(tmp_path, monkeypatch):
    """Its own library, offline: what it would send is stored in the run's folder."""
    patience = {"X_SERVICE_WAIT": "600", "INIT_TIMEOUT": "600"}  # seconds for its own process
    ours = {"MODE": "offline", "SILENT": "true", "CONFIG_DIR": str(tmp_path)} | patience
    for name, value in ours.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    (tmp_path / "a.png").write_bytes(png(np.zeros((2, 7, 3), np.uint8)))
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    media = [
        Medium("tokens/0", tmp_path / "a.png", "genre---jig"),
        Medium("audio/0", tmp_path / "a.wav"),
    ]
    for start_step in (0, 5):
        config = {"model": {"width": 16}}
        with MetricsWriter(tmp_path, start_step, writers=["wandb"], config=config) as writer:
            writer.write(start_step + 5, {"loss": 2.0})
            writer.write_media(start_step + 5, media)
    run_id = json.loads((tmp_path / "wandb.json").read_text())["id"]
    stored = list(tmp_path.glob(f"wandb/offline-run-*-{run_id}/run-{run_id}.wandb"))
    assert stored
    content = b"".join(path.read_bytes() for path in stored)
    assert b"sedd-music" in content and tmp_path.name.encode() in content and b"loss" in content
    assert b"genre---jig" in content
    for medium in media:
        kind = {".png": "images", ".wav": "audio"}[medium.path.suffix]
        name = f"{kind}/{medium.name}_*{medium.path.suffix}"
        copies = list(tmp_path.glob(f"wandb/offline-run-*/files/media/{name}"))
        assert len(copies) == 2 and copies[0].read_bytes() == medium.path.read_bytes()


def test_a_writer_that_there_is_not_is_refused(monkeypatch):
    with pytest.raises(UserError, match=r"monitoring.writers is .*; it can be tensorboard, csv, w"):
        config_lib.check(toy_config(monitoring__writers=("tensorboard", "mlflow")))
    config_lib.check(toy_config(monitoring__writers=("csv", "wandb")))
    config_lib.check(toy_config(monitoring__writers=()))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    writers.require(["csv", "tensorboard"])
    with pytest.raises(UserError, match=r"wandb, which is not installed .*sedd-music\[wandb\]"):
        writers.require(["csv", "wandb"])
