"""Tracks the events that a bridge forwards. Thread-safe; knows no hub.

Theory of operation. The source's handling context adds each forwarded event, in order, with the future of the target.
When a future is done, the tracker processes done ones from the front: an event counts as stored when all before it are
stored or refused. A gap is open until its marker is stored. If the marker is refused, the gap is open again, and two
open gaps become one.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from datetime import datetime
from enum import Enum
from threading import Condition, Lock
from typing import NamedTuple

from rxhub.bridge.gap import EVER, Gap, Position
from rxhub.concurrency.bounded_dict import BoundedDict

__all__ = ["BridgeTracker", "Counts", "GapChange", "GapNotice"]

MAX_KNOWN_IDS = 20_000  # how many ids of forwarded events are remembered; about 100 bytes each


class Counts(NamedTuple):
    """The numbers of events: each received event is stored, waiting, lost or a duplicate.

    Attributes:
        read: received from the source.
        stored: accepted by the target, which has stored them in its stream.
        waiting: forwarded to the target and not accepted yet.
        lost: not forwarded for lack of room, refused, or dropped by the source's inbox; covered by markers.
        duplicates: received again under an id that had been forwarded.
        gaps: stored markers.
    """

    read: int = 0
    stored: int = 0
    waiting: int = 0
    lost: int = 0
    duplicates: int = 0
    gaps: int = 0

    def __str__(self) -> str:
        told = [f"{self.read:,} read", f"{self.stored:,} stored", f"{self.waiting:,} waiting"]
        if self.lost:
            told.append(f"{self.lost:,} lost")
        for count, name in ((self.duplicates, "duplicate"), (self.gaps, "gap")):
            if count:
                told.append(f"{count:,} {name}{'' if count == 1 else 's'}")
        return ", ".join(told)


class GapChange(Enum):
    """A change of a gap."""

    OPENED = "opened"
    MARKED = "marked"
    REFUSED = "refused"  # its marker was refused, so it is open again


class GapNotice(NamedTuple):
    """A change of a gap, to be logged with the text of the marker, or the error."""

    outcome: GapChange
    gap: Gap
    told: str


class _Forwarded(NamedTuple):
    """A forwarded event, or the marker of a gap."""

    id: str
    floor: datetime
    sent: Future[None]
    gap: Gap | None


class BridgeTracker:
    """The events of one bridge."""

    def __init__(self, buffer: int) -> None:
        # The open gap, if there is one; at the start, for the events that were published before.
        self.gap: Gap | None = Gap("started", None)
        self._buffer = buffer
        self._in_flight: deque[_Forwarded] = deque()
        self._marking: deque[Gap] = deque()
        self._known = BoundedDict[str, None](MAX_KNOWN_IDS)
        self._room: int | None = None
        self._latest = Position()
        self._stored = Position()
        self._counts = Counts()
        self._changed = Condition(Lock())

    @property
    def counts(self) -> Counts:
        with self._changed:
            return self._counts._replace(waiting=len(self._in_flight) - len(self._marking))

    @property
    def secured(self) -> Position:
        """The position before which all missing events are covered by stored markers."""
        with self._changed:
            places = [self._stored]
            places += [Position(gap.since, gap.last) for gap in (*self._marking, self.gap) if gap is not None]
        return min(places, key=lambda place: place.floor or EVER)

    @property
    def has_room(self) -> bool:
        """Whether an event may be forwarded. After an overflow, not before half of those in flight are stored."""
        in_flight = len(self._in_flight)
        return in_flight < self._buffer if self._room is None else in_flight <= self._room

    def receive(self, identifier: str) -> bool:
        """Count a received event; False if it is a duplicate."""
        with self._changed:
            known = identifier in self._known
            counts = self._counts
            self._counts = counts._replace(read=counts.read + 1, duplicates=counts.duplicates + known)
        return not known

    def add(self, identifier: str, floor: datetime, sent: Future[None]) -> None:
        with self._changed:
            # The marker before it covers what was lost until its time.
            floor = max(floor, self._latest.floor or floor)
            self._latest = Position(floor, identifier)
            self._append(_Forwarded(identifier, floor, sent, None))

    def add_marker(self, identifier: str, until: datetime, sent: Future[None], gap: Gap, told: Gap) -> None:
        """Add the marker of a gap, which closes it unless more was lost. `told` is the part that it covers."""
        with self._changed:
            self._room = None
            if self.gap == gap:
                self.gap = None
            self._latest = self._latest._replace(floor=until)
            self._marking.append(told)
            self._append(_Forwarded(identifier, until, sent, told))

    def open_gap(self, why: str, reason: str = "", lost: int = 0, room: bool = True) -> bool:
        """Open a gap after the last forwarded event, or extend the open one; whether it is a new one.

        Without `room`, nothing is forwarded until the target has room again.
        """
        with self._changed:
            counts = self._counts
            self._counts = counts._replace(lost=counts.lost + lost)
            if not room and self._room is None:
                self._room = len(self._in_flight) // 2
            new = self.gap is None
            self.gap = Gap(why, self._latest.floor, self._latest.id, reason, lost).joined(self.gap)
        return new

    def process_done(self) -> list[GapNotice]:
        """Process done futures; the changes of gaps."""
        told: list[GapNotice] = []
        with self._changed:
            while self._in_flight and self._in_flight[0].sent.done():
                forwarded = self._in_flight.popleft()
                error = forwarded.sent.exception()
                said = self._accepted(forwarded) if error is None else self._refused(forwarded, error)
                if said is not None:
                    told.append(said)
            self._changed.notify_all()
        return told

    def wait(self, timeout: float) -> bool:
        """Wait until nothing is in flight; False after `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._in_flight, timeout)

    def _append(self, forwarded: _Forwarded) -> None:
        self._in_flight.append(forwarded)
        self._known[forwarded.id] = None

    def _accepted(self, forwarded: _Forwarded) -> GapNotice | None:
        counts = self._counts
        if forwarded.gap is None:
            self._stored = Position(forwarded.floor, forwarded.id)
            self._counts = counts._replace(stored=counts.stored + 1)
            return None
        self._marking.popleft()
        self._stored = self._stored._replace(floor=forwarded.floor)
        self._counts = counts._replace(gaps=counts.gaps + 1)
        return GapNotice(GapChange.MARKED, forwarded.gap, forwarded.gap.text(forwarded.floor))

    def _refused(self, forwarded: _Forwarded, error: BaseException) -> GapNotice | None:
        # It may be published again.
        self._known.pop(forwarded.id, None)
        before = self.gap
        if forwarded.gap is not None:
            self._marking.popleft()
            self.gap = forwarded.gap.joined(before)
            return GapNotice(GapChange.REFUSED, self.gap, str(error))
        counts = self._counts
        self._counts = counts._replace(lost=counts.lost + 1)
        self.gap = Gap("refused", self._stored.floor, self._stored.id, str(error), 1).joined(before)
        return GapNotice(GapChange.OPENED, self.gap, str(error)) if before is None else None
