"""The axes of a mesh: known without loading JAX."""

AXES = ("data", "fsdp", "tensor")
