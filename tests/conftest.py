"""A limit of time for every test, so that one that waits in vain fails and the others go on;
and SIGINT as in the foreground."""

import signal

import pytest

LIMIT_S = 900  # many times what the slowest takes


def pytest_configure():
    # Tests in the background of a shell would hand their ignored SIGINT on to what they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
