"""The handling contexts: the one place at a time where a hub's handlers run.

Four ways to handle, each a loop over the same inbox: `wait` in the calling thread, `drain` for what
is there now, `start` in a thread of its own (or, batch by batch, wherever `invoke` brings it), `run`
on the running asyncio loop. All of them claim the hub first and release it at their end, so that
there is never more than one.

Coroutine callbacks run on the loop of `run`; the other contexts make a private loop when the first
one comes, keep it running while they wait, and close it when they end (`private_loop`).

An event that a context cannot finish, since it is cancelled or interrupted or its turn is over, is put
back into the inbox, and goes on at the next subscriber before anything else (`turn`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextvars import Context
from math import ceil
from threading import Event as Flag
from threading import Lock, Thread, current_thread, get_ident
from time import monotonic
from typing import Any, Protocol

from reactivex.disposable import Disposable

from rxhub.concurrency.event_loop import running_loop
from rxhub.concurrency.fork import ForkSafeCondition
from rxhub.dispatching.delivery import Delivery
from rxhub.dispatching.time_slice import TimeSlice
from rxhub.errors import AlreadyHandled, HubClosed
from rxhub.event import Event
from rxhub.hub.inbox import Action, Inbox
from rxhub.hub.private_loop import PrivateLoop
from rxhub.rx.runner_status import WAIT_GAP_S, not_running

__all__ = ["CLOSE_TIMEOUT_S", "DISCONNECTED_TOPIC", "Handler", "Invoke", "Runner", "start_no_more"]

Invoke = Callable[[Callable[[], None]], Any]
"""Brings a function to a host application's main loop, as `maya.utils.executeDeferred` does."""

Run = Callable[[Coroutine[Any, Any, Any], Context], Any]
"""Runs a coroutine in a context to its end, and returns its result."""

CLOSE_TIMEOUT_S = 5.0
"""Seconds for which ending a context waits for the event under way: it may wait for us in turn."""

DISCONNECTED_TOPIC = "ftrack.meta.disconnected"
_BATCH = 256
# Seconds after which a host's main loop runs the private loop again: with tasks on it, and without.
_SOON_S, _SOME_TIME_S = 0.02, 0.25

logger = logging.getLogger("rxhub")


class Handler(Protocol):
    """What is done with one event, or with the delivery of one that was handed back."""

    def handle(self, item: Event | Delivery, run: Run, turn: TimeSlice) -> None:
        """Handle it here; `run` runs a coroutine to its end."""
        ...

    async def handle_async(self, item: Event | Delivery, turn: TimeSlice) -> None:
        """Handle it on the running loop."""
        ...


