"""Many devices and processes: mesh and layouts, distributed start, agreement."""
