"""What waits for programs in these tests fails with what they said, and leaves none behind."""

import os
import sys
import time

import pytest

from tests.programs import ROOT, Program, wait_until


def bash(script: str) -> Program:
    return Program(["bash", "-c", script], env=dict(os.environ))


def test_the_result_of_a_program():
    with bash("echo said; echo complained >&2; exit 3") as program:
        result = program.result()
    assert (result.returncode, result.stdout, result.stderr) == (3, "said\n", "complained\n")


def test_one_that_ends_before_its_time_ends_the_others():
    lasting = bash("exec sleep 600")
    with pytest.raises(pytest.fail.Exception, match=r"before its time(.|\n)*exit code 3(.|\n)*why"):
        wait_until(lambda: False, [lasting, bash("echo why >&2; exit 3")])
    assert lasting.poll() is not None


def test_waiting_has_an_end():
    lasting = bash("echo so far; exec sleep 600")
    with pytest.raises(pytest.fail.Exception, match=r"nothing came within 1 s(.|\n)*so far"):
        wait_until(lambda: False, [lasting], seconds=1)
    assert lasting.poll() is not None
    with bash("sleep 600") as lasting, pytest.raises(pytest.fail.Exception, match="did not end"):
        lasting.result(seconds=0.1)


def test_what_a_program_did_before_it_ended_counts(tmp_path):
    def done() -> bool:
        seen = (tmp_path / "done").exists()
        time.sleep(0.2)  # meanwhile it ends
        return seen

    wait_until(done, [bash(f"sleep 0.1; touch {tmp_path / 'done'}")])


def test_a_test_that_waits_in_vain_fails_and_the_next_one_runs(tmp_path):
    limit = "import tests.conftest as limit\nlimit.LIMIT_S = 1\nfrom tests.conftest import *\n"
    (tmp_path / "conftest.py").write_text(limit)
    (tmp_path / "test_it.py").write_text(
        "import time\ndef test_endless(): time.sleep(600)\ndef test_next(): pass\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", str(tmp_path)]
    with Program(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, cwd=tmp_path) as program:
        result = program.result()
    assert "not done after 1 s" in result.stdout and "1 failed, 1 passed" in result.stdout
