"""Processes of a job find each other, agree, and end together: real ones, over gloo."""

import signal
import socket
import sys
import time

import jax
import numpy as np
import pytest

from launch.soaking.lives import free_port
from sedd_jax.errors import UserError
from sedd_jax.parallel import distributed, membership
from sedd_jax.parallel.distributed import LOST
from sedd_jax.parallel.membership import Membership
from tests.programs import Program, wait_until
from tests.sedd_jax import gang
from tests.sedd_jax.toy import error_line, run, start
from tokenizer_bridge.token_dataset.command import Parser
from tokenizer_bridge.token_dataset.records import Record, TokenDatasetWriter


def command(task: str, *flags: str, argument=None) -> list[str]:
    line = [sys.executable, "-m", "tests.sedd_jax.peer", f"--task={task}", *flags]
    return line if argument is None else [*line, f"--argument={argument}"]


# ---- how they find each other


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"coordinator": "a:1"}, "num_processes and process_id missing"),
        ({"num_processes": 2, "process_id": 0}, "coordinator missing"),
        ({"coordinator": "a:1", "num_processes": 2, "process_id": 2}, "process_id 2 of 2"),
        ({"coordinator": "a", "num_processes": 2, "process_id": 0}, "must be HOST:PORT"),
        (
            {"coordinator": "a:1", "num_processes": 2, "process_id": 0, "find": True},
            "either found or joined by hand",
        ),
    ],
)
def test_a_membership_that_does_not_say_enough_is_refused(values, message):
    with pytest.raises(UserError, match=message):
        Membership(**values)


def test_by_default_a_process_is_alone():
    parser = Parser()
    membership.add_arguments(parser)
    assert membership.asked_for(parser.parse_args([])) == Membership()
    assert Membership().is_alone and not Membership(find=True).is_alone


def test_no_job_to_find_is_one_line():
    line = error_line(run(command("agree", "--distributed")))
    assert "found no job here" in line


@pytest.mark.parametrize(
    ("process_id", "message"), [(1, "nothing listens at"), (0, "did not join")]
)
def test_waiting_for_the_others_has_an_end(process_id, message):
    place = [f"--coordinator=127.0.0.1:{free_port()}", "--num_processes=2"]
    result = run(command("agree", *place, f"--process_id={process_id}", "--join_timeout=2"))
    assert result.returncode == LOST
    [line] = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert message in line and "within 2 s" in line
    assert "Traceback" not in result.stderr and "stack trace" not in result.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_waits_for_the_others_can_be_stopped(number):
    port = free_port()
    place = [f"--coordinator=127.0.0.1:{port}", "--num_processes=2", "--process_id=0"]
    with start(command("agree", *place)) as program:
        wait_until(lambda: listens(port), [program])
        time.sleep(0.5)  # now it waits in JAX, where Python's handlers are not run
        program.send_signal(number)
        result = program.result()
    assert result.returncode == 128 + number, result.stderr
    assert "stopped while it waited for the other processes" in result.stderr


