"""A gap: between which times events may be missing at the far end of a bridge, and the marker that tells it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

__all__ = ["EVER", "GAP", "Gap", "Position"]

GAP = "rxhub.bridge.gap"
"""The topic of markers."""

EVER = datetime.min.replace(tzinfo=UTC)
"""Before everything."""


class Position(NamedTuple):
    """A place in the order of events: that of an event, or of a marker.

    Attributes:
        floor: a time before which the event had not come, while everything that came until then is before it.
        id: of the event; before a marker, that of the last event.
    """

    floor: datetime | None = None
    id: str | None = None


class Gap(NamedTuple):
    """Where events may be missing.

    Attributes:
        why: "started", "reconnected", "overflowed" or "refused".
        since: when the last event before it had not come yet; None if there is none.
        last: the id of that event.
        reason: in words for people; may be empty.
        lost: how many events are known to be missing.
    """

    why: str
    since: datetime | None
    last: str | None = None
    reason: str = ""
    lost: int = 0

    def joined(self, earlier: Gap | None) -> Gap:
        """This one and one that was open already, as one."""
        if earlier is None:
            return self
        first = min(earlier, self, key=lambda gap: gap.since or EVER)
        return first._replace(lost=self.lost + earlier.lost)

    def behind(self, place: Position, until: datetime) -> Gap:
        """What is left of it, before `until`, if up to this place nothing is missing."""
        if place.floor is None or (self.since is not None and self.since >= place.floor):
            return self
        # Another machine's clock may be ahead of ours.
        return self._replace(since=min(place.floor, until), last=place.id)

    def data(self, until: datetime) -> dict[str, Any]:
        """What a marker tells of it; times as ISO 8601 with milliseconds, in UTC.

        Args:
            until: when everything that was published came again.
        """
        return {
            "why": self.why,
            "reason": self.reason,
            "since": None if self.since is None else _written(self.since),
            "until": _written(until),
            "last": self.last,
            "lost": self.lost,
        }

    def told(self, until: datetime) -> str:
        """The same in words, for the log."""
        since = "Whatever was published before" if self.since is None else f"Events between {_written(self.since)} and"
        lost = f", {self.lost:,} events for certain" if self.lost else ""
        return f"{since} {_written(until)} may be missing{lost} ({self.why}). A marker tells it."


def _written(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")
