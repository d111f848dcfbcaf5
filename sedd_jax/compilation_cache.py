"""A place for compiled programs, so that the next start of the same program does not compile."""

import os
import shutil
from pathlib import Path

import jax
from absl import logging
from jax._src import lru_cache  # which has no public name

from sedd_jax.errors import one_line
from tokenizer_bridge.token_dataset.files import atomic_file

VARIABLE = "JAX_COMPILATION_CACHE_DIR"
MIN_FREE_BYTES = 200 * 2**20  # a program takes some megabytes
_put = lru_cache.LRUCache.put


def use_compilation_cache() -> None:
    """Keeps compiled programs in ~/.cache/sedd_jax/compiled, or where JAX_COMPILATION_CACHE_DIR
    says; an empty one turns it off. A place that cannot be written is a warning and turns it off.
    """
    directory = jax.config.jax_compilation_cache_dir
    if directory is None:
        directory = os.path.expanduser("~/.cache/sedd_jax/compiled")
    if "://" in directory:  # a bucket, which JAX reads by itself
        return
    problem = _problem(Path(directory)) if directory else None
    if problem:
        logging.warning(
            "compiled programs are not kept: %s; %s names another place, or none", problem, VARIABLE
        )
    on = bool(directory) and not problem
    lru_cache.LRUCache.put = _put_whole
    # Not "": JAX would make files of its own in the present directory.
    jax.config.update("jax_compilation_cache_dir", directory if on else None)


def _put_whole(self: lru_cache.LRUCache, key: str, value: bytes) -> None:
    """Keeps a program, whole or not at all.

    JAX writes in place. What a process leaves that is killed meanwhile, it does not replace, and
    warns of at every start.
    """
    place = Path(str(self.path)) / f"{key}{lru_cache._CACHE_SUFFIX}"
    if self.eviction_enabled or "://" in str(self.path) or place.exists():
        return _put(self, key, value)
    with atomic_file(place, durable=False) as partial:
        partial.write_bytes(value)


def _problem(directory: Path) -> str | None:
    """The reason why nothing can be kept there, None when it can."""
    if directory.parts[0] == "~":
        return "this user has no home"
    probe = directory / f".probe-{os.getpid()}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink(missing_ok=True)  # one of another machine may have the same number
        free = shutil.disk_usage(directory).free
    except OSError as error:
        return one_line(error)
    if free < MIN_FREE_BYTES:
        return f"{directory} has {free / 2**20:.0f} MiB left"
    return None
