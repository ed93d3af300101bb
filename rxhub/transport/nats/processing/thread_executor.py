"""Plain functions as handlers: each runs in one of a few threads.

A thread cannot be ended from outside. One whose handler is stuck is left to itself, and another takes its place; should
the handler end one day, the thread ends with it. They are daemons, so that a stuck one holds up no exit.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from typing import cast

from rxhub.concurrency.awaitables import as_coroutine, check_was_run, is_unfinished
from rxhub.errors import HubClosed
from rxhub.event import Event
from rxhub.transport.nats.processing.executor import Callback, OnResult, Result
from rxhub.transport.nats.processing.failures import run_callback
from rxhub.transport.nats.processing.job import Job, LeaseExpired

__all__ = ["ThreadExecutor"]


class _Seat:
    """A thread, what it runs, and whether it is to run anything else."""

    __slots__ = ("is_left", "job")

    def __init__(self) -> None:
        self.job: Job | None = None
        self.is_left = False


class ThreadExecutor:
    """Calls a handler in threads of its own.

    Args:
        handler: called with each event. A coroutine that it returns is run to its end, in the same thread.
        count: how many calls may run at a time.
        context: each call runs in a copy of it.
        ended: told what came of each job.
        name: of the threads.
    """

    def __init__(
        self, handler: Callable[[Event], object], count: int, context: Context, ended: OnResult, name: str
    ) -> None:
        self._handler = handler
        self._count = count
        self._context = context
        self._ended = ended
        self._name = name
        # Its `get` waits in C, and many jobs that are put at once wake a thread once.
        self._waiting: SimpleQueue[Job | None] = SimpleQueue()
        self._errands: deque[Callback] = deque()
        self._seats: list[_Seat] = []
        self._is_over = False

    def start(self) -> None:
        """Start the threads.

        Raises:
            HubClosed: if no thread can be started.
        """
        try:
            for _ in range(self._count):
                self._take_seat()
        except HubClosed:
            self.stop()
            raise

    @property
    def is_alive(self) -> bool:
        return True

    def put(self, job: Job) -> None:
        self._waiting.put(job)

    def tell(self, errand: Callback) -> None:
        self._errands.append(errand)
        self._waiting.put(None)

    def withdraw(self) -> list[Job]:
        taken: list[Job] = []
        while True:
            try:
                job = self._waiting.get_nowait()
            except Empty:
                return taken
            if job is not None:
                taken.append(job)

    def overdue(self, timeout: float) -> list[Job]:
        latest = monotonic() - timeout
        return [job for seat in self._seats if (job := seat.job) is not None and job.began < latest]

    def give_up(self, job: Job) -> None:
        for seat in self._seats:
            if seat.job is job:
                seat.is_left = True
                self._seats.remove(seat)
                self._take_seat()
                return

    def cancel(self) -> None:
        """Nothing can interrupt a thread."""

    def stop(self) -> None:
        self._is_over = True
        for _ in self._seats:
            self._waiting.put(None)

    def _take_seat(self) -> None:
        seat = _Seat()
        thread = Thread(target=self._serve, args=(seat,), name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise HubClosed(f"No thread can be started for handlers: {error}.") from error
        self._seats.append(seat)

    def _serve(self, seat: _Seat) -> None:
        take, context, handler, ended = self._waiting.get, self._context, self._handler, self._ended
        while not (self._is_over or seat.is_left):
            job = take()
            while self._errands:
                self._run_errand()
            if job is None:
                continue
            run, now = job.run, monotonic()
            if now > job.until:
                ended(Result(job, run, LeaseExpired(), 0.0))
                continue
            job.began = now
            seat.job = job
            failure: BaseException | None = None
            try:
                result = context.copy().run(handler, cast("Event", job.event))
                if is_unfinished(result):
                    context.copy().run(asyncio.run, as_coroutine(result))
                else:
                    check_was_run(result)
            except BaseException as error:
                # SystemExit too: the thread goes on, and whoever reads the failures learns of it.
                failure = error
            seat.job = None
            ended(Result(job, run, failure, monotonic() - now))
            # What a handler raised holds its frames, and all that is in them.
            del failure

    def _run_errand(self) -> None:
        try:
            errand = self._errands.popleft()
        except IndexError:
            return  # another thread does it
        run_callback(errand)
