"""Recordings: what came through a hub and when, as JSON lines.

A line is the event as ftrack's protocol carries it, and `recorded`: seconds since the recording began. So
`rxhub filter` reads a recording like any other file of events, and any file of events is a recording.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from datetime import timedelta
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable

from rxhub.display.marbles import recorded
from rxhub.display.page import Page
from rxhub.errors import EventError
from rxhub.event import Event
from rxhub.hub import EventHub
from rxhub.operators import where
from rxhub.redaction import redacted
from rxhub.rx.awaitable import Awaitable
from rxhub.text.displayable import Displayable, render
from rxhub.text.jsonable import jsonable

__all__ = ["Recorded", "Recording", "record"]

_RECORDED = "recorded"


class Recorded(NamedTuple):
    """One event of a recording, and the seconds since its beginning."""

    seconds: float
    event: Event


class Recording(Displayable):
    """Events and the times at which they came.

    Args:
        entries: in the order in which they came.
        capacity: how many are kept; the oldest ones go, and are counted.

    Attributes:
        dropped: how many were not kept.
    """

    def __init__(self, entries: Iterable[tuple[float, Event]] = (), capacity: int = 100_000) -> None:
        if capacity < 1:
            raise ValueError(f"A recording needs a capacity of at least 1, but {capacity} was given.")
        self.dropped = 0
        self._entries: deque[Recorded] = deque(maxlen=capacity)
        for seconds, event in entries:
            self.add(seconds, event)

    def add(self, seconds: float, event: Event) -> None:
        """Add one event, as it is."""
        self.dropped += len(self._entries) == self._entries.maxlen
        self._entries.append(Recorded(seconds, event))

    @property
    def events(self) -> list[Event]:
        """The events alone."""
        return [entry.event for entry in self._entries]

    @property
    def duration(self) -> float:
        """Seconds until the last event."""
        return max((entry.seconds for entry in self._entries), default=0.0)

    def __iter__(self) -> Iterator[Recorded]:
        return iter(tuple(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Recording):
            return NotImplemented
        return tuple(self._entries) == tuple(other._entries)

    __hash__ = None  # type: ignore[assignment]  # it grows

    def __repr__(self) -> str:
        lost = f", {self.dropped} dropped" if self.dropped else ""
        return f"<Recording of {len(self)} events in {self.duration:g} s{lost}>"

    def replay(self, scheduler: abc.SchedulerBase | None = None) -> Observable[Event]:
        """The events again, each in a new envelope: to be published, or fed to a pipeline.

        Args:
            scheduler: by whose time they come, `hub.scheduler` for example; it may also be given when subscribing.
                Without one they come at once.

        Returns:
            A cold observable that completes with the last event.
        """

        def subscribe(
            observer: abc.ObserverBase[Event], subscribed: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            entries = tuple(self._entries)
            timed = scheduler or subscribed
            if timed is None:
                for entry in entries:
                    observer.on_next(_again(entry.event))
                observer.on_completed()
                return CompositeDisposable()
            begin = timed.now
            waiting = CompositeDisposable()

            def step(place: int) -> None:
                # One timer at a time: a recording may be long.
                if place == len(entries):
                    observer.on_completed()
                    return

                def emit(*_: object) -> None:
                    observer.on_next(_again(entries[place].event))
                    step(place + 1)

                waiting.clear()
                due = begin + timedelta(seconds=entries[place].seconds)
                waiting.add(timed.schedule_absolute(due, emit))

            step(0)
            return waiting

        return Awaitable(subscribe)

    def save(self, path: Path | str) -> None:
        """Write it as JSON lines; what JSON cannot carry becomes its representation."""
        encode = msgspec.json.encode
        with Path(path).open("wb") as file:
            file.writelines(
                encode({**jsonable(event.to_wire()), _RECORDED: seconds}) + b"\n" for seconds, event in self._entries
            )

    @classmethod
    def load(cls, path: Path | str) -> Recording:
        """Read JSON lines; a line without `recorded` has the time of the one before.

        Raises:
            EventError: naming the line that is no event, or whose time is no number.
            OSError: if the file cannot be read.
        """
        entries: list[tuple[float, Event]] = []
        seconds = 0.0
        with Path(path).open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.isspace():
                    continue
                try:
                    fields = msgspec.json.decode(line, type=dict[str, Any])
                    seconds = _seconds(fields.pop(_RECORDED, seconds))
                    entries.append((seconds, Event.from_wire(fields)))
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, EventError) as error:
                    raise EventError(f"{path}:{number} is no recorded event: {error}") from error
        return cls(entries, max(1, len(entries)))


@render.register(Recording)
def _page(recording: Recording) -> Page:
    lost = f" ({recording.dropped} dropped)" if recording.dropped else ""
    points = ((entry.seconds, entry.event.topic) for entry in recording)
    return recorded(points, f"{len(recording)} events{lost}")


def _seconds(value: object) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value):
        return float(value)
    raise EventError(f'"{_RECORDED}" is a number of seconds, but {value!r} was found.')


def _again(event: Event) -> Event:
    """The event in a new envelope: whoever gets it may change it, and the recording stays as it is."""
    again = event.envelope()
    for key in ("data", "source"):
        if key in again:
            again[key] = deepcopy(again[key])
    return again


@contextmanager
def record(hub: EventHub, subscription: str = "", capacity: int = 100_000) -> Generator[Recording]:
    """Record a hub's events, before any callback changes them, as long as the `with` block lasts.

    Secrets are taken out first, by the names in `rxhub.redaction.secrets`.

    Args:
        hub: by whose `scheduler` the time is taken.
        subscription: which events; every one if it is empty.
        capacity: how many are kept; the oldest ones go, and are counted in `dropped`.

    Raises:
        ExpressionError: if the subscription does not parse.
    """
    recording = Recording(capacity=capacity)
    begin = hub.scheduler.now

    def take(event: Event) -> None:
        seconds = round((hub.scheduler.now - begin).total_seconds(), 6)
        recording.add(seconds, Event.from_wire(jsonable(redacted(event.to_wire()))))

    with hub.events.pipe(where(subscription)).subscribe(take):
        yield recording
