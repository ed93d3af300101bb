"""Coroutine handlers: tasks on the caller's loop, or on a private one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from time import sleep
from typing import Any

import pytest

from rxhub import Event
from rxhub.transport.nats.processing.job import HandlerInterrupted, HandlerTimeout, LeaseExpired
from rxhub.transport.nats.processing.task_executor import TaskExecutor
from tests.threads import until
from tests.transport.nats.processing.made import Results, job

Handler = Callable[[Event], Coroutine[Any, Any, object]]


def tasks_on(
    handler: Handler,
    results: Results,
    loop: asyncio.AbstractEventLoop | None,
    count: int = 1,
    timeout: float | None = None,
) -> TaskExecutor:
    return TaskExecutor(handler, count, results.context, "loop", timeout, loop)


@contextmanager
def tasks(handler: Handler, results: Results, count: int = 1, timeout: float | None = None) -> Iterator[TaskExecutor]:
    workers = tasks_on(handler, results, None, count, timeout)
    workers.start(results.take)
    try:
        yield workers
    finally:
        workers.stop()
        until(lambda: not any(thread.name == "rxhub-loop" for thread in threading.enumerate()))


def test_jobs_are_begun_in_order_and_returned_with_what_was_raised() -> None:
    async def handle(event: Event) -> None:
        assert threading.current_thread().name == "rxhub-loop"
        if event.data == 2:
            raise ValueError("two")

    results = Results()
    with tasks(handle, results) as workers:
        for number in (1, 2, 3):
            workers.submit(job(number))
        results.wait(3)
    assert results.numbers == [1, 2, 3]
    assert [str(returned.error) for returned in results.all] == ["None", "two", "None"]


@pytest.mark.parametrize("interruption", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
def test_what_would_end_the_loop_is_returned_and_the_loop_goes_on(interruption: BaseException) -> None:
    async def handle(event: Event) -> None:
        if event.data == 1:
            raise interruption

    results = Results()
    with tasks(handle, results) as workers:
        workers.submit(job(1))
        workers.submit(job(2))
        results.wait(2)
    assert [type(returned.error) for returned in results.all] == [type(interruption), type(None)]


def test_as_many_run_at_a_time_as_may() -> None:
    together = asyncio.Barrier(3)

    async def handle(event: Event) -> None:
        await together.wait()

    results = Results()
    with tasks(handle, results, 3) as workers:
        for number in range(1, 7):
            workers.submit(job(number))
        results.wait(6)
    assert all(returned.error is None for returned in results.all)


def test_a_handler_is_cancelled_after_the_timeout_and_its_own_timeouts_are_its_own() -> None:
    async def handle(event: Event) -> None:
        if event.data == 1:
            await asyncio.sleep(1000)
        raise TimeoutError("mine")

    results = Results()
    with tasks(handle, results, timeout=0.05) as workers:
        workers.submit(job(1))
        workers.submit(job(2))
        results.wait(2)
    first, second = (returned.error for returned in results.all)
    assert isinstance(first, HandlerTimeout) and "0.05 s" in str(first)
    assert str(second) == "mine"


def test_a_handler_that_does_not_care_for_being_cancelled_can_be_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rxhub.transport.nats.processing.task_executor._CANCEL_TIMEOUT_S", 0.01)
    ended = threading.Event()

    async def handle(event: Event) -> None:
        while event.data == 1 and not ended.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue

    results = Results()
    with tasks(handle, results, timeout=0.02) as workers:
        first = job(1)
        workers.submit(first)
        workers.submit(job(2))
        until(lambda: workers.overdue(0.02) == [first])
        workers.abandon(first)
        results.wait(1)
        ended.set()
        results.wait(2)
    assert results.numbers == [2, 1]


def test_what_was_not_begun_can_be_withdrawn_and_what_runs_be_cancelled() -> None:
    async def handle(event: Event) -> None:
        await asyncio.sleep(1000)

    results = Results()
    with tasks(handle, results) as workers:
        jobs = [job(number) for number in range(1, 4)]
        for one in jobs:
            workers.submit(one)
        until(lambda: jobs[0].started_at)
        assert workers.take_pending() == jobs[1:]
        workers.cancel()
        results.wait(1)
    assert isinstance(results.all[0].error, HandlerInterrupted)


def test_a_job_that_is_somebody_elses_by_now_is_not_begun() -> None:
    async def handle(event: Event) -> None:
        raise AssertionError

    results = Results()
    with tasks(handle, results) as workers:
        workers.submit(job(1, seconds=-1))
        assert isinstance(results.wait(1)[0].error, LeaseExpired)


def test_handlers_run_on_the_callers_loop() -> None:
    seen: list[object] = []

    async def handle(event: Event) -> None:
        seen.append(asyncio.get_running_loop())

    async def program() -> None:
        results = Results()
        workers = tasks_on(handle, results, asyncio.get_running_loop())
        workers.start(results.take)
        await asyncio.to_thread(workers.submit, job(1))
        while not results.all:
            await asyncio.sleep(0)
        assert seen == [asyncio.get_running_loop()]

    asyncio.run(program())


def test_a_loop_that_ends_slowly_is_given_nothing_new() -> None:
    begun: list[int] = []

    async def handle(event: Event) -> None:
        begun.append(event.data)
        await asyncio.sleep(1000)

    results = Results()

    async def program() -> TaskExecutor:
        workers = tasks_on(handle, results, asyncio.get_running_loop())
        workers.start(results.take)
        for number in (1, 2, 3):
            workers.submit(job(number))
        while not begun:
            await asyncio.sleep(0)
        # The loop waits for this thread after it has cancelled all tasks.
        asyncio.get_running_loop().run_in_executor(None, during, workers)
        return workers

    def during(workers: TaskExecutor) -> None:
        results.wait(1)
        until(lambda: not workers.is_alive)
        workers.submit(job(4))
        sleep(0.1)

    workers = asyncio.run(program())
    assert begun == [1] and isinstance(results.all[0].error, HandlerInterrupted)
    assert [one.message.sequence for one in workers.take_pending()] == [2, 3, 4]


def test_a_handler_that_somebody_cancels_makes_room_for_the_next() -> None:
    async def handle(event: Event) -> None:
        if event.data == 1:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(1000)

    async def program() -> Results:
        results = Results()
        workers = tasks_on(handle, results, asyncio.get_running_loop())
        workers.start(results.take)
        for number in (1, 2):
            workers.submit(job(number))
        while len(results.all) < 2:
            await asyncio.sleep(0)
        assert workers.is_alive
        return results

    first, second = (returned.error for returned in asyncio.run(program()).all)
    assert isinstance(first, asyncio.CancelledError) and second is None


def test_a_loop_that_is_closed_is_noticed_and_given_nothing_new() -> None:
    begun: list[int] = []

    async def handle(event: Event) -> None:
        begun.append(event.data)
        await asyncio.sleep(1000)

    results = Results()

    async def program() -> TaskExecutor:
        workers = tasks_on(handle, results, asyncio.get_running_loop())
        workers.start(results.take)
        for number in (1, 2, 3):
            workers.submit(job(number))
        while not begun:
            await asyncio.sleep(0)
        assert workers.is_alive
        return workers

    workers = asyncio.run(program())
    assert not workers.is_alive and begun == [1]
    workers.submit(job(4))
    assert [one.message.sequence for one in workers.take_pending()] == [2, 3, 4]
    assert results.numbers == [1]
