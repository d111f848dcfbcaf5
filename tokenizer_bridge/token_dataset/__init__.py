"""The token dataset's format. Nothing here imports torch or jax; sedd_jax uses this room only."""
