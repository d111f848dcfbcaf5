"""The values that an export can be given: known without loading JAX."""

DTYPES = ("float32", "float16")  # of the stored weights
