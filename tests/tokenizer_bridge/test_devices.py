"""Cores that are counted as they are given, and threads that do not wait for each other."""

import threading

import pytest
import torch

from tokenizer_bridge import devices
from tokenizer_bridge.devices import available_cores, default_threads, map_in_threads


def a_group(root, path, **files):
    group = root / path
    group.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (group / name.replace("__", ".")).write_text(text)


def in_groups(monkeypatch, root, own):
    """Makes this process believe that it is in these control groups."""
    file = root / "own"
    file.write_text(own)
    real = devices._own_groups
    monkeypatch.setattr(devices, "_own_groups", lambda controller: real(controller, root, file))


@pytest.mark.parametrize(("quota", "cores"), [
    ("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), ("max 100000", 8),
    ("1600000 100000", 8), ("", 8),
])  # fmt: skip
@pytest.mark.parametrize(
    ("own", "limited"), [("/", ""), ("/pod/box", "pod"), ("/pod/box", "pod/box")]
)
def test_a_quota_of_the_control_group_counts(tmp_path, monkeypatch, quota, cores, own, limited):
    """Version 2: the limit may stand on the group's own folder or on one above it."""
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)), raising=False)
    a_group(tmp_path, own.lstrip("/"))
    a_group(tmp_path, limited, cpu__max=quota)
    in_groups(monkeypatch, tmp_path, f"0::{own}\n")
    assert available_cores() == cores


def test_a_quota_of_version_1(tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)), raising=False)
    a_group(tmp_path, "cpu/job", cpu__cfs_quota_us="300000", cpu__cfs_period_us="100000\n")
    a_group(tmp_path, "cpu", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000\n")
    in_groups(monkeypatch, tmp_path, "5:memory:/job\n4:cpu,cpuacct:/job\n")
    assert available_cores() == 3


def test_without_affinity_and_groups_all_cores_count(monkeypatch, tmp_path):
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 5)
    in_groups(monkeypatch, tmp_path, "")
    assert available_cores() == 5


@pytest.mark.parametrize(("limit", "available", "threads"), [
    ("max", 100e9, 8), ("4000000000", 100e9, 2), ("max", 7e9, 4), ("100", 100e9, 1),
])  # fmt: skip
def test_memory_bounds_the_threads(tmp_path, monkeypatch, limit, available, threads):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(devices, "_available_bytes", lambda: available)
    a_group(tmp_path, "pod", memory__max=limit)
    in_groups(monkeypatch, tmp_path, "0::/pod\n")
    assert default_threads() == threads
    assert default_threads(2) == max(1, threads // 2)


@pytest.mark.parametrize("num_threads", [1, 3])
def test_threads_use_one_core_each_and_keep_the_order(num_threads):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        seen = list(
            map_in_threads(
                lambda i: (i, torch.get_num_threads(), threading.get_ident()),
                range(40),
                num_threads,
            )
        )
        assert [i for i, _, _ in seen] == list(range(40))
        assert {threads for _, threads, _ in seen} == {1}
        assert len({thread for _, _, thread in seen}) <= num_threads
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_an_error_in_a_thread_is_raised():
    with pytest.raises(ZeroDivisionError):
        list(map_in_threads(lambda i: 1 / i, [1, 0, 2], 2))
