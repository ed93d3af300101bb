"""The handling contexts: the one place at a time where a hub's handlers run.

Four ways to handle, each a loop over the same inbox: `wait` in the calling thread, `drain` for what
is there now, `start` in a thread of its own (or, batch by batch, wherever `invoke` brings it), `run`
on the running asyncio loop. All of them claim the hub first and release it at their end, so that
there is never more than one.

Coroutine callbacks run on the loop of `run`; the other contexts make a private loop when the first
one comes, and close it when they end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from functools import partial
from threading import Condition, Lock, Thread, current_thread, get_ident
from threading import Event as Flag
from time import monotonic
from typing import Any, Protocol

from reactivex.disposable import Disposable

from rxhub.errors import AlreadyHandled, HubClosed
from rxhub.event import Event
from rxhub.inbox import Inbox

__all__ = ["FAREWELL", "PATIENCE", "Handler", "Handling", "Invoke", "start_no_more"]

Invoke = Callable[[Callable[[], None]], Any]
"""Brings a function to a host application's main loop, as `maya.utils.executeDeferred` does."""

PATIENCE = 5.0
"""Seconds for which ending a context waits for the event under way: it may wait for us in turn."""

FAREWELL = "ftrack.meta.disconnected"
_BATCH = 256

logger = logging.getLogger("rxhub")


class Handler(Protocol):
    """What is done with one event."""

    def handle(self, event: Event, run: Callable[[Coroutine[Any, Any, Any], Context], Any]) -> None:
        """Handle it here; `run` runs a coroutine to its end."""
        ...

    async def handle_async(self, event: Event) -> None:
        """Handle it on the running loop."""
        ...


