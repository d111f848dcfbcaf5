"""Work in a thread: followed, cancelled, and its errors where the result is asked for."""

import threading

import pytest

from launch.playing.job import Cancelled, Job, Report


def test_reports_come_until_it_is_done_and_then_the_result():
    go_on = threading.Event()

    def work(report):
        report(Report("one", 0.5))
        go_on.wait(600)
        report(Report("two", 1.0))
        return 3

    job = Job(work)
    reports = job.reports()
    assert next(reports) == Report("one", 0.5)
    go_on.set()
    assert list(reports) == [Report("two", 1.0)] and job.result() == 3


def test_of_a_heap_of_reports_the_newest_is_enough():
    def work(report):
        for i in range(100):
            report(Report(str(i)))

    job = Job(work)
    job.result()
    assert [report.text for report in job.reports()] in (["99"], [])


def test_it_ends_at_the_next_report_after_it_was_cancelled():
    started, go_on = threading.Event(), threading.Event()

    def work(report):
        started.set()
        go_on.wait(600)
        report(Report("too late"))
        pytest.fail("went on")

    job = Job(work)
    started.wait(600)
    job.cancel()
    go_on.set()
    assert list(job.reports()) == []
    with pytest.raises(Cancelled):
        job.result()


def test_an_error_is_raised_where_the_result_is_asked_for():
    job = Job(lambda report: 1 / 0)
    assert list(job.reports()) == []
    with pytest.raises(ZeroDivisionError):
        job.result()
