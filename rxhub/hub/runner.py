"""The handling contexts: a hub's handlers run in one of them at a time.

Each context is a loop over the inbox: `wait` in the calling thread, `drain` for the waiting events, `start` in a thread
of its own (or, batch by batch, wherever `invoke` runs it), `run` on the running asyncio loop. A context claims the hub
first and releases it at its end. Coroutine callbacks run on the loop of `run`; the other contexts have a private one
(`private_loop`). An event that a context cannot finish (it is cancelled, interrupted, or its time slice is over) is put
back into the inbox and continues at the next subscriber before anything else (`rxhub.dispatching.time_slice`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
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
from rxhub.dispatching.dispatcher import Run
from rxhub.dispatching.time_slice import TimeSlice
from rxhub.errors import AlreadyHandled, HubClosed
from rxhub.event import Event
from rxhub.hub.inbox import Action, Inbox
from rxhub.hub.private_loop import PrivateLoop
from rxhub.rx.runner_status import WAIT_GAP_S, not_running
from rxhub.transport.io_thread import is_exiting

__all__ = ["CLOSE_TIMEOUT_S", "DISCONNECTED_TOPIC", "Handler", "Invoke", "Runner"]

Invoke = Callable[[Callable[[], None]], Any]
"""Runs a function in a host application's main loop, such as `maya.utils.executeDeferred`."""

CLOSE_TIMEOUT_S = 5.0
"""How long ending a context waits for the current event, whose callback may wait for the end in turn."""

DISCONNECTED_TOPIC = "ftrack.meta.disconnected"
_BATCH = 256
# Seconds after which a host's main loop runs the private loop again: with tasks on it, and without.
_SOON_S, _SOME_TIME_S = 0.02, 0.25

logger = logging.getLogger("rxhub")


class Handler(Protocol):
    """Handles an event, or the rest of a delivery that was handed back; `run` runs a coroutine."""

    def handle(self, item: Event | Delivery, run: Run, turn: TimeSlice) -> None: ...

    async def handle_async(self, item: Event | Delivery, turn: TimeSlice) -> None: ...


