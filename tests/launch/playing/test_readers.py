"""Readers of the page that come at once, or go while something is made for them; no browser."""

import importlib.util
import threading
from types import SimpleNamespace

import pytest

from launch.playing import job as jobs
from launch.playing.job import Report
from tests.programs import wait_until

pytestmark = pytest.mark.skipif(
    not importlib.util.find_spec("gradio"), reason="needs the extra app"
)


@pytest.fixture
def page():
    """A page with nothing to see, and a studio that notes the numbers which it is to forget."""
    from launch.playing.page import Page

    page, forgotten = Page.__new__(Page), []
    page.studio = SimpleNamespace(forget=forgotten.extend, forgotten=forgotten)
    page._jobs, page._lock = {}, threading.Lock()
    return page


def test_what_is_made_for_one_who_has_gone_is_removed(page):
    go_on = threading.Event()

    def work(report):
        report(Report("Turning tokens into sound", 1.0))
        go_on.wait(600)
        return SimpleNamespace(number=7)

    shown = page._follow("session", [], work, 0)
    next(shown), next(shown)
    shown.close()
    assert page._jobs  # the end of the page waits for it
    go_on.set()
    wait_until(lambda: not page._jobs)
    assert page.studio.forgotten == [7]


def test_of_two_clicks_at_once_one_counts(page, monkeypatch):
    from launch.playing import page as page_module

    started, done = [], threading.Event()

    def work(report):
        done.wait(600)
        return SimpleNamespace(number=8)

    def click():
        next(page._follow("session", [], work, 0))

    second = threading.Thread(target=click)

    class SlowJob(jobs.Job):
        def __init__(self, work):
            started.append(work)
            if len(started) == 1:
                second.start()
                second.join(0.3)
            super().__init__(work)

    monkeypatch.setattr(page_module, "Job", SlowJob)
    shown = page._follow("session", [], work, 0)
    next(shown)
    second.join()
    assert len(started) == 1
    done.set()
    shown.close()
    wait_until(lambda: not page._jobs)
