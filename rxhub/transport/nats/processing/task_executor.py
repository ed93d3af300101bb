"""Coroutine functions as handlers: each call is a task on the caller's loop, or on a private one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from functools import partial
from threading import Thread
from time import monotonic
from typing import cast

from rxhub.concurrency.awaitables import await_, check_was_run, is_unfinished
from rxhub.errors import HubClosed
from rxhub.event import Event
from rxhub.transport.nats.processing.executor import Callback, OnResult, Result
from rxhub.transport.nats.processing.failures import run_callback
from rxhub.transport.nats.processing.job import HandlerInterrupted, HandlerTimeout, Job, LeaseExpired

__all__ = ["TaskExecutor"]

# Seconds that a handler which was cancelled may take to end.
_CANCEL_TIMEOUT_S = 5.0


class TaskExecutor:
    """Awaits a handler in tasks.

    Args:
        handler: awaited with each event, in a task of its own.
        count: how many may run at a time.
        timeout: seconds after which one is cancelled; None is never.
        context: each task runs in a copy of it.
        ended: told what came of each job.
        name: of the thread, if there is a private loop.
        loop: where the tasks run; None makes a loop in a thread of its own.
    """

    def __init__(
        self,
        handler: Callable[[Event], object],
        count: int,
        timeout: float | None,
        context: Context,
        ended: OnResult,
        name: str,
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        self._handler = handler
        self._count = count
        self._timeout = timeout
        self._context = context
        self._ended = ended
        self._name = name
        self._own = loop is None
        self._loop = loop or asyncio.new_event_loop()
        self._waiting: deque[Job] = deque()
        self._running: dict[Job, asyncio.Task[BaseException | None]] = {}
        # Sleeps while handlers run, and is cancelled by nobody but a loop that ends, which cancels all its tasks.
        self._lookout: asyncio.Task[object] | None = None
        self._is_scheduled = False
        self._is_cancelled = False
        self._is_over = False

    def start(self) -> None:
        """Start the private loop, if it is one.

        Raises:
            HubClosed: if no thread can be started.
        """
        if not self._own:
            return
        try:
            Thread(target=_serve, args=(self._loop,), name=self._name, daemon=True).start()
        except RuntimeError as error:
            self._loop.close()
            raise HubClosed(f"No thread can be started for handlers: {error}.") from error

    @property
    def is_alive(self) -> bool:
        return not self._loop.is_closed() and (bool(self._running) or not self._is_over)

    def put(self, job: Job) -> None:
        self._waiting.append(job)
        if not self._is_scheduled:
            self._is_scheduled = True
            self._call(self._begin)

    def tell(self, errand: Callback) -> None:
        self._call(lambda: run_callback(errand))

    def withdraw(self) -> list[Job]:
        taken: list[Job] = []
        while True:
            try:
                taken.append(self._waiting.popleft())
            except IndexError:
                return taken

    def overdue(self, timeout: float) -> list[Job]:
        # They are cancelled on their own loop. Here it is about those who do not care, or block it.
        latest = monotonic() - timeout - _CANCEL_TIMEOUT_S
        return [job for job in list(self._running) if job.began < latest]

    def give_up(self, job: Job) -> None:
        self._running.pop(job, None)
        self._call(self._begin)

    def cancel(self) -> None:
        def cancel() -> None:
            self._is_cancelled = True
            for task in list(self._running.values()):
                task.cancel()

        self._call(cancel)

    def stop(self) -> None:
        self._is_over = True
        if self._own:
            self._call(self._loop.stop)

    def _call(self, function: Callable[[], object]) -> None:
        # Whoever looks after us asks whether the loop is still there.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function)

    def _begin(self) -> None:
        self._is_scheduled = False
        while len(self._running) < self._count and not self._is_over:
            try:
                job = self._waiting.popleft()
            except IndexError:
                return
            job.began = now = monotonic()
            if now > job.until:
                self._ended(Result(job, job.run, LeaseExpired(), 0.0))
                continue
            if self._lookout is None:
                self._lookout = self._loop.create_task(asyncio.Event().wait())
            task = self._loop.create_task(self._run(job), context=self._context.copy())
            self._running[job] = task
            task.add_done_callback(partial(self._done, job, job.run, now))

    async def _run(self, job: Job) -> BaseException | None:
        deadline = asyncio.timeout(self._timeout)
        try:
            async with deadline:
                result = self._handler(cast("Event", job.event))
                if is_unfinished(result):
                    result = await await_(result)
                check_was_run(result)
        except BaseException as error:
            # Given back, not raised: SystemExit would end the loop, and whoever runs on it.
            if isinstance(error, TimeoutError) and deadline.expired():
                return HandlerTimeout(f"The handler was cancelled after {self._timeout:g} s.")
            return error
        return None

    def _done(self, job: Job, run: int, began: float, task: asyncio.Task[BaseException | None]) -> None:
        if self._running.get(job) is task:
            del self._running[job]
        error = asyncio.CancelledError() if task.cancelled() else task.result()
        lookout = self._lookout
        # What an ending loop is given now, it would leave behind half done.
        self._is_over = self._is_over or (lookout is not None and lookout.cancelling() > 0)
        if task.cancelling() and (self._is_cancelled or self._is_over):
            # By us, or with the loop. Not by its timeout, which takes its cancellation back.
            interrupted = HandlerInterrupted(f"The handler was cancelled, and ended with {error!r}.")
            interrupted.__cause__ = error
            error = interrupted
        self._ended(Result(job, run, error, monotonic() - began))
        self._begin()
        if lookout is not None and not self._running:
            lookout.cancel()
            self._lookout = None


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
    with suppress(RuntimeError):
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=_CANCEL_TIMEOUT_S))
        loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
