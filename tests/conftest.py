"""A limit of time for every test, so that one that waits in vain fails and the others go on;
memory given back after each file; and SIGINT as in the foreground."""

import gc
import signal
import sys

import pytest

LIMIT_S = 900  # many times what the slowest takes


def pytest_configure():
    # Tests in the background of a shell would hand their ignored SIGINT on to what they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module", autouse=True)
def programs_go_with_their_file():
    """Forgets what a file's tests have compiled: others hardly use it, and it adds up to GiB."""
    yield
    if "jax" not in sys.modules:
        return
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("sedd_jax", "tests"):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()
    sys.modules["jax"].clear_caches()
    gc.collect()


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
