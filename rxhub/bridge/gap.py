"""Gaps: the times between which events may be missing at the target of a bridge, and their markers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

__all__ = ["EVER", "GAP", "Gap", "Position"]

GAP = "rxhub.bridge.gap"
"""The topic of markers."""

EVER = datetime.min.replace(tzinfo=UTC)
"""Before everything."""


class Position(NamedTuple):
    """A position in the order of events: that of an event, or of a marker."""

    floor: datetime | None = None  # a time before which the event had not arrived, and everything earlier is before it
    id: str | None = None  # of the event; for a marker, that of the last event before it


class Gap(NamedTuple):
    """A time span in which events may be missing."""

    why: str  # "started", "reconnected", "overflowed" or "refused"
    since: datetime | None  # a time before the arrival of the last event before the gap; None if there is none
    last: str | None = None  # the id of that event
    reason: str = ""  # as text; may be empty
    lost: int = 0  # the number of events known to be missing

    def joined(self, earlier: Gap | None) -> Gap:
        """This gap and an earlier open one, as one."""
        if earlier is None:
            return self
        first = min(earlier, self, key=lambda gap: gap.since or EVER)
        return first._replace(lost=self.lost + earlier.lost)

    def after(self, position: Position, until: datetime) -> Gap:
        """The rest of the gap, before `until`, if nothing is missing up to this position."""
        if position.floor is None or (self.since is not None and self.since >= position.floor):
            return self
        # The clock of another machine may be ahead.
        return self._replace(since=min(position.floor, until), last=position.id)

    def data(self, until: datetime) -> dict[str, Any]:
        """The data of a marker of a gap that ends at `until`; times as ISO 8601 with milliseconds, in UTC."""
        return {
            "why": self.why,
            "reason": self.reason,
            "since": None if self.since is None else _iso(self.since),
            "until": _iso(until),
            "last": self.last,
            "lost": self.lost,
        }

    def text(self, until: datetime) -> str:
        """The gap as text, for the log."""
        since = "Whatever was published before" if self.since is None else f"Events between {_iso(self.since)} and"
        lost = f", {self.lost:,} events for certain" if self.lost else ""
        return f"{since} {_iso(until)} may be missing{lost} ({self.why}). A marker is stored."


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")
