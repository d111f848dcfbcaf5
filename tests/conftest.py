"""A limit of time for every test, so that one that waits in vain fails and the others go on;
programs that are forgotten before they fill the memory; and SIGINT as in the foreground."""

import ctypes
import gc
import resource
import signal
import sys
from pathlib import Path

import pytest

LIMIT_S = 1800  # many times what the slowest takes, also on a machine that is busy
MOST_GROWTH = 3 * 2**29  # bytes
STATM = Path("/proc/self/statm")

_least = 0  # bytes held when programs were last forgotten


def pytest_configure():
    # Tests in the background of a shell would hand their ignored SIGINT on to what they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module", autouse=True)
def programs_go_when_they_are_many():
    """Forgets, between two files, what has been compiled once it has grown by MOST_GROWTH: files
    share little of it, and all of it together would be gigabytes. Needs Linux.
    """
    global _least
    yield
    if "jax" not in sys.modules or resident() < _least + MOST_GROWTH:
        return
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("sedd_jax", "tests"):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()
    sys.modules["jax"].clear_caches()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # glibc keeps what is freed
    _least = resident()


def resident() -> int:
    """The bytes that this process holds in memory; 0 where there is no /proc."""
    try:
        return int(STATM.read_text().split()[1]) * resource.getpagesize()
    except FileNotFoundError:
        return 0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    def fail(signal_number, frame):
        pytest.fail(f"not done after {LIMIT_S} s")

    usual = signal.signal(signal.SIGALRM, fail)
    signal.alarm(LIMIT_S)
    try:
        return (yield)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, usual)
