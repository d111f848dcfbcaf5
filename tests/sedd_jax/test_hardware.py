import jax
import numpy as np
import pytest

from sedd_jax import hardware


@pytest.mark.parametrize(
    ("device_kind", "tflops"),
    [
        ("TPU v4", 275), ("TPU v5 lite", 197), ("TPU v5", 459), ("TPU v5p", 459),
        ("TPU v6 lite", 918), ("NVIDIA A100-SXM4-80GB", 312), ("NVIDIA A100 80GB PCIe", 312),
        ("NVIDIA H100 80GB HBM3", 989), ("NVIDIA H100 PCIe", 756.4), ("NVIDIA H200", 989),
        ("NVIDIA H200 NVL", 835.5), ("NVIDIA B200", 2250),
    ],
)  # fmt: skip
def test_known_devices(device_kind, tflops):
    assert hardware.peak_tflops(device_kind) == tflops


@pytest.mark.parametrize(
    "device_kind",
    ["cpu", "TPU v4 lite", "NVIDIA H20", "NVIDIA A100-SXM4-40GB MIG 1g.5gb", "NVIDIA H100", ""],
)
def test_no_peak_is_made_up(device_kind):
    assert hardware.peak_tflops(device_kind) is None


def test_memory_of_a_cpu_is_that_of_the_process():
    before = hardware.memory()
    assert list(before) == ["memory/host_peak_bytes"]
    assert 1e7 < before["memory/host_peak_bytes"] < 1e12
    held = np.ones(40_000_000)
    grown = hardware.memory()["memory/host_peak_bytes"] - before["memory/host_peak_bytes"]
    assert held.nbytes * 0.5 < grown or before["memory/host_peak_bytes"] > held.nbytes * 2


def test_the_fullest_device_is_reported(monkeypatch):
    class Device:
        def __init__(self, in_use):
            self._stats = {"bytes_in_use": in_use, "peak_bytes_in_use": 2 * in_use}

        def memory_stats(self):
            return self._stats

    monkeypatch.setattr(jax, "local_devices", lambda: [Device(3), Device(5), Device(4)])
    values = hardware.memory()
    assert values["memory/device_bytes"] == 5 and values["memory/device_peak_bytes"] == 10
    assert "memory/device_limit_bytes" not in values
