"""The devices here: their peak rates, and the memory that is taken."""

import re
import resource

import jax

# Dense bf16 matrix products, in TFLOP/s of one JAX device, by device_kind in full. TPU: "Peak
# compute per chip (bf16)" of cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e}; on these a device is a
# chip. NVIDIA: data sheets at nvidia.com/en-us/data-center/{a100,h100,h200,dgx-b200,gb200-nvl72},
# which give Hopper's and Blackwell's figures with sparsity, twice the dense ones. A slice of a
# GPU (MIG) and cards of other names are unknown on purpose.
PEAK_BF16_TFLOPS = (
    (r"TPU v4", 275.0),
    (r"TPU (v5 lite|v5e)", 197.0),
    (r"TPU (v5|v5p)", 459.0),
    (r"TPU (v6 lite|v6e)", 918.0),
    (r"(NVIDIA )?A100-(SXM4|PCIE)-(40|80)GB|NVIDIA A100 80GB PCIe", 312.0),
    (r"NVIDIA H100 80GB HBM3|NVIDIA GH200( \d+GB)?", 989.0),
    (r"NVIDIA H100 PCIe", 756.4),
    (r"NVIDIA H100 NVL|NVIDIA H200 NVL", 835.5),
    (r"NVIDIA H200", 989.0),
    (r"NVIDIA B200", 2250.0),
    (r"NVIDIA GB200", 2500.0),
)


def peak_tflops(device_kind: str) -> float | None:
    """Dense bf16 TFLOP/s of a device, None for one that is not in the table."""
    for pattern, tflops in PEAK_BF16_TFLOPS:
        if re.fullmatch(pattern, device_kind):
            return tflops
    return None


def memory() -> dict[str, float]:
    """Bytes that this process holds.

    memory/host_peak_bytes: most resident memory so far. Where the backend counts (not on a CPU), of
    the fullest device of this host: memory/device_bytes now, memory/device_peak_bytes the most so
    far, memory/device_limit_bytes what there is.
    """
    values = {"memory/host_peak_bytes": 1024.0 * _peak_resident_kib()}
    stats = [stats for device in jax.local_devices() if (stats := device.memory_stats())]
    for name, key in (
        ("memory/device_bytes", "bytes_in_use"),
        ("memory/device_peak_bytes", "peak_bytes_in_use"),
        ("memory/device_limit_bytes", "bytes_limit"),
    ):
        known = [float(s[key]) for s in stats if key in s]
        if known:
            values[name] = max(known)
    return values


def _peak_resident_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
