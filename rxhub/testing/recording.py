"""Record the events of a hub with their times, as JSON lines.

A line is an event in wire form with `recorded`, the seconds since the start of the recording. `rxhub filter` therefore
reads recordings, and `Recording.load` reads any file of events.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
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
from rxhub.exploration.frames import Frames
from rxhub.hub import EventHub
from rxhub.operators import where
from rxhub.redaction import redacted
from rxhub.rx.awaitable import Awaitable
from rxhub.text.displayable import Displayable, render
from rxhub.text.jsonable import jsonable

__all__ = ["Recorded", "Recording", "record"]

_RECORDED = "recorded"


class Recorded(NamedTuple):
    """One event of a recording, and its time in seconds since the start."""

    seconds: float
    event: Event


class Recording(Displayable, Frames):
    """Events and their times. Of more than `capacity` events, the older ones are dropped and counted."""

    def __init__(self, entries: Iterable[tuple[float, Event]] = (), capacity: int = 100_000) -> None:
        if capacity < 1:
            raise ValueError(f"The capacity of a recording must be at least 1, but {capacity} was given.")
        self.dropped = 0
        self._entries: deque[Recorded] = deque(maxlen=capacity)
        for seconds, event in entries:
            self.add(seconds, event)

    def add(self, seconds: float, event: Event) -> None:
        """Append an event."""
        self.dropped += len(self._entries) == self._entries.maxlen
        self._entries.append(Recorded(seconds, event))

    @property
    def events(self) -> list[Event]:
        """The events without their times."""
        return [entry.event for entry in self._entries]

    @property
    def duration(self) -> float:
        """The time of the last event in seconds."""
        return max((entry.seconds for entry in self._entries), default=0.0)

    def __iter__(self) -> Iterator[Recorded]:
        return iter(tuple(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Recording):
            return NotImplemented
        return tuple(self._entries) == tuple(other._entries)

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        lost = f", {self.dropped} dropped" if self.dropped else ""
        return f"<Recording of {len(self)} events in {self.duration:g} s{lost}>"

    def replay(self, scheduler: abc.SchedulerBase | None = None) -> Observable[Event]:
        """The events in new envelopes, to publish or to feed to a pipeline: a cold observable that completes.

        The scheduler, given here or to `subscribe`, keeps the time, for example `hub.scheduler`. Without one, all
        events are emitted at once.
        """

        def subscribe(
            observer: abc.ObserverBase[Event], subscribed: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            entries = tuple(self._entries)
            timed = scheduler or subscribed
            if timed is None:
                for entry in entries:
                    observer.on_next(_copy(entry.event))
                observer.on_completed()
                return CompositeDisposable()
            begin = timed.now
            waiting = CompositeDisposable()

            def step(place: int) -> None:
                # One timer at a time, since recordings can be long.
                if place == len(entries):
                    observer.on_completed()
                    return

                def emit(*_: object) -> None:
                    observer.on_next(_copy(entries[place].event))
                    step(place + 1)

                waiting.clear()
                due = begin + timedelta(seconds=entries[place].seconds)
                waiting.add(timed.schedule_absolute(due, emit))

            step(0)
            return waiting

        return Awaitable(subscribe)

    def rows(self) -> Iterator[Mapping[str, Any]]:
        """The events as mappings with their times, for `to_arrow`."""
        return ({**event.fields, _RECORDED: seconds} for seconds, event in self)

    def save(self, path: Path | str) -> None:
        """Write JSON lines; values that JSON does not support are written as their representation."""
        encode = msgspec.json.encode
        with Path(path).open("wb") as file:
            file.writelines(
                encode({**jsonable(event.to_wire()), _RECORDED: seconds}) + b"\n" for seconds, event in self._entries
            )

    @classmethod
    def load(cls, path: Path | str) -> Recording:
        """Read JSON lines; a line without `recorded` has the time of the previous line.

        Raises an EventError that names the line if it is not an event, or its time is not a number.
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
                    raise EventError(f"{path}:{number} is not a recorded event: {error}") from error
        return cls(entries, max(1, len(entries)))


@render.register(Recording)
def _page(recording: Recording) -> Page:
    lost = f" ({recording.dropped} dropped)" if recording.dropped else ""
    points = ((entry.seconds, entry.event.topic) for entry in recording)
    return recorded(points, f"{len(recording)} events{lost}")


def _seconds(value: object) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value):
        return float(value)
    raise EventError(f'"{_RECORDED}" must be a number of seconds, but is {value!r}.')


def _copy(event: Event) -> Event:
    """Copy an event, so that receivers cannot change the recording."""
    again = event.envelope()
    for key in ("data", "source"):
        if key in again:
            again[key] = deepcopy(again[key])
    return again


@contextmanager
def record(hub: EventHub, subscription: str = "", capacity: int = 100_000) -> Generator[Recording]:
    """Record the events of a hub during the `with` block, before callbacks change them.

    Secrets are redacted, see `rxhub.redaction.secrets`.

    Args:
        hub: the hub; its `scheduler` keeps the time.
        subscription: selects events; empty for all.
        capacity: the number of kept events; older ones are dropped and counted in `dropped`.
    """
    recording = Recording(capacity=capacity)
    begin = hub.scheduler.now

    def take(event: Event) -> None:
        seconds = round((hub.scheduler.now - begin).total_seconds(), 6)
        recording.add(seconds, Event.from_wire(jsonable(redacted(event.to_wire()))))

    with hub.events.pipe(where(subscription)).subscribe(take):
        yield recording
