"""The share of each worker: tracks, the longest first, and a GPU of its own."""

import pytest
import torch

from tests.tokenizer_bridge.encoding.test_job import make_job
from tokenizer_bridge.encoding import workers
from tokenizer_bridge.sources import Track, longest_first


def test_the_longest_tracks_come_first_and_are_dealt_evenly(songs, tmp_path):
    job = make_job(songs, tmp_path / "out")  # song8 is the longest
    numbers = [[int(track.id[-5]) for track in job.shard(i, 4)] for i in range(4)]
    assert numbers == [[8, 1, 0], [7, 2], [6, 3], [5, 4]]


def test_durations_count_where_all_are_known(tmp_path):
    for name, size in (("a", 5), ("b", 9), ("c", 5)):
        (tmp_path / name).write_bytes(bytes(size))
    seconds = {"a": 1.0, "b": 2.0, "c": 3.0}
    known = [Track(n, tmp_path / n, duration_s=s) for n, s in seconds.items()]
    assert [track.id for track in longest_first(known)] == ["c", "b", "a"]
    mixed = [*known, Track("gone", tmp_path / "gone")]
    assert [track.id for track in longest_first(mixed)] == ["b", "a", "c", "gone"]


@pytest.mark.parametrize(
    ("device", "num_gpus", "wanted"),
    [
        ("cuda", 8, [f"cuda:{i}" for i in range(8)]),
        ("cuda", 3, [f"cuda:{i % 3}" for i in range(8)]),
        ("cuda", 0, ["cuda"] * 8),  # of which loading the codec tells
        ("cuda:1", 8, ["cuda:1"] * 8),
        ("cpu", 8, ["cpu"] * 8),
    ],
)
def test_workers_share_out_the_gpus(device, num_gpus, wanted, monkeypatch):
    started = []

    class Context:
        def Pipe(self, duplex):
            return FinishedWorker(), FinishedWorker()

        def Process(self, target, args, daemon):
            started.append(args[1].device)
            return FinishedWorker()

    class FinishedWorker:
        exitcode = 0

        def start(self):
            pass

        close = join = terminate = start

        def recv(self):
            raise EOFError

    monkeypatch.setattr(torch.cuda, "device_count", lambda: num_gpus)
    monkeypatch.setattr(workers.multiprocessing, "get_context", lambda kind: Context())
    monkeypatch.setattr(workers, "wait", lambda receivers: receivers)
    choice = workers.CodecChoice("toy", None, device)
    shards = [(i, 8) for i in range(8)]
    workers.run_workers(None, choice, shards, 1, lambda tracks: None, lambda seconds: None)
    assert started == wanted
