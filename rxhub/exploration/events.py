"""Read events from files, URLs and iterables, and answer the first questions about them."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import reactivex

from rxhub.errors import EventError
from rxhub.event import Event
from rxhub.exploration import cloudevents
from rxhub.exploration.compression import decompressed
from rxhub.exploration.frames import Frames
from rxhub.exploration.inputs import Input, byte_input
from rxhub.exploration.jsonl import parse_candidate, read_json
from rxhub.exploration.keys import KeyCounter, Keys
from rxhub.exploration.progress import ReadingProgress
from rxhub.expression import Dialect, Expression, compile
from rxhub.expression.match_counts import MatchCounts
from rxhub.expression.parser import as_tree
from rxhub.rx.awaitable import Composed
from rxhub.text.displayable import Displayable

__all__ = ["Events", "InvalidItem", "TopicCounts", "read_events", "sample_events"]

MAX_KEPT = 10
"""Of the invalid items of one reading, the first ones are kept and logged."""

_EVENTS_PER_UPDATE = 1_024
_SAMPLES = Path(__file__).with_name("samples") / "events.jsonl"

logger = logging.getLogger("rxhub")


class InvalidItem(NamedTuple):
    """A line, or an element of an array or iterable, that is not an event.

    Attributes:
        number: its number, from 1.
        fault: what is wrong with it.
    """

    number: int
    fault: str


class TopicCounts(Counter[str], Displayable):
    """The number of events of each topic, the most frequent first."""

    def __repr__(self) -> str:
        return self._repr_mimebundle_()["text/plain"]


class _Reading:
    """What all `Events` of one source share: how to read it, and the faults of the latest reading."""

    def __init__(self, name: str, is_repeatable: bool) -> None:
        self.name = name
        self.is_repeatable = is_repeatable
        self.is_local = True
        self.invalid = 0
        self.faults: list[InvalidItem] = []
        self._was_read = False
        self._was_reported = False

    def read(self) -> Generator[Event]:
        if self._was_read and not self.is_repeatable:
            raise RuntimeError(
                f"The events of {self.name} were read already, and can be read only once. Keep them in a list, and "
                "pass it to read_events."
            )
        self._was_read = True
        self.invalid, self.faults = 0, []
        yield from self._events()
        if self.invalid and not self._was_reported:
            self._was_reported = True
            more = f"; {self.invalid - MAX_KEPT:,} more" if self.invalid > MAX_KEPT else ""
            faults = "; ".join(f"{number}: {fault}" for number, fault in self.faults)
            logger.warning("Skipped %d invalid events of %s: %s%s", self.invalid, self.name, faults, more)

    def _events(self) -> Iterator[Event]:
        raise NotImplementedError

    def fail(self, number: int, fault: str) -> None:
        self.invalid += 1
        if len(self.faults) < MAX_KEPT:
            self.faults.append(InvalidItem(number, fault))


class _ByteReading(_Reading):
    """Events as JSON."""

    def __init__(self, source: Input, progress: bool) -> None:
        super().__init__(source.name, source.is_repeatable)
        self.is_local = source.is_local
        self._source = source
        self._progress = progress

    def _events(self) -> Iterator[Event]:
        count = 0
        with self._source.open() as (stream, size), decompressed(stream, self.name) as plain:
            progress = ReadingProgress(self.name, size, self._progress)
            try:
                for number, _, candidate, fault in read_json(plain, self.name):
                    if type(candidate) is Event:
                        count += 1
                        if not count % _EVENTS_PER_UPDATE:
                            progress.update(count, stream.tell() if size else None)
                        yield candidate
                    elif candidate is None:
                        self.fail(number, fault)
                    else:
                        try:
                            event = _event(candidate)
                        except EventError as error:
                            self.fail(number, str(error))
                        else:
                            count += 1
                            yield event
            finally:
                progress.close(count)


class _ItemReading(_Reading):
    """The items of an iterable: events, mappings, or lines of JSON."""

    def __init__(self, items: Iterable[object]) -> None:
        self._items = items
        name = f"{len(items):,} items" if isinstance(items, (list, tuple)) else type(items).__name__
        super().__init__(name, iter(items) is not items)

    def _events(self) -> Iterator[Event]:
        for number, item in enumerate(self._items, 1):
            if isinstance(item, Event):
                yield item
                continue
            try:
                yield _item_event(item)
            except EventError as error:
                self.fail(number, str(error))


class Events(Displayable, Frames, Iterable[Event]):
    """Events that are read when they are needed, see `read_events`.

    Each loop, and each method that looks at the events, reads the source again and keeps none of the events, so that
    the size of a file does not matter. An iterator or a pipe can be read once.
    """

    def __init__(self, reading: _Reading, conditions: tuple[Expression, ...] = ()) -> None:
        self._reading = reading
        self._conditions = conditions
        self._tests = tuple([compile(condition) for condition in conditions])

    @property
    def name(self) -> str:
        """The name of the source, for messages."""
        return self._reading.name

    @property
    def invalid(self) -> int:
        """How many invalid lines or elements the latest reading has skipped so far."""
        return self._reading.invalid

    @property
    def invalid_items(self) -> list[InvalidItem]:
        """The first ten of them."""
        return [*self._reading.faults]

    @property
    def conditions(self) -> tuple[Expression, ...]:
        """The subscriptions of `where`."""
        return self._conditions

    def __iter__(self) -> Iterator[Event]:
        return self._matching(self._reading.read())

    def _matching(self, events: Iterator[Event]) -> Iterator[Event]:
        for test in self._tests:
            events = filter(test, events)
        return events

    def where(self, subscription: str | Expression, dialect: Dialect = Dialect.RXHUB) -> Events:
        """The events that match a subscription.

        Raises:
            ExpressionError: if it is not a valid subscription.
        """
        return Events(self._reading, (*self._conditions, as_tree(subscription, dialect)))

    def head(self, count: int = 10) -> Events:
        """The first events, in memory."""
        return Events(_ItemReading(self._first(count)))

    def topics(self) -> TopicCounts:
        """The number of events of each topic."""
        return TopicCounts(dict(Counter(event.topic for event in self).most_common()))

    def keys(self) -> Keys:
        """The dotted keys of the events: how often each occurs, with values of which types, and examples."""
        counter = KeyCounter()
        add = counter.add
        for event in self:
            add(event)
        return counter.result()

    def explain(self, subscription: str | Expression, dialect: Dialect = Dialect.RXHUB) -> MatchCounts:
        """How many events each part of a subscription matches, and why none matches all of it.

        Raises:
            ExpressionError: if it is not a valid subscription.
        """
        return MatchCounts(subscription, self, dialect)

    def to_observable(self) -> reactivex.Observable[Event]:
        """The events as a cold observable, which can be awaited: each subscription reads the source."""
        return Composed(reactivex.from_iterable(self))

    def rows(self) -> Iterable[Event]:
        """The events."""
        return self

    def to_batches(self, size: int = 10_000, *, flatten: bool = True, explode: str = "") -> Any:
        """Convert the events to a `pyarrow.RecordBatchReader`, for files that are larger than the memory.

        The source is read twice: for the columns, and for the batches as they are consumed.

        Args:
            size: rows in a batch.
            flatten: as in `to_arrow`.
            explode: as in `to_arrow`.

        Raises:
            RuntimeError: if the events can be read only once.
        """
        from rxhub.exploration import columns

        if not self._reading.is_repeatable:
            raise RuntimeError(f"Batches need to read {self.name} twice, but it can be read only once.")
        return columns.batches(self, size, flatten, explode)

    def preview(self, count: int) -> list[Event] | None:
        """The first events to display; None if reading them needs the network or would use them up."""
        if not self._reading.is_local or not self._reading.is_repeatable:
            return None
        return self._first(count)

    def _first(self, count: int) -> list[Event]:
        # Closes the file now, not when the iterator is collected.
        with closing(self._reading.read()) as events:
            return [*islice(self._matching(events), count)]

    def __repr__(self) -> str:
        where = " and ".join(f"({condition.without_secrets()})" for condition in self._conditions)
        return f"<events of {self.name}{' where ' if where else ''}{where}>"


def read_events(
    source: str | os.PathLike[str] | IO[Any] | Iterable[Event | Mapping[str, Any] | str | bytes],
    *,
    progress: bool = True,
) -> Events:
    """Read events from a file, a URL or an iterable.

    A file contains JSON lines, an array, or one object on several lines, plain or compressed with gzip or Zstandard.
    The format is detected from the content.
    The output of `rxhub replay`, also with positions, is such a file. CloudEvents become events with their type as the
    topic, and their attributes in `source.cloudevent`.

    Nothing is read yet: each loop over the result reads the source, one event at a time. Invalid lines are skipped,
    counted (`invalid`) and logged once.

    Args:
        source: a path, an http(s) URL, a file object, or an iterable of events, mappings or lines.
        progress: whether to show the progress of a reading that takes longer than a second, on a terminal or in a
            notebook.

    Raises:
        OSError: if the file does not exist. Loops raise it if the source cannot be read.
        ValueError: if the URL is not supported.
    """
    found = byte_input(source)
    if found is not None:
        return Events(_ByteReading(found, progress))
    return source if isinstance(source, Events) else Events(_ItemReading(cast("Iterable[object]", source)))


def sample_events() -> Events:
    """160 events of a fictional studio, to try things out."""
    return read_events(_SAMPLES)


def _event(candidate: Mapping[str, Any]) -> Event:
    """The event of a JSON object that has no topic, or of a mapping."""
    if cloudevents.is_cloudevent(candidate):
        return cloudevents.event_of(candidate)
    return Event.from_wire(candidate)


def _item_event(item: object) -> Event:
    if isinstance(item, (str, bytes)):
        candidate, fault = parse_candidate(item.encode("utf-8", "surrogatepass") if isinstance(item, str) else item)
        if candidate is None:
            raise EventError(fault)
        return candidate if isinstance(candidate, Event) else _event(candidate)
    return _event(cast("Mapping[str, Any]", item)) if isinstance(item, Mapping) else Event.from_wire(cast("Any", item))
