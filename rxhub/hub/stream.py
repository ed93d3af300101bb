"""Events as an async iterator."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import ParamSpec, Self
from weakref import WeakMethod, finalize

from reactivex import Observable
from reactivex.abc import DisposableBase

from rxhub.concurrency.event_loop import check_asyncio
from rxhub.event import Event
from rxhub.rx.runner_status import RunnerStatus, RunnerWatch, not_running

__all__ = ["EventStream"]

P = ParamSpec("P")


class EventStream:
    """The events of an observable, buffered until somebody asks for the next.

    A consumer that is too slow loses the oldest ones; `dropped` counts them. Leaving the `async for`
    loop early keeps the subscription until the stream is closed or forgotten: use `async with`, or
    call `close`.

    Args:
        source: what is iterated over.
        capacity: how many events wait at most.
        runner_status: who handles the hub.

    Attributes:
        dropped: how many events were lost to a full buffer so far.
    """

    def __init__(self, source: Observable[Event], capacity: int, runner_status: RunnerStatus) -> None:
        if capacity < 1:
            raise ValueError(f"A stream needs a capacity of at least 1, but {capacity} was given.")
        self.dropped = 0
        self._buffer: deque[Event] = deque(maxlen=capacity)
        self._runner_status = runner_status
        self._waiter: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None
        self._ended = False
        self._error: Exception | None = None
        # The dispatch order must not keep a stream alive that nobody reads any more.
        self._subscription: DisposableBase = source.subscribe(
            _weakly(self._take), _weakly(self._fail), _weakly(self._end)
        )
        finalize(self, self._subscription.dispose).atexit = False

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        """The next event.

        Raises:
            StopAsyncIteration: if the stream or the hub was closed, and nothing is left in the buffer.
            NotHandled: if it would wait, but nobody handles the hub, or nobody does any more. The stream stays
                subscribed: it can be read on when the hub is handled again.
            RuntimeError: if another task waits for the next one already.
        """
        while not self._buffer:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            if self._waiter is not None and not self._waiter[1].done():
                raise RuntimeError("Another task waits for the next event of this stream: each task needs its own.")
            check_asyncio("hub.stream()")
            loop = asyncio.get_running_loop()
            waiter: asyncio.Future[None] = loop.create_future()
            self._waiter = (loop, waiter)

            def vain(waiter: asyncio.Future[None] = waiter) -> None:
                if not waiter.done():
                    waiter.set_exception(not_running("The stream"))

            # Looked at again, since an event may have come before the waiter stood there.
            if not self._buffer and not self._ended:
                with RunnerWatch(self._runner_status, loop, vain):
                    await waiter
        return self._buffer.popleft()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the dispatch order; what is buffered can still be read."""
        self._subscription.dispose()
        self._end()

    def _take(self, event: Event) -> None:
        self.dropped += len(self._buffer) == self._buffer.maxlen
        self._buffer.append(event)
        self._wake()

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._end()

    def _end(self) -> None:
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            loop, future = waiter
            # A closed loop has nobody left who waits.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(_resolve, future)


def _weakly(method: Callable[P, None]) -> Callable[P, None]:
    """The bound method, as long as its object lives."""
    alive = WeakMethod(method)

    def call(*arguments: P.args, **named: P.kwargs) -> None:
        if (present := alive()) is not None:
            present(*arguments, **named)

    return call


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
