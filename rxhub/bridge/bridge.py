"""The bridge itself: takes the source's events, gives them to the target, and marks gaps.

Theory of operation.

- Everything is decided in the source's handling context: an event is taken, a new state is noticed, a gap is marked.
  What becomes of an event at the target is told by a future, in the thread of the network, which only notes it
  (`rxhub.bridge.tracker`).
- An event server does not wait for slow readers, so the bridge never holds the source up. One event more than may wait
  opens a gap, and nothing is passed on until half of what waits is stored. So it is the later ones that are lost: what
  was stored before the marker has no hole, and all that is missing lies between the two times of the marker.
- The times of a gap must enclose what is missing, but an event does not tell when it came, and may have waited to be
  handled. So every second an action is put behind all that waits in the source's inbox; when it runs, all that came
  before it was put there has been taken. That time is the `floor`: what is taken afterwards came later.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from threading import Event as Flag
from time import monotonic
from types import TracebackType
from typing import Any, Self, cast

from reactivex.abc import DisposableBase

from rxhub.bridge.checkpoint import Checkpoint
from rxhub.bridge.gap import GAP
from rxhub.bridge.tracker import BridgeTracker, Counts, GapChange
from rxhub.concurrency.backoff import Backoff
from rxhub.errors import NotFoundError, Overflow
from rxhub.event import Event
from rxhub.expression import parse
from rxhub.hub import EventHub
from rxhub.text.printable import printable
from rxhub.transport.connection_state import ConnectionState, Phase

__all__ = ["Bridge"]

SUBSCRIBE_TIMEOUT_S = 10.0
"""Seconds after which a server that was told of the subscription, and has not answered, counts as knowing it."""

_CLOSE_TIMEOUT_S = 5.0
_CHECK_INTERVAL_S = 1.0
_MARK_DELAY_S = 0.1
_MAX_RETRY_DELAY_S = 30.0
_NEWS = frozenset({"ftrack.meta.connected", "ftrack.meta.disconnected"})

logger = logging.getLogger("rxhub.bridge")


class Bridge:
    """Passes the events of `source` on to `target`, from entering its `with` block to leaving it.

    They are passed on in order and as they came: `id`, `source`, `sent` and unknown fields included. A stream stores
    each id once, so several bridges may stand side by side. Where events may be missing there is a marker, an event
    of topic `rxhub.bridge.gap`. Both hubs are the caller's, to be connected and, the source at least, handled.

    Args:
        source: whose events are taken, before its other subscribers see them.
        target: where they go.
        subscription: which events.
        name: which bridge it is, in its markers; that of the machine if it is not given.
        buffer: how many events may wait for being stored. The target's `outbox` should be no smaller.

    Raises:
        TypeError: if one of them is no hub.
        ValueError: if both hubs have the same URL, or the buffer has no room.
        ExpressionError: if the subscription does not parse.
    """

    def __init__(
        self,
        source: EventHub,
        target: EventHub,
        subscription: str = "topic=*",
        *,
        name: str | None = None,
        buffer: int = 50_000,
    ) -> None:
        for hub in (source, target):
            if not isinstance(hub, EventHub):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError(f"A bridge joins two hubs, but {type(hub).__name__} was given.")
        if source.shares_source_with(target):
            raise ValueError(
                f"Both ends of this bridge are at {source.get_server_url()}: each event would come back and be passed "
                "on again. A bridge leads from one server, network or stream to another."
            )
        if buffer < 1:
            raise ValueError(f"A bridge needs a buffer of at least 1, but {buffer} was given.")
        parse(subscription)
        self.source = source
        self.target = target
        self.subscription = subscription
        self.name = name or socket.gethostname()
        self._tracker = BridgeTracker(buffer)
        self._checkpoint = Checkpoint(target, source.get_server_url(), subscription, self.name)
        self._process = os.getpid()
        self._id = ""
        self._ended = False
        self._states: DisposableBase | None = None
        self._floor = datetime.now(UTC)
        self._patient_until = 0.0
        self._dropped = source.dropped
        self._told_of_duplicates = False
        self._pause = 0.0
        self._backoff = Backoff(_CHECK_INTERVAL_S, _MAX_RETRY_DELAY_S)
        self._marks_from = 0.0

    def __repr__(self) -> str:
        return printable(f"<Bridge {self.source.get_server_url()} → {self.target.get_server_url()}: {self.counts}>")

    @property
    def counts(self) -> Counts:
        """What became of the events so far."""
        return self._tracker.counts

    def open(self) -> None:
        """Begin; entering the `with` block does it.

        Raises:
            HubClosed: if the source was closed.
        """
        if not self._id:
            self._id = self.source.subscribe(self.subscription, self._take, priority=float("-inf"))
            self._soon(self._begin)

    def close(self, timeout: float = _CLOSE_TIMEOUT_S) -> Counts:
        """Read no more, and wait until what was read is stored; leaving the `with` block does it.

        Args:
            timeout: seconds for all of it.

        Returns:
            The counts. What still waits by then goes out as long as the target is open.
        """
        end = monotonic() + timeout
        if self._id and not self._ended:
            self._take_the_last(end)
            self._end()
            if not self._tracker.wait(max(0.0, end - monotonic())):
                logger.warning("%d events were read and are not stored yet.", self.counts.waiting)
            noted = self._checkpoint.note(self._tracker.secured, at_once=True)
            if noted is not None:
                with suppress(Exception):
                    noted.result(max(0.0, end - monotonic()))
        return self.counts

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Who interrupts does not want to wait.
        self.close(_CLOSE_TIMEOUT_S if kind is None or issubclass(kind, Exception) else 0.0)

    async def __aenter__(self) -> Self:
        self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)

    # In the source's handling context

    def _begin(self) -> None:
        if not self._ended:
            self._states = self.source.state.subscribe(self._stands)
            self._sweep()

    def _end(self) -> None:
        self._ended = True
        with suppress(NotFoundError):
            self.source.unsubscribe(self._id)
        if self._states is not None:
            self._states.dispose()

    def _sweep(self) -> None:
        """Put the next look behind all that waits now."""
        now = datetime.now(UTC)
        self._soon(lambda: self._look(now))

    def _look(self, floor: datetime) -> None:
        if self._ended or os.getpid() != self._process:
            return
        self._floor = floor
        self._notice_what_the_inbox_dropped()
        self._mark()
        self._checkpoint.note(self._tracker.secured)
        about_to_mark = self._tracker.gap is not None and self.source.connected and not self._pause
        self._soon(self._sweep, _MARK_DELAY_S if about_to_mark else _CHECK_INTERVAL_S)

    def _stands(self, state: ConnectionState) -> None:
        if state:
            self._patient_until = monotonic() + SUBSCRIBE_TIMEOUT_S
        elif state.phase is not Phase.CLOSED:
            self._miss("reconnected", state.reason)

    def _take(self, event: Event) -> None:
        # A forked child has a copy of the bridge, and the parent passes everything on already.
        if os.getpid() != self._process or self._is_news(event):
            return
        self._notice_what_the_inbox_dropped()
        self._mark()
        tracker, identifier = self._tracker, str(event.get("id"))
        if not tracker.read(identifier):
            self._tell_of_duplicates(event)
        elif not tracker.has_room:
            self._miss("overflowed", f"{tracker.counts.waiting} events wait to be stored", 1, room=False)
        else:
            try:
                sent = self.target.forward(event)
            except Overflow as error:
                self._miss("overflowed", str(error), 1, room=False)
            except Exception as error:
                self._miss("refused", str(error), 1)
            else:
                tracker.passed(identifier, self._floor, sent)
                sent.add_done_callback(self._settle)

    def _mark(self) -> None:
        """Publish the marker of an open gap, once nothing more can be missing."""
        tracker = self._tracker
        gap = tracker.gap
        if gap is None or monotonic() < self._marks_from or not self._hears() or not tracker.has_room:
            return
        known = self._checkpoint.recalled()
        if known is None:
            return
        until = datetime.now(UTC)
        told = gap.behind(known, until)
        about = {
            "bridge": self.name,
            "server": self.source.get_server_url(),
            "subscription": self.subscription,
        }
        marker = Event(GAP, data={**about, **told.data(until)})
        try:
            sent = self.target.publish(marker)
        except Exception:
            return  # the gap is still open
        assert sent is not None
        tracker.marked(marker.id, until, sent, gap, told)
        sent.add_done_callback(self._settle)

    def _hears(self) -> bool:
        source = self.source
        return source.connected and (source.subscriptions_synced or monotonic() > self._patient_until)

    def _miss(self, why: str, reason: str, lost: int = 0, room: bool = True) -> None:
        if self._tracker.missed(why, reason, lost, room):
            logger.warning("Events may be missing from now on (%s): %s.", why, reason.rstrip(".") or "no reason given")

    def _notice_what_the_inbox_dropped(self) -> None:
        before, self._dropped = self._dropped, self.source.dropped
        lost = self._dropped - before
        if lost > 0:
            self._miss("overflowed", f"the source's inbox was full and dropped {lost} events", lost)

    def _is_news(self, event: Event) -> bool:
        """Whether it is no event of the server's, but the hub's own news of its connection."""
        if event.topic not in _NEWS:
            return False
        source = event.source
        return isinstance(source, Mapping) and cast("Mapping[str, Any]", source).get("id") == self.source.id

    def _tell_of_duplicates(self, event: Event) -> None:
        if not self._told_of_duplicates:
            self._told_of_duplicates = True
            logger.warning(
                "%s with the id %s came again after it had been passed on, and is not passed on twice, as will be all "
                "others. Either its publisher has published it again, or another bridge leads back to %s.",
                event.topic,
                event.get("id"),
                self.source.get_server_url(),
            )

    def _soon(self, run: Callable[[], None], delay: float = 0.0) -> None:
        def action(_: object, __: object = None) -> None:
            run()

        self.source.scheduler.schedule_relative(delay, action)

    # In any thread

    def _settle(self, _: object) -> None:
        for outcome, gap, told in self._tracker.settle():
            if outcome is GapChange.MARKED:
                self._pause = self._marks_from = 0.0
                self._backoff.reset()
                logger.info("%s", told)
            elif outcome is GapChange.OPENED:
                logger.warning("Events may be missing from now on (%s): %s", gap.why, told)
            else:
                if not self._pause:
                    logger.warning("The marker of a gap (%s) is not stored, and is tried again: %s", gap.why, told)
                self._pause = self._backoff.delay()
                self._marks_from = monotonic() + self._pause

    def _take_the_last(self, end: float) -> None:
        """Wait until all that waits in the source's inbox was taken; not if nobody takes it, or this thread should."""
        taken = Flag()

        def last() -> None:
            self._end()
            taken.set()

        if not self.source.is_running_here:
            self._soon(last)
            while self.source.is_running and (left := end - monotonic()) > 0 and not taken.wait(min(0.1, left)):
                pass
