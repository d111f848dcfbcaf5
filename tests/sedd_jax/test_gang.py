import pytest

from launch.soaking.lives import free_port
from tests.sedd_jax import gang


def attempts(directory, code: int) -> list[str]:
    """Two processes that note their attempt, and end with `code` at the first."""
    # Both have noted it before either ends, after which the other may be killed.
    wait = 'echo >> "$0"; until [ "$(wc -l < "$0")" -ge 2 ]; do sleep 0.1; done; '
    note = f'{wait}[ "$(wc -l < "$0")" -gt 2 ] || exit {code}; touch "$0.good"'
    return ["bash", "-c", note, str(directory / "notes")]


def test_processes_that_lost_each_other_try_again_once(tmp_path):
    results = gang.run(attempts(tmp_path, 75), 2)
    assert [result.returncode for result in results] == [0, 0]
    assert [result.returncode for result in gang.run(["bash", "-c", "exit 75"], 2)] == [75, 75]


@pytest.mark.parametrize("code", [1, 137])
def test_mistakes_and_kills_are_final(tmp_path, code):
    results = gang.run(attempts(tmp_path, code), 2)
    assert [result.returncode for result in results] == [code, code]


def test_waiting_for_a_job_that_lost_itself_tries_again_once(tmp_path):
    good = tmp_path / "notes.good"
    programs = gang.start_until(good.exists, attempts(tmp_path, 75), 2)
    assert [result.returncode for result in gang.finish(programs)] == [0, 0]
    with pytest.raises(pytest.fail.Exception, match="ended before its time"):
        gang.start_until((tmp_path / "none").exists, ["bash", "-c", "exit 1"], 2)


def test_a_port_is_given_once():
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50 and all(10_000 <= port < 32_000 for port in ports)
