"""Targets that programs are launched on."""
