"""What a transport that keeps events tells of them: one event, a span of them, who reads it, and how much there is."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

__all__ = ["GroupState", "Reader", "Reading", "Span", "Stored", "StreamState"]


class Stored(NamedTuple):
    """One event as it is kept.

    Attributes:
        data: its JSON.
        sequence: its place in the stream, from 1 on.
        nanoseconds: when it was stored, since the epoch.
    """

    data: bytes
    sequence: int
    nanoseconds: int


class Span(NamedTuple):
    """A part of a stream; both ends belong to it.

    Attributes:
        since: the first sequence, an aware time, or how long ago by the server's clock; None is the beginning.
        until: the last; None is what was last when reading began.
        follow: whether to go on with what is stored from then on, without an end.
    """

    since: int | datetime | timedelta | None = None
    until: int | datetime | timedelta | None = None
    follow: bool = False


class Reader(Protocol):
    """Who reads. Called in the network's thread; never blocks, never raises, runs no user code."""

    def measured(self, total: int) -> None:
        """So many events will come, as far as that can be known beforehand. Called before the first."""
        ...

    def read(self, stored: Stored) -> None:
        """Take one event. A bounded number of them comes before `Reading.done` is called."""
        ...

    def ended(self, error: Exception | None) -> None:
        """Nothing more comes: that was all, or an error that stays. Called once, and not after `Reading.stop`."""
        ...


class Reading(Protocol):
    """What is being read, to who reads it. Thread-safe, and takes no lock."""

    def begin(self) -> None:
        """Read: before, the reader is told nothing."""
        ...

    def done(self, count: int) -> None:
        """So many events were dealt with, and as many more may come."""
        ...

    def stop(self) -> None:
        """Read no further; what is on its way may still come."""
        ...


class GroupState(NamedTuple):
    """A group of processes that handle events together, at one moment.

    Attributes:
        name: of the group.
        waiting: events that none of them has got yet.
        pending: events that one of them has got and has not acknowledged yet, those that wait for a retry included.
        repeated: how many of those it was not the first to get.
        limit: how many events may be pending before the group gets no further ones; None is no limit.
    """

    name: str
    waiting: int
    pending: int
    repeated: int
    limit: int | None = None


class StreamState(NamedTuple):
    """A stream at one moment.

    Attributes:
        name: of the stream.
        messages: how many events it holds.
        bytes: how large it is.
        first: when the oldest of them was stored; None if there is none.
        last: when the latest was stored; None if there is none.
        first_sequence: of the oldest.
        last_sequence: of the latest that there ever was; 0 if there was none.
        replicas: on how many servers each event is stored.
        max_age: seconds after which an event goes; 0 is never.
        max_bytes: how large it may become; -1 is without a limit.
        dead: how many dead letters it has.
        groups: who handles its events, in the order of their names.
    """

    name: str
    messages: int
    bytes: int
    first: datetime | None
    last: datetime | None
    first_sequence: int
    last_sequence: int
    replicas: int
    max_age: float
    max_bytes: int
    dead: int
    groups: tuple[GroupState, ...]