class Runner:
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
        self._changed = ForkSafeCondition(self)
        self._claimed_by = ""
        self._leaving = 0
        self._pause = 0.0
        self._expected_until = 0.0
        self._watching: dict[object, Callable[[], object]] = {}
        self._thread: int | None = None
        self._private = PrivateLoop()
        self._turn = TimeSlice(self._hand_back)

    @property
    def claimed_by(self) -> str:
        """The call that handles the hub; empty if it is not running."""
        return self._claimed_by or (self._inbox.clock.driven_by if self._inbox.open else "")

    @property
    def runs_here(self) -> bool:
        """Whether this thread handles the hub."""
        return self._thread == get_ident()

    def stops_in(self) -> float | None:
        """Seconds until the hub counts as handled by nobody; None while somebody handles it.

        Whoever calls `wait(duration)` or `drain()` calls it again and again, and so counts as there for a second more.
        """
        return None if self.claimed_by else max(0.0, self._expected_until - monotonic())

    def check_running(self, what: str) -> None:
        """Raise NotHandled if the hub is not running, so that `what` would wait forever."""
        if self.stops_in() == 0:
            raise not_running(what)

    def watch(self, tell: Callable[[], object]) -> Disposable:
        """Have `tell` called, in any thread, whenever a context has ended."""
        key = object()
        self._watching[key] = tell

        def leave() -> None:
            self._watching.pop(key, None)

        return Disposable(leave)

    def wait(self, duration: float | None, tick: float = 0.0) -> None:
        """Handle events as they come, until `duration` seconds have passed, the farewell event or the close.

        Args:
            duration: seconds; None for no end.
            tick: seconds for which it waits for an event before it looks whether `duration` has passed; 0 to look
                when it has.
        """
        if duration is not None and not duration > float("-inf"):
            raise ValueError(f"A duration is a number of seconds, but {duration!r} was given.")
        deadline = None if duration is None else monotonic() + duration
        self._claim("wait()", pause=0.0 if duration is None else WAIT_GAP_S)
        try:
            since = monotonic()
            while self._inbox.open:
                item = self._inbox.take()
                if item is None:
                    left = None if deadline is None else _last_look(deadline, since, tick) - monotonic()
                    if left is not None and left <= 0:
                        return
                    self._private.wait(self._inbox, left)
                    continue
                # Who else publishes under this topic ends nothing.
                farewell = self._inbox.own and isinstance(item, Event) and item.topic == DISCONNECTED_TOPIC
                self._do(item)
                if farewell:
                    return
                if deadline is not None and monotonic() > deadline:
                    return
                if tick and isinstance(item, Event):
                    since = monotonic()
        finally:
            self._release()

    def drain(self) -> int:
        """Handle what waits, and what that brings about, until nothing is ready; how many events it was."""
        self._claim("drain()", pause=WAIT_GAP_S)
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
            if not self.runs_here and current_thread() is not thread:
                thread.join(CLOSE_TIMEOUT_S)
                if thread.is_alive():
                    logger.warning(
                        "A callback still runs %g s after start() was disposed of; the handling ends when it does.",
                        CLOSE_TIMEOUT_S,
                    )

        def loop() -> None:
            try:
                if invoke is None:
                    self._thread = get_ident()
                    self._serve(stopped)
                else:
                    self._serve_by(invoke, stopped)
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
        inbox = self._inbox
        task = asyncio.current_task()
        turn = TimeSlice(self._hand_back, 0 if task is None else task.cancelling())
        turn.begin()
        try:
            while inbox.open:
                item = inbox.take()
                if item is None:
                    await inbox.wait_async()
                    turn.begin()
                    continue
                await self._do_async(item, turn)
                if monotonic() >= turn.end:
                    await turn.yield_to_loop()
        finally:
            self._release()

    async def drain_async(self, name: str) -> int:
        """`drain` on the running loop; `name` is the call."""
        self._claim(name)
        handled = 0
        task = asyncio.current_task()
        turn = TimeSlice(self._hand_back, 0 if task is None else task.cancelling())
        try:
            while (item := self._inbox.take()) is not None:
                handled += isinstance(item, Event)
                await self._do_async(item, turn)
        finally:
            self._release()
        return handled

    def join(self, timeout: float | None) -> bool:
        """Wait until no context handles the hub, and none is leaving; False if one still is after `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._claimed_by and not self._leaving, timeout)

    def after_fork(self) -> None:
        """Forget the context: its thread is not in the forked child."""
        self._private.forked()
        self._claimed_by, self._thread, self._leaving, self._expected_until = "", None, 0, 0.0
        self._watching.clear()

    def _claim(self, name: str, here: bool = True, pause: float = 0.0) -> None:
        with self._changed:
            if not self._inbox.open:
                raise HubClosed("The hub was closed; it handles nothing any more.")
            if self._claimed_by:
                raise AlreadyHandled(
                    f"{name} was called on a hub that {self._claimed_by} handles. "
                    "A hub has one handling context at a time: end that one first."
                )
            self._thread = get_ident() if here else None
            self._claimed_by = name
            self._turn = TimeSlice(self._hand_back)
            self._pause = pause

    def _release(self) -> None:
        try:
            self._private.close()
        finally:
            with self._changed:
                self._expected_until = monotonic() + self._pause if self._pause else 0.0
                self._claimed_by, self._thread = "", None
                self._leaving += 1
            try:
                self._idle()
            finally:
                # Not before: who closes the hub would go on while the last of it is still being ended here.
                with self._changed:
                    self._leaving -= 1
                    self._changed.notify_all()
                # After the end of a closed hub, which is the better answer.
                for tell in (*self._watching.values(),):
                    tell()

    def _serve(self, stopped: Flag) -> None:
        """Handle in this thread until stopped."""
        while self._inbox.open and not stopped.is_set():
            item = self._inbox.take()
            if item is None:
                self._private.wait(self._inbox, None)
            else:
                self._do(item)

    def _serve_by(self, invoke: Invoke, stopped: Flag) -> None:
        """Have a host handle, batch by batch, until stopped."""
        while self._inbox.open and not stopped.is_set():
            self._invoked(invoke, stopped)
            if stopped.is_set():
                return
            if not self._private.made:
                self._inbox.wait(None)
            else:
                # What the loop waits for, its host cannot see.
                self._inbox.wait(_SOON_S if self._private.busy else _SOME_TIME_S)

    def _batch(self, stopped: Flag) -> None:
        """Handle what is ready; a long queue in pieces, so that a host's main loop gets its turns."""
        turn = self._turn
        turn.begin()
        for _ in range(_BATCH):
            if stopped.is_set():
                break
            item = self._inbox.take()
            if item is None:
                break
            self._step(item)
            if monotonic() >= turn.end:
                break
        self._private.turn()

    def _invoked(self, invoke: Invoke, stopped: Flag) -> None:
        """Have the host run one batch, and wait for its end: batches never overlap."""
        if not self._inbox.ready and not self._private.made:
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

    def _do(self, item: Event | Action | Delivery) -> None:
        """Handle one item to its end; the tasks of the private loop have their turns meanwhile."""
        rest: Event | Action | Delivery | None = item
        while rest is not None:
            self._step(rest)
            if not self._turn.limited or monotonic() < self._turn.end:
                return
            self._private.turn()
            self._turn.begin()
            rest = self._inbox.take_unfinished()

    def _step(self, item: Event | Action | Delivery) -> None:
        """Handle one item as far as its turn goes."""
        try:
            if isinstance(item, Action):
                item()
            else:
                self._handler.handle(item, self._run_coroutine, self._turn)
        except Exception as error:
            _log(item, error)

    async def _do_async(self, item: Event | Action | Delivery, turn: TimeSlice) -> None:
        try:
            if isinstance(item, Action):
                item()
            else:
                await self._handler.handle_async(item, turn)
        except Exception as error:
            _log(item, error)

    def _hand_back(self, delivery: Delivery) -> None:
        if not self._inbox.put_back(delivery):
            logger.warning("The hub was closed before all subscribers had got event %s.", delivery.event.topic)

    def _run_coroutine(self, coroutine: Coroutine[Any, Any, Any], context: Context) -> Any:
        # Not called in an `except` clause, which would chain its error to the failures of callbacks.
        if running_loop() is None:
            if not self._private.made:
                self._turn.begin()
            return self._private.run(coroutine, context)
        coroutine.close()
        raise RuntimeError(
            f"{self._claimed_by} runs inside an asyncio loop and cannot run a coroutine callback there. "
            "Handle the hub by `await hub.run()`, `async with hub` or `hub.start()` instead."
        )


def _last_look(deadline: float, since: float, tick: float) -> float:
    """When who has waited for an event since a time, and looks at the clock each `tick` seconds, finds it is late."""
    return since + max(1, ceil((deadline - since) / tick)) * tick if tick else deadline


def _log(item: Event | Action | Delivery, error: Exception) -> None:
    if isinstance(item, Action):
        logger.error("An action on hub.scheduler failed: %s", error, exc_info=error)
        return
    event = item if isinstance(item, Event) else item.event
    logger.error("Event %r could not be handled: %s", event.get("topic"), error, exc_info=error)


_exiting = False


def start_no_more() -> None:
    """From now on no thread is started: the interpreter is exiting."""
    global _exiting
    _exiting = True
