"""Awaiting an observable whose values come from any thread.

reactivex's own `await observable` sets its future from whichever thread the value comes on, which does not wake
the waiting loop; and `for x in observable` loops for ever, since `observable[n]` is an operator that never
raises IndexError. `Awaitable` mends both for every class that has it among its bases.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterator
from typing import Any, TypeVar, cast

from reactivex import Observable
from reactivex.internal.exceptions import SequenceContainsNoElementsError
from reactivex.scheduler.eventloop import AsyncIOThreadSafeScheduler

__all__ = ["Awaitable"]

_T_co = TypeVar("_T_co", covariant=True)

_NOTHING: Any = object()


class Awaitable(Observable[_T_co]):
    """An observable that can be awaited from any loop, and that says so when somebody iterates over it."""

    def __await__(self) -> Generator[Any, None, _T_co]:
        """Wait for the end, on the running asyncio loop.

        Subscribes when it is awaited, and unsubscribes when it ends or is cancelled. The loop's scheduler is handed to
        the subscription as its default, as reactivex does.

        Returns:
            The last value before the completion.

        Raises:
            SequenceContainsNoElementsError: if it completes without a value.
            Exception: the error that the observable ends with.
        """
        loop = asyncio.get_running_loop()
        # The future only wakes. Were it to carry the error, a StopIteration could not be set, and nobody would wake.
        ended: asyncio.Future[None] = loop.create_future()
        last: Any = _NOTHING
        failure: Exception | None = None

        def keep(value: _T_co) -> None:
            nonlocal last
            last = value

        def fail(error: Exception) -> None:
            nonlocal failure
            failure = error
            _wake(loop, ended)

        def complete() -> None:
            _wake(loop, ended)

        subscription = self.subscribe(keep, fail, complete, scheduler=AsyncIOThreadSafeScheduler(loop))
        try:
            yield from ended
        finally:
            subscription.dispose()
        if failure is not None:
            raise failure
        if last is _NOTHING:
            raise SequenceContainsNoElementsError
        return cast("_T_co", last)

    def __iter__(self) -> Iterator[Any]:
        """Refuse at once, instead of looping for ever.

        Raises:
            TypeError: always, unless a subclass has something to iterate over.
        """
        raise TypeError(
            f"A {type(self).__name__} cannot be iterated over: its values have not come yet. "
            "Subscribe to it, await it for its last value, or pipe it through ops.to_list() for all of them."
        )


def _wake(loop: asyncio.AbstractEventLoop, ended: asyncio.Future[None]) -> None:
    try:
        here = asyncio.get_running_loop() is loop
    except RuntimeError:
        here = False
    if here:
        _settle(ended)
        return
    try:
        loop.call_soon_threadsafe(_settle, ended)
    except RuntimeError:
        # A closed loop has nobody left who waits, and the producer is not to blame.
        if not loop.is_closed():
            raise


def _settle(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)