def listens(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def test_they_agree_on_the_largest_and_on_the_first():
    results = gang.run(command("agree"), 2)
    for result in results:
        assert result.returncode == 0, result.stderr
        assert "heard [[0, 0], [0, 10], [1, 10]] True 7" in result.stdout


def test_they_find_each_other_past_a_proxy():
    nowhere = f"http://127.0.0.1:{free_port()}"
    proxies = {"http_proxy": nowhere, "https_proxy": nowhere, "no_proxy": ""}
    for result in gang.run(command("agree", "--join_timeout=200"), 2, **proxies):
        assert result.returncode == 0, result.stderr
        assert "heard" in result.stdout


@pytest.mark.parametrize(("platform", "cure"), [("cuda", "sedd-music[cuda]"), ("none", "unset it")])
def test_a_platform_that_is_not_there_is_one_line(platform, cure):
    line = error_line(run(command("agree"), JAX_PLATFORMS=platform))
    assert f"JAX_PLATFORMS is {platform}, and JAX finds no such device here" in line
    assert cure in line


# ---- how they end


def lines_of_error(results) -> list[list[str]]:
    return [[x for x in r.stderr.splitlines() if x.startswith("error: ")] for r in results]


# Even a process that gets no time from a busy machine is seldom silent for so long.
PEER_TIMEOUT = 20
SOON = 150  # seconds; by itself, JAX would take 230 by default


def start_two(task: str, directory, *flags: str) -> list[Program]:
    """Two processes, once both are in the midst of the task."""
    return gang.start_until(
        lambda: len(list(directory.glob("ready-*"))) == 2,
        command(task, *flags, argument=directory),
        2,
    )


def lose(victim: int, task: str, directory, *flags: str) -> tuple[list, float]:
    """Kills one of two processes; their results, and how many seconds the other took to end."""
    processes = start_two(task, directory, *flags)
    start = time.monotonic()
    processes[victim].kill()
    results = gang.finish(processes)
    return results, time.monotonic() - start


def test_a_lost_peer_ends_a_process_that_waits_for_it(tmp_path):
    results, seconds = lose(1, "compute", tmp_path, f"--peer_timeout={PEER_TIMEOUT}")
    assert results[0].returncode == LOST, results[0].stderr
    [line] = lines_of_error(results)[0]  # gloo may notice first, or may not at all
    assert "another process was lost (" in line or "process 1 was lost: not heard of" in line
    assert seconds < SOON


def test_a_lost_peer_ends_a_process_that_does_not(tmp_path):
    results, seconds = lose(1, "idle", tmp_path, f"--peer_timeout={PEER_TIMEOUT}")
    assert results[0].returncode == LOST, results[0].stderr
    assert lines_of_error(results)[0] == [
        f"error: process 1 was lost: not heard of for {PEER_TIMEOUT} s"
    ]
    # From the last that was heard of it, which on a busy machine may have been some time before.
    assert 0.5 * PEER_TIMEOUT <= seconds < SOON


def test_the_loss_of_process_0_ends_the_others(tmp_path):
    results, seconds = lose(0, "idle", tmp_path)
    # JAX's own watch may be the first to act.
    assert results[1].returncode in (LOST, -signal.SIGABRT), results[1].stderr
    assert "was lost" in results[1].stderr or "another task died" in results[1].stderr
    assert seconds < SOON


def test_an_error_of_one_is_the_error_of_all():
    # However late it hears why the connection broke, the other waits for the reason.
    results = gang.run(command("mistake", "--grace_s=100"), 2)
    assert [result.returncode for result in results] == [1, 1], results[0].stderr
    assert lines_of_error(results) == [
        ["error: process 1: record 7 is damaged"],
        ["error: record 7 is damaged"],
    ]


def test_sigterm_ends_all_with_its_exit_code(tmp_path):
    # However late it hears why, the other waits for the reason.
    processes = start_two("compute", tmp_path, "--grace_s=100")
    processes[1].terminate()
    assert [result.returncode for result in gang.finish(processes)] == [143, 143]


def test_those_that_are_done_wait_for_the_others():
    flag = f"--peer_timeout={PEER_TIMEOUT}"
    results = gang.run(command("slow_end", flag, argument=PEER_TIMEOUT + 5), 2)
    assert [result.returncode for result in results] == [0, 0], (
        results[0].stderr + results[1].stderr
    )


# ---- what they read


def test_an_epoch_is_read_exactly_once_over_all_hosts(tmp_path):
    codec = {
        "name": "toy", "weights_sha256": "0" * 64, "sample_rate": 24_000, "hop_length": 320,
        "codebook_size": 1_000,
    }  # fmt: skip
    with TokenDatasetWriter(tmp_path / "tokens", codec) as writer:
        for track in range(24):  # each one window, known by its token
            writer.write("train", Record(str(track), np.full(8, track, np.uint16), 0.1))
    for result in gang.run(command("read_epoch", argument=tmp_path), 4):
        assert result.returncode == 0, result.stderr
    read = [np.load(tmp_path / f"read-{i}.npy") for i in range(4)]
    assert {part.shape for part in read} == {(3, 2)}
    assert sorted(np.concatenate(read, axis=None)) == list(range(24))


@pytest.mark.parametrize(
    ("error", "is_loss"),
    [
        (ValueError("UNKNOWN: Gloo all-reduce failed: … Connection reset by peer"), True),
        (jax.errors.JaxRuntimeError("FAILED_PRECONDITION: Gloo all-reduce failed: …"), True),
        (jax.errors.JaxRuntimeError("UNAVAILABLE: failed to connect"), True),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory"), False),
        (ValueError("Connection of two arrays"), False),
    ],
)
def test_a_broken_connection_tells_of_a_lost_process(error, is_loss):
    assert distributed.tells_of_a_loss(error) == is_loss
