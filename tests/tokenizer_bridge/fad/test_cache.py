"""The cache of vectors: processes share it, and any of them may be killed."""

import multiprocessing
import os
import signal
import time

import numpy as np

from tokenizer_bridge.fad.cache import VectorCache, entry_key

KEYS = [entry_key(clip=i) for i in range(20)]


def vectors(i: int) -> np.ndarray:
    return np.full((50, 200), i, np.float32)


def write_for_ever(folder):
    cache = VectorCache(folder)
    while True:
        for i, key in enumerate(KEYS):
            cache.put(key, vectors=vectors(i))


def test_entries_are_what_was_put():
    facts = {"file": "abc", "clip": [0.0, 10.0], "loudness": None}
    assert entry_key(**facts) == entry_key(**dict(reversed(facts.items())))
    assert entry_key(**facts) != entry_key(**(facts | {"loudness": -23.0}))
    cache = VectorCache(None)
    cache.put(KEYS[0], vectors=vectors(0))
    assert cache.get(KEYS[0]) is None


def test_writers_that_are_killed_leave_whole_entries(tmp_path):
    """Three processes write the same entries all the time; each is killed, and another comes."""
    context = multiprocessing.get_context("spawn")
    cache = VectorCache(tmp_path)
    writers = [context.Process(target=write_for_ever, args=(tmp_path,)) for _ in range(3)]
    for writer in writers:
        writer.start()
    try:
        give_up = time.monotonic() + 300
        while any(cache.get(key) is None for key in KEYS):
            assert time.monotonic() < give_up
            time.sleep(0.02)
        for writer in writers:
            for _ in range(5):
                for i, key in enumerate(KEYS):
                    np.testing.assert_array_equal(cache.get(key)["vectors"], vectors(i))
            os.kill(writer.pid, signal.SIGKILL)
            writer.join()
    finally:
        for writer in writers:
            writer.kill()
    for i, key in enumerate(KEYS):
        np.testing.assert_array_equal(cache.get(key)["vectors"], vectors(i))


def test_entries_are_not_waited_for_and_tell_when_they_are_not_whole(tmp_path, monkeypatch):
    """After a power failure a file may be short, or of zeros: it was renamed before it was kept."""
    monkeypatch.setattr(os, "fsync", None)
    cache = VectorCache(tmp_path)
    cache.put(KEYS[0], vectors=vectors(1), level=np.zeros(2))
    assert sorted(cache.get(KEYS[0])) == ["level", "vectors"]
    (entry,) = tmp_path.rglob("*.vectors")
    content = entry.read_bytes()
    for length in (0, 1, 31, 32, 33, len(content) // 2, len(content) - 40):
        for damaged in (content[:length], content[:length].ljust(len(content), b"\0")):
            entry.write_bytes(damaged)
            assert cache.get(KEYS[0]) is None
