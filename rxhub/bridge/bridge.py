"""`Bridge`: forwards the source's events to the target and marks gaps.

Theory of operation.

- All decisions are made in the source's handling context: it receives events and states, and publishes markers. The
  results of the target come by futures in the I/O thread, which only records them (`rxhub.bridge.tracker`).
- An event server does not wait for slow readers, so the bridge never blocks the source. If too many events wait, a gap
  opens, and nothing is forwarded until half of them are stored. So the later events are lost: those stored before the
  marker are complete, and all missing ones lie between the two times of the marker.
- The times of a gap must enclose the missing events, but an event has no time of arrival and may have waited in the
  inbox. So every second an action is appended to the source's inbox. When it runs, everything that arrived before
  it was appended has been received. That time is the `floor`: events received afterwards arrived later.
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
from rxhub.telemetry import counts as metric_counts
from rxhub.text.printable import printable
from rxhub.transport.connection_state import ConnectionState, Phase

__all__ = ["Bridge"]

SUBSCRIBE_TIMEOUT_S = 10.0  # when a server that has not acknowledged the subscription counts as knowing it
_CLOSE_TIMEOUT_S = 5.0
_CHECK_INTERVAL_S = 1.0
_MARK_DELAY_S = 0.1
_MAX_RETRY_DELAY_S = 30.0
_CONNECTION_TOPICS = frozenset({"ftrack.meta.connected", "ftrack.meta.disconnected"})

logger = logging.getLogger("rxhub.bridge")


class Bridge:
    """Forwards the events of `source` to `target` during its `with` block.

    Events are forwarded in order and unchanged, with `id`, `source`, `sent` and unknown fields. A stream stores each id
    once, so several bridges may run in parallel. Where events may be missing, the bridge publishes a marker, an event
    of topic `rxhub.bridge.gap`. The caller connects both hubs and runs the source.

    Args:
        source: the hub whose events are forwarded, before its other subscribers receive them.
        target: the hub that publishes them.
        subscription: the events to forward.
        name: of the bridge, in markers. Default: the name of the machine.
        buffer: the maximum number of events that are not stored yet. The target's `outbox` should not be smaller.

    Raises:
        TypeError: if `source` or `target` is not a hub.
        ValueError: if both hubs have the same URL, or the buffer is less than 1.
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
            if not isinstance(hub, EventHub):
                raise TypeError(f"A bridge connects two hubs, but {type(hub).__name__} was given.")
        if source.shares_source_with(target):
            raise ValueError(
                f"Both ends of this bridge are at {source.get_server_url()}, so each event would come back and be "
                "forwarded again. A bridge connects different servers, networks or streams."
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
        self._synced_at = 0.0
        self._dropped = source.dropped
        self._has_warned = False
        self._reported = Counts()
        self._retry_delay = 0.0
        self._backoff = Backoff(_CHECK_INTERVAL_S, _MAX_RETRY_DELAY_S)
        self._retry_at = 0.0

    def __repr__(self) -> str:
        return printable(f"<Bridge {self.source.get_server_url()} → {self.target.get_server_url()}: {self.counts}>")

    @property
    def counts(self) -> Counts:
        return self._tracker.counts

    def levels(self, counting: metric_counts.EventCounts) -> list[metric_counts.Level]:
        """The number of waiting events, for metrics; also passes on what was counted since the last call."""
        counted, known = self.counts, self._reported
        self._reported = counted
        before = counting.bridges.get(self.name, metric_counts.BridgeCounts())
        growth = [getattr(counted, name) - getattr(known, name) for name in before._fields]
        counting.bridges[self.name] = metric_counts.BridgeCounts(*map(sum, zip(before, growth, strict=True)))
        return [metric_counts.Level("bridge_waiting", 0 if self._ended else counted.waiting, self.name)]

    def open(self) -> None:
        """Start; entering the `with` block calls it.

        Raises:
            HubClosed: if the source is closed.
        """
        if not self._id:
            self._id = self.source.subscribe(self.subscription, self._on_event, priority=float("-inf"))
            metric_counts.sources.add(self)
            self._schedule(self._begin)

    def close(self, timeout: float = _CLOSE_TIMEOUT_S) -> Counts:
        """Stop, and wait until received events are stored; leaving the `with` block calls it.

        Args:
            timeout: seconds in total.

        Returns:
            The counts. Events that still wait are sent as long as the target is open.
        """
        end = monotonic() + timeout
        if self._id and not self._ended:
            self._handle_the_rest(end)
            self._end()
            if not self._tracker.wait(max(0.0, end - monotonic())):
                logger.warning("%d received events are not stored yet.", self.counts.waiting)
            noted = self._checkpoint.save(self._tracker.secured, at_once=True)
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
        # Ctrl-C: do not wait.
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
            self._states = self.source.state.subscribe(self._on_state)
            self._schedule_check()

    def _end(self) -> None:
        self._ended = True
        with suppress(NotFoundError):
            self.source.unsubscribe(self._id)
        if self._states is not None:
            self._states.dispose()

    def _schedule_check(self) -> None:
        now = datetime.now(UTC)
        self._schedule(lambda: self._check(now))

    def _check(self, floor: datetime) -> None:
        if self._ended or os.getpid() != self._process:
            return
        self._floor = floor
        self._count_dropped()
        self._mark()
        self._checkpoint.save(self._tracker.secured)
        about_to_mark = self._tracker.gap is not None and self.source.connected and not self._retry_delay
        self._schedule(self._schedule_check, _MARK_DELAY_S if about_to_mark else _CHECK_INTERVAL_S)

    def _on_state(self, state: ConnectionState) -> None:
        if state:
            self._synced_at = monotonic() + SUBSCRIBE_TIMEOUT_S
        elif state.phase is not Phase.CLOSED:
            self._open_gap("reconnected", state.reason)

    def _on_event(self, event: Event) -> None:
        # A forked child has a copy of the bridge, but the parent forwards the events.
        if os.getpid() != self._process or self._is_own(event):
            return
        self._count_dropped()
        self._mark()
        tracker, identifier = self._tracker, str(event.get("id"))
        if not tracker.receive(identifier):
            self._warn_of_duplicate(event)
        elif not tracker.has_room:
            self._open_gap("overflowed", f"{tracker.counts.waiting} events wait to be stored", 1, room=False)
        else:
            try:
                sent = self.target.forward(event)
            except Overflow as error:
                self._open_gap("overflowed", str(error), 1, room=False)
            except Exception as error:
                self._open_gap("refused", str(error), 1)
            else:
                tracker.add(identifier, self._floor, sent)
                sent.add_done_callback(self._settle)

    def _mark(self) -> None:
        """Publish the marker of an open gap, if no more events can be missing."""
        tracker = self._tracker
        gap = tracker.gap
        if gap is None or monotonic() < self._retry_at or not self._receives_events() or not tracker.has_room:
            return
        known = self._checkpoint.load()
        if known is None:
            return
        until = datetime.now(UTC)
        told = gap.after(known, until)
        about = {"bridge": self.name, "server": self.source.get_server_url(), "subscription": self.subscription}
        marker = Event(GAP, data={**about, **told.data(until)})
        try:
            sent = self.target.publish(marker)
        except Exception:
            return  # the gap is still open
        assert sent is not None
        tracker.add_marker(marker.id, until, sent, gap, told)
        sent.add_done_callback(self._settle)

    def _receives_events(self) -> bool:
        source = self.source
        return source.connected and (source.subscriptions_synced or monotonic() > self._synced_at)

    def _open_gap(self, why: str, reason: str, lost: int = 0, room: bool = True) -> None:
        if self._tracker.open_gap(why, reason, lost, room):
            logger.warning("Events may be missing from now on (%s): %s.", why, reason.rstrip(".") or "no reason given")

    def _count_dropped(self) -> None:
        before, self._dropped = self._dropped, self.source.dropped
        lost = self._dropped - before
        if lost > 0:
            self._open_gap("overflowed", f"the source's inbox was full and dropped {lost} events", lost)

    def _is_own(self, event: Event) -> bool:
        """Whether it is the hub's own event about its connection."""
        if event.topic not in _CONNECTION_TOPICS:
            return False
        source = event.source
        return isinstance(source, Mapping) and cast("Mapping[str, Any]", source).get("id") == self.source.id

    def _warn_of_duplicate(self, event: Event) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "%s with the id %s was received again and is not forwarded twice, nor are further duplicates. "
                "Either it was published twice, or another bridge leads back to %s.",
                event.topic,
                event.get("id"),
                self.source.get_server_url(),
            )

    def _schedule(self, run: Callable[[], None], delay: float = 0.0) -> None:
        def action(_: object, __: object = None) -> None:
            run()

        self.source.scheduler.schedule_relative(delay, action)

    # In any thread

    def _settle(self, _: object) -> None:
        for outcome, gap, told in self._tracker.process_done():
            if outcome is GapChange.MARKED:
                self._retry_delay = self._retry_at = 0.0
                self._backoff.reset()
                logger.info("%s", told)
            elif outcome is GapChange.OPENED:
                logger.warning("Events may be missing from now on (%s): %s", gap.why, told)
            else:
                if not self._retry_delay:
                    logger.warning("Storing the marker of a gap (%s) failed; retrying: %s", gap.why, told)
                self._retry_delay = self._backoff.delay()
                self._retry_at = monotonic() + self._retry_delay

    def _handle_the_rest(self, end: float) -> None:
        """Wait until the source's inbox is handled, unless the source is not running, or runs in this thread."""
        taken = Flag()

        def last() -> None:
            self._end()
            taken.set()

        if not self.source.is_running_here:
            self._schedule(last)
            while self.source.is_running and (left := end - monotonic()) > 0 and not taken.wait(min(0.1, left)):
                pass
