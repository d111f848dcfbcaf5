"""Published figures of accelerators; all rates per chip, decimal units, networks one way.

TPU v5e  docs.cloud.google.com/tpu/docs/v5e   197 TFLOP/s bf16, 16 GB, 819 GB/s, ICI 400 GB/s both
         ways over 4 ports, 2 × 100 Gb/s network a host of 8 chips; wraps around at 16 (2D torus)
TPU v5p  docs.cloud.google.com/tpu/docs/v5p   459 TFLOP/s bf16, 95 GiB, 2,765 GB/s, ICI 1,200 GB/s
         both ways over 6 ports, 50 Gb/s network a chip; wraps around at multiples of 4 (3D torus)
TPU v6e  docs.cloud.google.com/tpu/docs/v6e   918 TFLOP/s bf16, 32 GB, 1,638 GB/s, ICI 800 GB/s
         both ways over 4 ports, 25.6 Tb/s network a pod of 256 chips; wraps around at 16 (2D torus)
H100     nvidia.com/en-us/data-center/h100 (SXM)   989 TFLOP/s bf16 dense, 80 GB, 3.35 TB/s, NVLink
         900 GB/s both ways; DGX H100 user guide: a 400 Gb/s InfiniBand port for each GPU
Memory sizes are those that XLA is told of: GiB for TPUs, the driver's figure for the H100.
"""

import dataclasses

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """flops [FLOP/s, bf16]; hbm_bytes; hbm_rate, port_rate, outer_rate [bytes/s, one way].

    Ports are those of the inner network (ICI; NVLink as one port), the outer one is between slices
    (data-center network) or hosts (InfiniBand). wraps_at: a torus dimension of a multiple of so
    many chips is a ring; 0: no torus.
    """

    name: str
    platform: str
    dimensions: int
    flops: float
    hbm_bytes: int
    hbm_rate: float
    inner: str
    port_rate: float
    outer: str
    outer_rate: float
    wraps_at: int


CHIPS = {
    "v5e": Chip(
        "TPU v5e", "tpu", 2, 197e12, 16 * GIB, 819e9, "ICI", 50e9, "DCN", 3.125e9, wraps_at=16
    ),
    "v5p": Chip(
        "TPU v5p", "tpu", 3, 459e12, 95 * GIB, 2765e9, "ICI", 100e9, "DCN", 6.25e9, wraps_at=4
    ),
    "v6e": Chip(
        "TPU v6e", "tpu", 2, 918e12, 32 * GIB, 1638e9, "ICI", 100e9, "DCN", 12.5e9, wraps_at=16
    ),
    "h100": Chip(
        "H100 SXM", "cuda", 2, 989e12, 84_978_434_048, 3352e9, "NVLink", 450e9, "IB", 50e9, 0
    ),
}