class Runner:
    """Runs the handlers of one hub, and calls `idle` when a context has ended."""

    def __init__(self, inbox: Inbox, handler: Handler, idle: Callable[[], None]) -> None:
        self.clock = inbox.clock
        self._inbox = inbox
        self._handler = handler
        self._idle = idle
        self._claimed_by = ""
        self._leaving = 0
        self._pause = 0.0
        self._expected_until = 0.0
        self._watching: dict[object, Callable[[], object]] = {}
        self._thread: int | None = None
        self._private = PrivateLoop()
        self._turn = TimeSlice(self._hand_back)
        # Last, because another thread may fork now, and `after_fork` needs the other attributes.
        self._changed = ForkSafeCondition(self)

    @property
    def claimed_by(self) -> str:
        """The call that handles the hub; empty if it is not running."""
        return self._claimed_by or (self.clock.driven_by if self._inbox.open else "")

    @property
    def runs_here(self) -> bool:
        return self._thread == get_ident()

    def stops_in(self) -> float | None:
        """Seconds until the hub counts as not running; None while it is running.

        Callers of `wait(duration)` and `drain()` call them repeatedly, so the hub counts as running for a second more.
        """
        return None if self.claimed_by else max(0.0, self._expected_until - monotonic())

    def check_running(self, what: str) -> None:
        if self.stops_in() == 0:
            raise not_running(what)

    def watch(self, tell: Callable[[], object]) -> Disposable:
        """Call `tell`, in any thread, whenever a context has ended."""
        key = object()
        self._watching[key] = tell

        def leave() -> None:
            self._watching.pop(key, None)

        return Disposable(leave)

    def wait(self, duration: float | None, tick: float = 0.0) -> None:
        """Handle events until `duration` seconds (None: no limit) have passed, or the hub is disconnected or closed.

        With `tick`, the duration is checked only every `tick` seconds without an event, as ftrack's hub does.
        """
        if not (duration is None or duration > float("-inf")):
            raise ValueError(f"A duration is a number of seconds, but {duration!r} was given.")
        deadline = None if duration is None else monotonic() + duration
        with self._claimed("wait()", pause=0.0 if duration is None else WAIT_GAP_S):
            since = monotonic()
            while self._inbox.open:
                item = self._inbox.take()
                if item is None:
                    left = None if deadline is None else _last_look(deadline, since, tick) - monotonic()
                    if left is not None and left <= 0:
                        return
                    self._private.wait(self._inbox, left)
                    continue
                # The hub's own event, not one that was published under this topic.
                is_last = self._inbox.own and isinstance(item, Event) and item.topic == DISCONNECTED_TOPIC
                self._do(item)
                if is_last or (deadline is not None and monotonic() > deadline):
                    return
                if tick and isinstance(item, Event):
                    since = monotonic()

    def drain(self) -> int:
        """Handle events until nothing is ready; the number of events."""
        handled = 0
        with self._claimed("drain()", pause=WAIT_GAP_S):
            while (item := self._inbox.take()) is not None:
                handled += isinstance(item, Event)
                self._do(item)
        return handled

    def start(self, invoke: Invoke | None) -> Disposable:
        """Handle in a thread until disposed; with `invoke`, in batches wherever it runs them."""
        if is_exiting():
            raise HubClosed("No thread can be started: the interpreter is exiting.")
        self._claim("start()", here=False)
        stopped = Flag()

        def stop() -> None:
            stopped.set()
            self._inbox.ring()
            # Not `self.join`, which would also wait for the next context.
            if not self.runs_here and current_thread() is not thread:
                thread.join(CLOSE_TIMEOUT_S)
                if thread.is_alive():
                    logger.warning(
                        "A callback still runs %g s after start() was disposed of. Handling ends when it returns.",
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
                logger.critical("start() stopped handling: %s ended its thread.", type(error).__name__, exc_info=error)
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
        inbox = self._inbox
        with self._claimed("run()"):
            turn = self._task_slice()
            turn.begin()
            while inbox.open:
                item = inbox.take()
                if item is None:
                    await inbox.wait_async()
                    turn.begin()
                    continue
                await self._do_async(item, turn)
                if monotonic() >= turn.end:
                    await turn.yield_to_loop()

    async def drain_async(self, name: str) -> int:
        """`drain` on the running loop; `name` is the call."""
        handled = 0
        with self._claimed(name):
            turn = self._task_slice()
            while (item := self._inbox.take()) is not None:
                handled += isinstance(item, Event)
                await self._do_async(item, turn)
        return handled

    def _task_slice(self) -> TimeSlice:
        task = asyncio.current_task()
        return TimeSlice(self._hand_back, 0 if task is None else task.cancelling())

    def join(self, timeout: float | None) -> bool:
        """Wait until the hub is not running and no context is ending; False after `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._claimed_by and not self._leaving, timeout)

    def after_fork(self) -> None:
        """Forget the context: its thread is not in the forked child."""
        self._private.forked()
        self._claimed_by, self._thread, self._leaving, self._expected_until = "", None, 0, 0.0
        self._watching.clear()

    @contextmanager
    def _claimed(self, name: str, pause: float = 0.0) -> Generator[None]:
        self._claim(name, pause=pause)
        try:
            yield
        finally:
            self._release()

    def _claim(self, name: str, here: bool = True, pause: float = 0.0) -> None:
        with self._changed:
            if not self._inbox.open:
                raise HubClosed("The hub was closed.")
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
                # Not before: `close` in another thread must wait until `idle` has returned.
                with self._changed:
                    self._leaving -= 1
                    self._changed.notify_all()
                # After `idle`: HubClosed is a better error than NotHandled.
                for tell in (*self._watching.values(),):
                    tell()

    def _serve(self, stopped: Flag) -> None:
        while self._inbox.open and not stopped.is_set():
            item = self._inbox.take()
            if item is None:
                self._private.wait(self._inbox, None)
            else:
                self._do(item)

    def _serve_by(self, invoke: Invoke, stopped: Flag) -> None:
        """Let a host application handle batches until stopped."""
        while self._inbox.open and not stopped.is_set():
            self._invoked(invoke, stopped)
            if not stopped.is_set():
                # The host does not see when the private loop has something to do.
                soon = _SOON_S if self._private.busy else _SOME_TIME_S
                self._inbox.wait(soon if self._private.made else None)

    def _batch(self, stopped: Flag) -> None:
        """Handle what is ready, in pieces that do not block a host's main loop."""
        turn = self._turn
        turn.begin()
        for _ in range(_BATCH):
            item = None if stopped.is_set() else self._inbox.take()
            if item is None:
                break
            self._step(item)
            if monotonic() >= turn.end:
                break
        self._private.turn()

    def _invoked(self, invoke: Invoke, stopped: Flag) -> None:
        """Let the host run one batch and wait for its end: batches never overlap."""
        if not self._inbox.ready and not self._private.made:
            return
        done = Flag()
        # Acquired once: by the batch when it begins, or below to give it up.
        beginning = Lock()

        def batch() -> None:
            # The host may run it long after handling has ended.
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
            logger.error("start(invoke=…) ends because invoke failed: %s", error, exc_info=error)
            stopped.set()
        while not done.wait(0.1):
            over = stopped.is_set() or not self._inbox.open
            if over and beginning.acquire(blocking=False):
                return

    def _do(self, item: Event | Action | Delivery) -> None:
        """Handle one item to its end, running the private loop between time slices."""
        rest: Event | Action | Delivery | None = item
        while rest is not None:
            self._step(rest)
            if not self._turn.limited or monotonic() < self._turn.end:
                return
            self._private.turn()
            self._turn.begin()
            rest = self._inbox.take_unfinished()

    def _step(self, item: Event | Action | Delivery) -> None:
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
            logger.warning("The hub was closed before all subscribers received event %s.", delivery.event.topic)

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
    """The first check after the deadline, if an event was awaited since a time and the clock is read every `tick`."""
    return since + max(1, ceil((deadline - since) / tick)) * tick if tick else deadline


def _log(item: Event | Action | Delivery, error: Exception) -> None:
    if isinstance(item, Action):
        logger.error("An action on hub.scheduler failed: %s", error, exc_info=error)
        return
    event = item if isinstance(item, Event) else item.event
    logger.error("Event %r could not be handled: %s", event.get("topic"), error, exc_info=error)
