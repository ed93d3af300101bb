"""Plain functions as handlers, in threads that a handler cannot end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from threading import Event as Flag
from typing import Any

import pytest

from rxhub import Event
from rxhub.transport.nats.processing.job import LeaseExpired
from rxhub.transport.nats.processing.thread_executor import ThreadExecutor
from tests.threads import LIMIT, until
from tests.transport.nats.processing.made import Results, hold, job


@contextmanager
def threads(handler: Callable[[Event], Any], results: Results, count: int = 1) -> Iterator[ThreadExecutor]:
    workers = ThreadExecutor(handler, count, results.context, "handlers")
    workers.start(results.take)
    try:
        yield workers
    finally:
        workers.stop()
        until(lambda: not any(thread.name == "rxhub-handlers" for thread in threading.enumerate()))


def test_jobs_are_begun_in_order_and_returned_with_what_was_raised() -> None:
    def handle(event: Event) -> str:
        if event.data == 2:
            raise ValueError("two")
        return "ignored"

    results = Results()
    with threads(handle, results) as workers:
        for number in (1, 2, 3):
            workers.submit(job(number))
        results.wait(3)
    assert results.numbers == [1, 2, 3]
    assert [str(returned.error) for returned in results.all] == ["None", "two", "None"]
    assert all(returned.seconds >= 0 for returned in results.all)


@pytest.mark.parametrize("interruption", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_what_would_end_a_thread_is_returned_and_the_thread_goes_on(interruption: BaseException) -> None:
    def handle(event: Event) -> None:
        if event.data == 1:
            raise interruption

    results = Results()
    with threads(handle, results) as workers:
        workers.submit(job(1))
        workers.submit(job(2))
        results.wait(2)
    assert [returned.error for returned in results.all] == [interruption, None]


def test_as_many_run_at_a_time_as_there_are_threads() -> None:
    inside, together = 0, Flag()
    lock = threading.Lock()

    def handle(event: Event) -> None:
        nonlocal inside
        with lock:
            inside += 1
            if inside == 3:
                together.set()
        hold(together)

    results = Results()
    with threads(handle, results, 3) as workers:
        for number in range(1, 7):
            workers.submit(job(number))
        results.wait(6)
    assert together.is_set()


def test_a_stuck_thread_is_replaced_and_ends_with_its_handler() -> None:
    stuck, seen = Flag(), list[int]()

    def handle(event: Event) -> None:
        if event.data == 1:
            hold(stuck)
        seen.append(event.data)

    results = Results()
    with threads(handle, results) as workers:
        first = job(1)
        workers.submit(first)
        workers.submit(job(2))
        until(lambda: first.started_at)
        assert workers.overdue(LIMIT) == []
        until(lambda: workers.overdue(0.0) == [first])
        workers.abandon(first)
        results.wait(1)
        assert seen == [2]
        stuck.set()
        results.wait(2)
        workers.submit(job(3))
        results.wait(3)
    assert results.numbers == [2, 1, 3]


def test_what_was_not_begun_can_be_withdrawn() -> None:
    running = Flag()
    results = Results()
    with threads(lambda _: hold(running), results) as workers:
        jobs = [job(number) for number in range(1, 5)]
        for one in jobs:
            workers.submit(one)
        until(lambda: jobs[0].started_at)
        assert workers.take_pending() == jobs[1:]
        running.set()
        results.wait(1)
    assert results.numbers == [1]


def test_a_job_that_is_somebody_elses_by_now_is_not_begun() -> None:
    seen: list[int] = []
    results = Results()
    with threads(lambda event: seen.append(event.data), results) as workers:
        workers.submit(job(1, seconds=-1))
        workers.submit(job(2))
        results.wait(2)
    assert isinstance(results.all[0].error, LeaseExpired)
    assert seen == [2]


def test_each_call_runs_in_a_copy_of_the_context() -> None:
    variable: ContextVar[int] = ContextVar("variable", default=0)
    variable.set(7)
    results = Results()
    results.context = copy_context()
    seen: list[int] = []

    def handle(event: Event) -> None:
        seen.append(variable.get())
        variable.set(event.data)

    with threads(handle, results) as workers:
        workers.submit(job(1))
        workers.submit(job(2))
        results.wait(2)
    assert seen == [7, 7]


def test_a_coroutine_that_a_plain_function_returns_is_run() -> None:
    seen: list[int] = []

    async def handle(event: Event) -> None:
        seen.append(event.data)

    results = Results()
    with threads(lambda event: handle(event), results) as workers:
        workers.submit(job(5))
        assert results.wait(1)[0].error is None
    assert seen == [5]


def test_errands_are_done_by_the_threads_though_nothing_is_to_be_handled(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []
    results = Results()

    def fail() -> None:
        raise SystemExit("no")

    with threads(lambda _: None, results) as workers:
        workers.call(lambda: done.append(threading.current_thread().name))
        until(lambda: done)
        workers.call(fail)
        workers.submit(job(1))
        results.wait(1)
    assert done == ["rxhub-handlers"]
    assert "An observer of failures raised" in caplog.text