class Handling:
    """Who handles one hub.

    Args:
        inbox: where the events come from.
        handler: what is done with each.
        idle: called whenever a context has ended.
    """

    def __init__(self, inbox: Inbox, handler: Handler, idle: Callable[[], None]) -> None:
        self._inbox = inbox
        self._handler = handler
        self._idle = idle
        self._changed = Condition()
        self._claimed_by = ""
        self._leaving = 0
        self._thread: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def claimed_by(self) -> str:
        """The call that handles the hub now; empty if nobody does."""
        return self._claimed_by

    @property
    def here(self) -> bool:
        """Whether this thread handles the hub."""
        return self._thread == get_ident()

    def wait(self, duration: float | None) -> None:
        """Handle events as they come, until `duration` seconds have passed, the farewell event or the close."""
        if duration is not None and not duration > float("-inf"):
            raise ValueError(f"A duration is a number of seconds, but {duration!r} was given.")
        deadline = None if duration is None else monotonic() + duration
        self._claim("wait()")
        try:
            while self._inbox.open:
                item = self._inbox.take()
                if item is None:
                    left = None if deadline is None else deadline - monotonic()
                    if left is not None and left <= 0:
                        return
                    self._inbox.wait(left)
                    continue
                # Who else publishes under this topic ends nothing.
                farewell = self._inbox.own and isinstance(item, Event) and item.topic == FAREWELL
                self._do(item)
                if farewell:
                    return
                if deadline is not None and monotonic() > deadline:
                    return
        finally:
            self._release()

    def drain(self) -> int:
        """Handle what waits, and what that brings about, until nothing is ready; how many events it was."""
        self._claim("drain()")
        handled = 0
        try:
            while (item := self._inbox.take()) is not None:
                handled += isinstance(item, Event)
                self._do(item)
        finally:
            self._release()
        return handled

    def start(self, invoke: Invoke | None) -> Disposable:
        """Handle in a thread of its own until disposed; with `invoke`, in batches wherever that brings them."""
        if _exiting:
            raise HubClosed("No thread is started any more: the interpreter is exiting.")
        self._claim("start()", here=False)
        stopped = Flag()

        def stop() -> None:
            stopped.set()
            self._inbox.ring()
            # Not `join`, which would also wait for whoever handles next.
            if not self.here and current_thread() is not thread:
                thread.join(PATIENCE)
                if thread.is_alive():
                    logger.warning(
                        "A callback still runs %g s after start() was disposed of; the handling ends when it does.",
                        PATIENCE,
                    )

        def loop() -> None:
            if invoke is None:
                self._thread = get_ident()
                batch = partial(self._batch, stopped)
            else:
                batch = partial(self._invoked, invoke, stopped)
            try:
                self._serve(stopped, batch)
            except BaseException as error:
                name = type(error).__name__
                logger.critical("start() handles no more, since %s ended its thread.", name, exc_info=error)
            finally:
                self._release()

        thread = Thread(target=loop, name="rxhub", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self._release()
            raise HubClosed(f"start() could not start its thread: {error}.") from error
        return Disposable(stop)

    async def run(self) -> None:
        """Handle on the running loop until cancelled or closed."""
        self._claim("run()")
        inbox, loop, rung = self._inbox, asyncio.get_running_loop(), asyncio.Event()
        ready = 0

        def ring() -> None:
            # A loop that was closed with this task in it does not concern who publishes.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(rung.set)

        try:
            while inbox.open:
                item = inbox.take()
                if item is not None:
                    await self._do_async(item)
                    ready += 1
                    if ready % _BATCH == 0:
                        await asyncio.sleep(0)
                    continue
                rung.clear()
                inbox.bell = ring
                # Looked at again, since something may have come before the bell hung. Not wait_for, which
                # in Python 3.11 loses a cancellation that comes together with the bell.
                if not inbox.ready:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(inbox.due_in()):
                            await rung.wait()
                inbox.bell = None
        finally:
            inbox.bell = None
            self._release()

    def join(self, timeout: float | None) -> bool:
        """Wait until no context handles the hub, and none is leaving; False if one still is after `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._claimed_by and not self._leaving, timeout)

    def reset(self) -> None:
        """Forget the context; for a child process, where its thread is gone."""
        if self._loop is not None:
            _of_the_parent.append(self._loop)
        self._changed = Condition()
        self._claimed_by, self._thread, self._loop, self._leaving = "", None, None, 0

    def _claim(self, name: str, here: bool = True) -> None:
        with self._changed:
            if not self._inbox.open:
                raise HubClosed("The hub was closed; it handles nothing any more.")
            if self._claimed_by:
                raise AlreadyHandled(
                    f"{name} was called on a hub that {self._claimed_by} handles. "
                    "A hub has one handling context at a time: end that one first."
                )
            self._claimed_by = name
            self._thread = get_ident() if here else None

    def _release(self) -> None:
        loop, self._loop = self._loop, None
        try:
            if loop is not None:
                _close_loop(loop)
        finally:
            with self._changed:
                self._claimed_by, self._thread = "", None
                self._leaving += 1
            try:
                self._idle()
            finally:
                # Not before: who closes the hub would go on while the last of it is still being ended here.
                with self._changed:
                    self._leaving -= 1
                    self._changed.notify_all()

    def _serve(self, stopped: Flag, batch: Callable[[], None]) -> None:
        while self._inbox.open and not stopped.is_set():
            batch()
            if not stopped.is_set():
                self._inbox.wait(None)

    def _batch(self, stopped: Flag) -> None:
        """Handle what is ready; a long queue in pieces, so that a host's main loop gets its turns."""
        for _ in range(_BATCH):
            if stopped.is_set():
                return
            item = self._inbox.take()
            if item is None:
                return
            self._do(item)

    def _invoked(self, invoke: Invoke, stopped: Flag) -> None:
        """Have the host run one batch, and wait for its end: batches never overlap."""
        if not self._inbox.ready:
            return
        done = Flag()
        # Taken once: by the batch when it begins, or by us to give it up.
        beginning = Lock()

        def batch() -> None:
            # The host may come to it when handling has ended long ago.
            if not beginning.acquire(blocking=False):
                return
            self._thread = get_ident()
            try:
                self._batch(stopped)
            finally:
                self._thread = None
                done.set()

        try:
            invoke(batch)
        except Exception as error:
            logger.error("start(invoke=…) ends, since invoke failed: %s", error, exc_info=error)
            stopped.set()
        while not done.wait(0.1):
            over = stopped.is_set() or not self._inbox.open
            if over and beginning.acquire(blocking=False):
                return

    def _do(self, item: Event | Callable[[], None]) -> None:
        try:
            if isinstance(item, Event):
                self._handler.handle(item, self._run_coroutine)
            else:
                item()
        except Exception as error:
            _log(item, error)

    async def _do_async(self, item: Event | Callable[[], None]) -> None:
        if not isinstance(item, Event):
            self._do(item)
            return
        try:
            await self._handler.handle_async(item)
        except Exception as error:
            _log(item, error)

    def _run_coroutine(self, coroutine: Coroutine[Any, Any, Any], context: Context) -> Any:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
            return self._loop.run_until_complete(self._loop.create_task(coroutine, context=context))
        coroutine.close()
        raise RuntimeError(
            f"{self._claimed_by} runs inside an asyncio loop and cannot run a coroutine callback there. "
            "Handle the hub by `await hub.run()`, `async with hub` or `hub.start()` instead."
        )


def _log(item: Event | Callable[[], None], error: Exception) -> None:
    if isinstance(item, Event):
        logger.error("Event %r could not be handled: %s", item.get("topic"), error, exc_info=error)
    else:
        logger.error("An action on hub.scheduler failed: %s", error, exc_info=error)


# Loops that a fork has copied. Were one closed here, as its finalizer does, the parent's loop would
# lose its wake-up: both share one epoll set.
_of_the_parent: list[asyncio.AbstractEventLoop] = []

_exiting = False


def start_no_more() -> None:
    """From now on no thread is started: the interpreter is exiting."""
    global _exiting
    _exiting = True


def _close_loop(loop: asyncio.AbstractEventLoop) -> None:
    """End what callbacks left running on a private loop, and close it."""
    try:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
