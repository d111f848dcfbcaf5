import json
import math
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sedd_jax.monitoring import metrics as metrics_lib
from sedd_jax.monitoring.event_file import EventFile, _masked_crc
from sedd_jax.network import transformer


def test_lines_after_the_restored_step_go_and_a_cut_one_too(tmp_path):
    with metrics_lib.MetricsWriter(tmp_path, 0) as writer:
        for step in (5, 10, 15):
            writer.write(step, {"loss": step / 10})
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 20, "lo')
    with metrics_lib.MetricsWriter(tmp_path, 10) as writer:
        writer.write(15, {"loss": float("nan")})
    lines = metrics_lib.read_lines(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in lines] == [5, 10, 15]
    assert lines[-1]["loss"] is None


def read_events(path) -> list[bytes]:
    """The records of an event file, their checksums verified."""
    data, events = path.read_bytes(), []
    while data:
        (size,) = struct.unpack("<Q", data[:8])
        assert data[8:12] == _masked_crc(data[:8])
        assert data[12 + size : 16 + size] == _masked_crc(data[12 : 12 + size])
        events.append(data[12 : 12 + size])
        data = data[16 + size :]
    return events


def test_checksum_is_crc32c():
    # The check value of CRC-32C (RFC 3720, B.4): 0xE3069283, here as TFRecord masks it.
    crc = 0xE3069283
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert _masked_crc(b"123456789") == struct.pack("<I", masked)


def test_event_file_holds_protocol_buffers_that_tensorboard_reads(tmp_path):
    events = EventFile(tmp_path, 6)
    events.write(300, {"loss": 1.5})
    events.close()
    version, session, scalars = (event[9:] for event in read_events(*tmp_path.iterdir()))
    # Tags (number << 3 | wire type) and values as in event.proto; each event starts with 9 bytes
    # of wall time.
    assert version == b"\x1a\x0dbrain.Event:2"
    assert session == b"\x10\x06" + b"\x3a\x02\x08\x01"
    value = b"\x0a\x04loss" + b"\x15" + struct.pack("<f", 1.5)
    assert scalars == b"\x10\xac\x02" + b"\x2a\x0d" + b"\x0a\x0b" + value


def metrics_of(loss, skips=0):
    values = {
        "loss": loss, "nats_per_token": loss / 4, "grad_norm": 2.0, "learning_rate": 0.1,
        "skipped": skips, "consecutive_skips": skips,
    }  # fmt: skip
    return {name: jnp.asarray(value) for name, value in values.items()}


def test_meter_averages_finite_steps_and_forgets_them_once_reported():
    meter = metrics_lib.Meter(tokens_per_step=100)
    assert meter.summary() == ""
    for loss in (1.0, np.nan, 3.0):
        meter.add(metrics_of(loss, skips=int(loss == 3.0)))
    report = meter.report()
    assert report["loss"] == 2.0 and report["nats_per_token"] == 0.5
    assert report["bits_per_token"] == pytest.approx(0.5 / math.log(2))
    assert report["skipped"] == meter.consecutive_skips == 1
    assert report["tokens_per_second"] == pytest.approx(100 / report["seconds_per_step"])
    assert "mfu" not in report
    meter.add(metrics_of(5.0))
    assert meter.report()["loss"] == 5.0
    assert meter.summary().startswith(f"bits/token={1.25 / math.log(2):.3f}, ")
    json.dumps(report)


class Device:
    """Computes steps one after the other, and a host's clock that waits for them."""

    def __init__(self, monkeypatch):
        self.now = self.busy_until = 0.0
        monkeypatch.setattr(metrics_lib.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(metrics_lib.jax, "device_get", self._wait)

    def dispatch(self, seconds: float, **kwargs) -> dict:
        self.busy_until = max(self.now, self.busy_until) + seconds
        return metrics_of(1.0, **kwargs) | {"done": self.busy_until}

    def _wait(self, metrics):
        self.now = max(self.now, metrics["done"])
        return metrics


def test_step_times_are_the_devices_own_while_it_is_kept_busy(monkeypatch):
    device = Device(monkeypatch)
    meter = metrics_lib.Meter(tokens_per_step=100)
    durations = [1.0, 1.0, 1.0, 5.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0]
    for seconds in durations:
        with meter.waiting():
            device.now += 0.25  # while the device works
        meter.add(device.dispatch(seconds))
    report = meter.report()
    # Nothing hides the first wait.
    assert report["seconds_per_step"] == pytest.approx((sum(durations) + 0.25) / 10)
    assert report["step_seconds/max"] == 5.0
    assert report["step_seconds/p50"] == 1.0
    assert report["step_seconds/p90"] == pytest.approx(np.percentile([1.25, *durations[1:]], 90))
    assert report["data_wait_share"] == pytest.approx(2.5 / 15.25)
    assert meter.productive_seconds == pytest.approx(15.25)


def test_a_slow_pipeline_shows_in_the_step_times(monkeypatch):
    device = Device(monkeypatch)
    meter = metrics_lib.Meter(tokens_per_step=100)
    for _ in range(8):
        with meter.waiting():
            device.now += 4.0
        meter.add(device.dispatch(1.0))
    report = meter.report()
    assert report["tokens_per_second"] == pytest.approx(100 * 8 / 33)
    assert report["data_wait_share"] == pytest.approx(32 / 33)


def test_pauses_and_skipped_updates(monkeypatch):
    device = Device(monkeypatch)
    meter = metrics_lib.Meter(100, flops_per_token=30, flops_per_second_at_peak=6000.0)
    for skips in (0, 1, 0):
        meter.add(device.dispatch(2.0, skips=skips))
        with meter.paused():
            device.now += 50.0
    report = meter.report()
    assert report["seconds_per_step"] == report["step_seconds/max"] == 2.0
    assert report["mfu"] == pytest.approx(30 * 50 / 6000)
    assert meter.productive_seconds == 4.0


def test_one_process_writes(tmp_path):
    with metrics_lib.MetricsWriter(tmp_path / "none", 0, active=False) as writer:
        writer.write(1, {"loss": 1.0})
    assert not list(tmp_path.iterdir())


def test_flops_agree_with_the_compiler_on_the_matmuls():
    network = transformer.NetworkConfig(
        vocab_size=257,
        length=128,
        width=64,
        num_blocks=1,
        num_heads=2,
        cond_dim=8,
        dropout=0.0,
        attention="xla",
    )
    params = transformer.init_params(network, jax.random.key(0))
    batch = 4
    x_BxL, sigma_B = jnp.zeros((batch, 128), jnp.int32), jnp.ones(batch)
    compiled = (
        jax.jit(lambda params: transformer.output(network, params, x_BxL, sigma_B))
        .lower(params)
        .compile()
    )
    flops = metrics_lib.forward_flops_per_token(network) * batch * 128
    # The compiler also counts everything elementwise.
    assert flops < compiled.cost_analysis()["flops"] < 1.2 * flops
    assert metrics_lib.train_flops_per_token(network) * batch * 128 == 3 * flops
