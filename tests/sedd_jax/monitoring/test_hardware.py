import sys

import jax
import pytest

from sedd_jax.monitoring import hardware
from tests.sedd_jax.toy import run


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


def test_memory_of_a_cpu_is_the_most_that_the_process_has_held():
    """In a process of its own, as others have held much in this one, and started by a small one:
    Linux counts what the process held before it became another program."""
    program = (
        "import numpy as np\n"
        "from sedd_jax.monitoring import hardware\n"
        "def peak():\n"
        "    [(name, value)] = hardware.memory().items()\n"
        "    assert name == 'memory/host_peak_bytes'\n"
        "    return value\n"
        "peak()  # starts JAX, and with it the compilers that are there\n"
        "before = peak()\n"
        "held = np.ones(40_000_000)\n"
        "while_held = peak()\n"
        "del held\n"
        "print(before, while_held, peak())"
    )
    result = run(["bash", "-c", '"$@"; exit $?', "-", sys.executable, "-c", program])
    assert result.returncode == 0, result.stderr
    before, while_held, after = map(float, result.stdout.split())
    assert 1e7 < before < 1e10
    assert while_held - before == pytest.approx(40_000_000 * 8, rel=0.2)
    assert after >= while_held


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
