"""Where compiled programs are kept, and that nothing about the place can stop a program."""

import errno
import shutil
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax._src import lru_cache
from jax.experimental.compilation_cache import compilation_cache as jax_cache

from sedd_jax.compilation_cache import use_compilation_cache


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home for nothing but compiled programs; JAX starts without a cache, and ends so."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    before = jax.config.jax_compilation_cache_dir
    least = jax.config.jax_persistent_cache_min_compile_time_secs
    enabled = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_compilation_cache_dir", None)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_enable_compilation_cache", True)
    jax_cache.reset_cache()
    yield tmp_path / "home"
    jax.config.update("jax_compilation_cache_dir", before)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", least)
    jax.config.update("jax_enable_compilation_cache", enabled)
    jax_cache.reset_cache()


def compile_something() -> None:
    jax.jit(lambda x: jnp.sin(x) @ x).lower(jnp.ones((3, 3))).compile()


def test_programs_are_kept_by_default(home):
    use_compilation_cache()
    compile_something()
    assert list((home / ".cache" / "sedd_jax" / "compiled").glob("jit__lambda*"))


def test_a_process_that_is_killed_leaves_no_part_of_a_program(home, monkeypatch):
    class Killed(BaseException):
        pass

    def half(path, data):
        with open(path, "wb") as file:
            file.write(data[: len(data) // 2])
        raise Killed

    use_compilation_cache()
    with monkeypatch.context() as patch, pytest.raises(Killed):
        for kind in (Path, type(lru_cache.pathlib.Path("/"))):  # JAX has its own, where it writes
            patch.setattr(kind, "write_bytes", half)
        compile_something()
    for _ in range(2):
        jax.clear_caches()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            compile_something()
    assert not list((home / ".cache" / "sedd_jax" / "compiled").glob(".*"))


def test_they_are_kept_where_the_user_says(home, tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "mine"))
    use_compilation_cache()
    compile_something()
    assert list((tmp_path / "mine").iterdir()) and not home.exists()


def test_an_empty_place_turns_it_off(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    jax.config.update("jax_compilation_cache_dir", "")
    use_compilation_cache()
    compile_something()
    assert not list(tmp_path.iterdir())


def test_a_bucket_is_left_to_jax(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    jax.config.update("jax_compilation_cache_dir", "gs://bucket/compiled")
    use_compilation_cache()
    assert jax.config.jax_compilation_cache_dir == "gs://bucket/compiled"
    assert not list(tmp_path.iterdir())


def test_a_place_that_several_machines_share_is_tried_by_all_at_once(home, monkeypatch, caplog):
    touch = Path.touch

    def and_the_other_one_of_this_number_is_faster(path):
        touch(path)
        path.unlink()

    monkeypatch.setattr(Path, "touch", and_the_other_one_of_this_number_is_faster)
    use_compilation_cache()
    assert jax.config.jax_compilation_cache_dir and not caplog.text


def read_only(home, monkeypatch):
    def refuse(path, *args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "touch", refuse)


def full(home, monkeypatch):
    free_bytes = shutil._ntuple_diskusage(10**12, 10**12, 3 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free_bytes)


def no_directory(home, monkeypatch):
    home.write_text("in the way")


def no_home(home, monkeypatch):
    monkeypatch.setattr("os.path.expanduser", lambda path: path)


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        (read_only, "Read-only file system"),
        (full, "has 3 MiB left"),
        (no_directory, "Not a directory"),
        (no_home, "this user has no home"),
    ],
)
def test_trouble_is_one_warning(home, tmp_path, monkeypatch, caplog, trouble, says):
    trouble(home, monkeypatch)
    monkeypatch.chdir(tmp_path)
    use_compilation_cache()
    [record] = caplog.records
    assert says in record.getMessage()
    assert "JAX_COMPILATION_CACHE_DIR" in record.getMessage()
    compile_something()
    assert not list(tmp_path.rglob("jit_*"))
