"""Events as an async iterator."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import ParamSpec, Self
from weakref import WeakMethod, finalize

from reactivex import Observable
from reactivex.abc import DisposableBase

from rxhub.concurrency.event_loop import check_asyncio
from rxhub.concurrency.wakeup import Wakeup
from rxhub.event import Event
from rxhub.rx.runner_status import RunnerStatus, not_running, watching

__all__ = ["EventStream"]

P = ParamSpec("P")


class EventStream:
    """The events of an observable, buffered for an async iterator.

    A consumer that is too slow loses the oldest ones; `dropped` counts them. Leaving the `async for` loop early keeps
    the subscription until the stream is closed or collected: use `async with`, or call `close`.
    """

    def __init__(self, source: Observable[Event], capacity: int, runner_status: RunnerStatus) -> None:
        if capacity < 1:
            raise ValueError(f"A stream needs a capacity of at least 1, but {capacity} was given.")
        self.dropped = 0
        self._buffer: deque[Event] = deque(maxlen=capacity)
        self._runner_status = runner_status
        self._wakeup = Wakeup()
        self._is_awaited = False
        self._ended = False
        self._error: Exception | None = None
        # The subscription must not keep a stream alive that has no reader.
        self._subscription: DisposableBase = source.subscribe(
            _weakly(self._take), _weakly(self._fail), _weakly(self._end)
        )
        finalize(self, self._subscription.dispose).atexit = False

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        """The next event.

        Raises NotHandled if it would wait, but the hub is not running, or stops running. The stream stays subscribed:
        it can be read on when the hub is handled again.
        """
        while not self._buffer:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            if self._is_awaited:
                raise RuntimeError("Another task waits for the next event of this stream. Each task needs its own.")
            check_asyncio("hub.stream()")
            await self._wait()
        return self._buffer.popleft()

    async def _wait(self) -> None:
        has_stopped = False

        def stopped() -> None:
            nonlocal has_stopped
            has_stopped = True
            self._wakeup.set()

        self._is_awaited = True
        try:
            with watching(self._runner_status, asyncio.get_running_loop(), stopped):
                await self._wakeup.wait()
        finally:
            self._is_awaited = False
        if has_stopped and not self._buffer and not self._ended:
            raise not_running("The stream")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Unsubscribe; buffered events can still be read."""
        self._subscription.dispose()
        self._end()

    def _take(self, event: Event) -> None:
        self.dropped += len(self._buffer) == self._buffer.maxlen
        self._buffer.append(event)
        self._wakeup.set()

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._end()

    def _end(self) -> None:
        self._ended = True
        self._wakeup.set()


def _weakly(method: Callable[P, None]) -> Callable[P, None]:
    """The bound method, as long as its object lives."""
    alive = WeakMethod(method)

    def call(*arguments: P.args, **named: P.kwargs) -> None:
        if (present := alive()) is not None:
            present(*arguments, **named)

    return call
