"""What a bridge has passed on, and what became of it. Thread-safe; knows no hub.

Theory of operation. The source's handling context enters what it passes on, in order, each with the future by which
the target will tell what becomes of it. Whoever settles such a future has the tracker look, from the front: an
event counts as stored when all before it were stored or refused. A gap is open from when events may be missing until
its marker is stored: if that is refused the gap is open again, and two that are open at once are one.
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

MAX_KNOWN_IDS = 20_000
"""How many ids of what was passed on are known; some 100 bytes each."""


class Counts(NamedTuple):
    """What became of the events: each that was read is stored, waiting, lost or a duplicate.

    Attributes:
        read: how many came from the source.
        stored: how many the target has accepted: a stream has stored them.
        waiting: how many the target was given and has not accepted yet.
        lost: how many found no room or were refused, or were dropped by the source's inbox. Markers tell of them.
        duplicates: how many came under an id that had been passed on.
        gaps: how many markers are stored.
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
    """What has happened to a gap."""

    OPENED = "opened"
    MARKED = "marked"
    REFUSED = "refused"
    """Its marker was, so that it is open again."""


class GapNotice(NamedTuple):
    """What is to be said of something that was settled.

    Attributes:
        outcome: what has happened.
        gap: to which gap.
        told: by whom, in words: the marker, or the error.
    """

    outcome: GapChange
    gap: Gap
    told: str


class _Passed(NamedTuple):
    """What the target was given: an event, or the marker of a gap."""

    id: str
    floor: datetime
    sent: Future[None]
    gap: Gap | None


class BridgeTracker:
    """The books of one bridge. A gap is open from the start, as nobody knows what was published before.

    Args:
        buffer: how many events may be under way at a time.
    """

    def __init__(self, buffer: int) -> None:
        self._buffer = buffer
        self._under_way: deque[_Passed] = deque()
        self._marking: deque[Gap] = deque()
        self._known = BoundedDict[str, None](MAX_KNOWN_IDS)
        self._gap: Gap | None = Gap("started", None)
        self._room: int | None = None
        self._latest = Position()
        self._stored = Position()
        self._counts = Counts()
        self._changed = Condition(Lock())

    @property
    def counts(self) -> Counts:
        """How many there were of each so far."""
        with self._changed:
            return self._counts._replace(waiting=len(self._under_way) - len(self._marking))

    @property
    def gap(self) -> Gap | None:
        """The open gap, if there is one."""
        return self._gap

    @property
    def secured(self) -> Position:
        """Up to where everything is stored, or told by a marker that is."""
        with self._changed:
            places = [self._stored]
            places += [Position(gap.since, gap.last) for gap in (*self._marking, self._gap) if gap is not None]
        return min(places, key=lambda place: place.floor or EVER)

    @property
    def has_room(self) -> bool:
        """Whether an event may be passed on. After an overflow, only when half of what was under way is stored."""
        under_way = len(self._under_way)
        return under_way < self._buffer if self._room is None else under_way <= self._room

    def read(self, identifier: str) -> bool:
        """Count an event that came; False if it is a duplicate."""
        with self._changed:
            known = identifier in self._known
            counts = self._counts
            self._counts = counts._replace(read=counts.read + 1, duplicates=counts.duplicates + known)
        return not known

    def passed(self, identifier: str, floor: datetime, sent: Future[None]) -> None:
        """Enter an event that the target was given.

        Args:
            identifier: the event's.
            floor: a time before which it had not come.
            sent: done when the target has accepted it.
        """
        with self._changed:
            # What was lost before a marker's time is told by that marker, whenever this one came.
            floor = max(floor, self._latest.floor or floor)
            self._latest = Position(floor, identifier)
            self._enter(_Passed(identifier, floor, sent, None))

    def marked(self, identifier: str, until: datetime, sent: Future[None], gap: Gap, told: Gap) -> None:
        """Enter the marker of a gap, which is closed by it, unless something more was lost meanwhile.

        Args:
            identifier: the marker's.
            until: as it tells.
            sent: done when the target has accepted it.
            gap: what was open.
            told: what the marker tells of it; that is open again if it is refused.
        """
        with self._changed:
            self._room = None
            if self._gap == gap:
                self._gap = None
            self._latest = self._latest._replace(floor=until)
            self._marking.append(told)
            self._enter(_Passed(identifier, until, sent, told))

    def missed(self, why: str, reason: str = "", lost: int = 0, room: bool = True) -> bool:
        """Open a gap behind what was passed on last, or add to the one that is open; whether it is a new one.

        Args:
            why: as `Gap.why`.
            reason: in words for people.
            lost: how many events are known to be missing.
            room: False if the target has none: no event is passed on until it has.
        """
        with self._changed:
            counts = self._counts
            self._counts = counts._replace(lost=counts.lost + lost)
            if not room and self._room is None:
                self._room = len(self._under_way) // 2
            new = self._gap is None
            self._gap = Gap(why, self._latest.floor, self._latest.id, reason, lost).joined(self._gap)
        return new

    def settle(self) -> list[GapNotice]:
        """Note what was accepted or refused; what is to be said of it."""
        told: list[GapNotice] = []
        with self._changed:
            while self._under_way and self._under_way[0].sent.done():
                passed = self._under_way.popleft()
                error = passed.sent.exception()
                said = self._accepted(passed) if error is None else self._refused(passed, error)
                if said is not None:
                    told.append(said)
            self._changed.notify_all()
        return told

    def wait(self, timeout: float) -> bool:
        """Wait until nothing is under way; False if something still is after `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._under_way, timeout)

    def _enter(self, passed: _Passed) -> None:
        self._under_way.append(passed)
        self._known[passed.id] = None

    def _accepted(self, passed: _Passed) -> GapNotice | None:
        counts = self._counts
        if passed.gap is None:
            self._stored = Position(passed.floor, passed.id)
            self._counts = counts._replace(stored=counts.stored + 1)
            return None
        self._marking.popleft()
        self._stored = self._stored._replace(floor=passed.floor)
        self._counts = counts._replace(gaps=counts.gaps + 1)
        return GapNotice(GapChange.MARKED, passed.gap, passed.gap.told(passed.floor))

    def _refused(self, passed: _Passed, error: BaseException) -> GapNotice | None:
        # Its publisher may publish it again.
        self._known.pop(passed.id, None)
        before = self._gap
        if passed.gap is not None:
            self._marking.popleft()
            self._gap = passed.gap.joined(before)
            return GapNotice(GapChange.REFUSED, self._gap, str(error))
        counts = self._counts
        self._counts = counts._replace(lost=counts.lost + 1)
        self._gap = Gap("refused", self._stored.floor, self._stored.id, str(error), 1).joined(before)
        return GapNotice(GapChange.OPENED, self._gap, str(error)) if before is None else None
