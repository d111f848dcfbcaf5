"""What a run does when its state cannot be saved, seen on a disk that fails to order."""

import threading

import pytest

from sedd_jax.checkpoints.meta import Meta
from sedd_jax.checkpoints.save_retries import Saver, SaveStatus
from sedd_jax.errors import UserError


class Disk:
    """In place of Checkpoints: its saves go as `plan` says: ok, no (at once), late (by `wait`)."""

    def __init__(self, *plan: str):
        self.plan, self.steps, self.reopened = list(plan), [], 0

    def has(self, step):
        return step in self.steps

    def save(self, state, meta):
        self.outcome, self.step = self.plan.pop(0), meta.step
        if self.outcome == "no":
            raise UserError("No space left")

    def wait(self):
        if self.outcome == "late":
            raise UserError("No space left")
        self.steps.append(self.step)

    def reopen(self):
        self.reopened += 1


def meta(step: int) -> Meta:
    return Meta(step, {}, {}, "toy")


def run(saver: Saver, steps, every=4) -> list[int]:
    """A loop of instant steps; those at which a save was started."""
    tried = []
    for step in steps:
        while saver.status().is_under_way:
            pass
        if saver.is_time(saver.status(), step % every == 0):
            saver.save(None, meta(step))
            tried.append(step)
    return tried


@pytest.mark.parametrize("failure", ["no", "late"])
def test_a_failed_save_is_reported_and_made_up_for(failure, caplog):
    disk = Disk(failure, "ok", "ok", "ok")
    saver = Saver(disk, retries=1, retry_wait=0.0)
    assert run(saver, range(1, 10)) == [4, 6, 8]  # at 5, what is known is from before the attempt
    saver.finish(None, meta(9))
    assert disk.steps == [6, 8, 9]
    assert disk.reopened == 1
    [report] = caplog.messages
    assert report == "No space left; next attempt in 0 s, 1 left"


def test_training_goes_on_until_the_next_attempt_is_due(caplog):
    disk = Disk("late", "ok")
    saver = Saver(disk, retries=3, retry_wait=1000.0)
    assert run(saver, range(1, 20)) == [4]
    assert caplog.messages == ["No space left; next attempt in 1000 s, 3 left"]


def test_attempts_come_to_an_end_with_an_error(caplog):
    disk = Disk("late", "no", "late", "ok")
    saver = Saver(disk, retries=2, retry_wait=0.01)
    with pytest.raises(UserError, match="No space left"):
        saver.finish(None, meta(3))
    waits = [message.partition("next attempt in ")[2] for message in caplog.messages]
    assert waits == ["0.01 s, 2 left", "0.02 s, 1 left", ""]
    assert caplog.messages[-1].endswith("giving up")


def test_a_good_save_ends_the_counting():
    disk = Disk("late", "ok", "late", "ok")
    saver = Saver(disk, retries=1, retry_wait=0.0)
    saver.finish(None, meta(1))
    saver.finish(None, meta(2))
    assert disk.steps == [1, 2]


def test_another_process_that_is_still_saving_is_waited_for():
    saver = Saver(Disk(), retries=1, retry_wait=0.0)
    assert not saver.is_time(SaveStatus(1, 1, 1), is_due=True)
    assert saver.is_time(SaveStatus(0, 1, 1), is_due=False)
    assert not saver.is_time(SaveStatus(0, 1, 0), is_due=True)
    assert saver.is_time(SaveStatus(0, 0, 0), is_due=True)


def test_a_run_that_is_to_stop_no_longer_waits_between_attempts():
    disk, stopping = Disk("late", "no", "ok"), []
    saver = Saver(disk, retries=3, retry_wait=1000.0, is_stopping=lambda: bool(stopping))
    threading.Timer(0.1, stopping.append, [True]).start()
    saver.finish(None, meta(3))
    assert disk.steps == [3] and stopping


def test_a_save_is_good_when_it_has_been_copied_too():
    disk, outcomes = Disk("ok"), [UserError("no network"), None]  # saved once, copied twice

    def copy():
        if outcome := outcomes.pop(0):
            raise outcome

    saver = Saver(disk, retries=1, retry_wait=0.0, on_saved=copy)
    saver.finish(None, meta(7))
    assert not outcomes and not disk.plan
