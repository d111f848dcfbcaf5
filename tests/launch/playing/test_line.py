"""The line in front of a model: in turn, and out of it when one no longer wants to wait."""

import threading

import pytest

from launch.playing.line import Line


def test_those_who_come_later_wait_and_are_told_how_many_come_before():
    line, order, told = Line(), [], []
    free = threading.Event()

    def come(name: str) -> None:
        with line.turn(lambda before: told.append((name, before))):
            order.append(name)

    with line.turn(lambda before: told.append(("first", before))):
        threads = []
        for i, name in enumerate(("second", "third")):
            threads.append(threading.Thread(target=come, args=(name,)))
            threads[-1].start()
            while not any(found == name for found, _ in told):
                free.wait(0.01)
            assert (name, i + 1) in told
        assert order == []
    for thread in threads:
        thread.join()
    assert order == ["second", "third"] and "first" not in dict(told)


def test_who_gives_up_makes_room():
    line = Line()

    def give_up(before: int) -> None:
        raise InterruptedError

    with line.turn(give_up):
        with pytest.raises(InterruptedError):
            with line.turn(give_up):
                pytest.fail("two at once")
    with line.turn(give_up):  # nobody is left in it
        pass


def test_a_turn_that_fails_ends():
    line = Line()
    with pytest.raises(ZeroDivisionError):
        with line.turn(lambda before: None):
            1 / 0  # noqa: B018
    with line.turn(lambda before: pytest.fail("somebody is still there")):
        pass
