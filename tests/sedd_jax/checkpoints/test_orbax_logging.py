"""What stays quiet when a read or a write of Orbax fails, and what does not."""

import asyncio
import gc
import logging

import pytest

from sedd_jax.checkpoints.orbax_logging import quiet_orbax

FAILING = "async def fail():\n    raise ValueError('disk full')\n"


def forget_a_failed_task(filename: str) -> None:
    """Runs a task whose code is of `filename`, which fails, and which nobody awaits."""
    names = {}
    exec(compile(FAILING, filename, "exec"), names)

    async def main():
        task = asyncio.ensure_future(names["fail"]())
        await asyncio.wait([task])

    asyncio.run(main())
    gc.collect()


@pytest.mark.parametrize(
    "filename, told",
    [("/site-packages/orbax/checkpoint/serialization.py", 0), ("/site-packages/other.py", 1)],
)
def test_only_orbax_leaves_failed_tasks_without_a_word(filename, told, caplog):
    quiet_orbax()
    with caplog.at_level(logging.ERROR, logger="asyncio"):
        forget_a_failed_task(filename)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == told, messages
    assert all("Task exception was never retrieved" in message for message in messages)
