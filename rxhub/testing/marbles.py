"""Marble tests of events, in the manner of RxJS, on a hub on virtual time.

    def test_notes_are_gathered(marbles):
        marbles.publish("a-b---c", {"a": note, "b": note, "c": note})
        pipeline = marbles.hub.on("topic=studio.review.note").pipe(ops.debounce(3.0))
        marbles.expect(pipeline, "^---------!").to_be("-----b---c", {"b": note, "c": note})

What is published and expected happens in `run()`: at the end of the `with` block, or of the test that has the fixture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from string import ascii_letters, digits
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable

from rxhub.event import Event
from rxhub.markup import shown
from rxhub.subject import Subject
from rxhub.testing.diagram import COMPLETED, FAILED, Moment, Span, diagram_of, parse_diagram, parse_span
from rxhub.testing.virtual import VirtualHub

__all__ = ["Expectation", "MarbleError", "Marbles", "Source"]

T = TypeVar("T")

_LATER = 3_600.0
"""Seconds for which a run goes on after the last diagram, for what comes too late."""

_MOST_LINES = 40


class MarbleError(Exception):
    """The error of a `#` for which no other was given."""


class Source(Observable[T], Generic[T]):
    """An observable made of a diagram.

    Attributes:
        subscriptions: from when to when it was subscribed to so far.
    """

    def __init__(self, marbles: Marbles, subscribe: Callable[[abc.ObserverBase[T]], abc.DisposableBase]) -> None:
        super().__init__()
        self.subscriptions: list[Span] = []
        self._marbles = marbles
        self._begin = subscribe

    def _subscribe_core(
        self, observer: abc.ObserverBase[T], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        place = len(self.subscriptions)
        self.subscriptions.append(Span(self._marbles.now))

        def end() -> None:
            self.subscriptions[place] = Span(self.subscriptions[place].begin, self._marbles.now)

        return CompositeDisposable(self._begin(observer), Disposable(end))


class Expectation:
    """What is observed of an observable, and what of it is expected."""

    def __init__(self, marbles: Marbles) -> None:
        self._marbles = marbles
        self.found: list[tuple[float, str, Any]] = []
        self.expected: tuple[str, Mapping[str, Any], Exception | None] | None = None

    def to_be(self, diagram: str, values: Mapping[str, Any] | None = None, error: Exception | None = None) -> None:
        """Expect what a diagram shows.

        Args:
            diagram: see `rxhub.testing.diagram`.
            values: of its characters; a character without one stands for itself.
            error: the error of `#`: one of the same type and text is expected; any will do if it is not given.
        """
        _, length = parse_diagram(diagram, self._marbles.tick)
        self.expected = diagram, values or {}, error
        self._marbles._goes_on_for(length)  # pyright: ignore[reportPrivateUsage]

    def differences(self) -> str:
        """What was found instead, readably; empty if it is as expected."""
        if self.expected is None:
            return ""
        diagram, values, error = self.expected
        wanted = [(at, mark, _value(mark, values, error)) for at, mark in parse_diagram(diagram, self._marbles.tick)[0]]
        if len(wanted) == len(self.found) and all(map(_same, wanted, self.found)):
            return ""
        letters = _Letters(values)
        tick = self._marbles.tick
        found = [(at, letters.of(value) if mark == "next" else mark, value) for at, mark, value in self.found]
        lines = [
            "The stream differs from what was expected.",
            f"  expected  {diagram_of([Moment(at, mark) for at, mark, _ in wanted], tick)}",
            f"  found     {diagram_of([Moment(at, mark) for at, mark, _ in found], tick)}",
            *_beside(wanted, found),
        ]
        return "\n".join([*lines, *letters.legend({mark for _, mark, _ in [*wanted, *found]})])


class Marbles:
    """Diagrams on one hub.

    Args:
        hub: on virtual time; a new one if it is not given.
        tick: seconds that a character of a diagram takes.

    Attributes:
        hub: where events are published, and by whose `scheduler` all time is taken.
    """

    def __init__(self, hub: VirtualHub | None = None, tick: float = 1.0) -> None:
        if not tick > 0:
            raise ValueError(f"A character takes more than 0 seconds, but {tick!r} was given.")
        self.hub = VirtualHub() if hub is None else hub
        self.tick = tick
        self._begin = self.hub.now
        self._length = 0.0
        self._at_the_start: list[Callable[[], object]] = []
        self._expectations: list[Expectation] = []
        self._spans: list[tuple[Source[Any], tuple[str, ...]]] = []

    @property
    def now(self) -> float:
        """Seconds since the moment 0."""
        return round(self.hub.now - self._begin, 6)

    def publish(self, diagram: str, values: Mapping[str, Event] | None = None) -> None:
        """Publish events on the hub; a character without a value is an event of that topic."""
        moments, length = parse_diagram(diagram, self.tick)
        self._goes_on_for(length)
        for seconds, mark in moments:
            event = (values or {}).get(mark, mark)
            if mark in {COMPLETED, FAILED} or not isinstance(event, (Event, str)):
                raise ValueError(f"Events are published, but {mark!r} in {diagram!r} is none.")
            made = Event(event) if isinstance(event, str) else event
            self._at_the_start.append(lambda at=seconds, made=made: self._later(at, lambda: self.hub.publish(made)))

    def hot(self, diagram: str, values: Mapping[str, Any] | None = None, error: Exception | None = None) -> Source[Any]:
        """A source that emits whether somebody listens or not; `^` is the moment 0."""
        subject: Subject[Any] = Subject()
        moments, length = parse_diagram(diagram, self.tick)
        self._goes_on_for(length)
        for seconds, mark in moments:
            if seconds >= 0:
                emit = _emission(subject, mark, _value(mark, values or {}, error))
                self._at_the_start.append(lambda at=seconds, emit=emit: self._later(at, emit))
        return Source(self, subject.subscribe)

    def cold(
        self, diagram: str, values: Mapping[str, Any] | None = None, error: Exception | None = None
    ) -> Source[Any]:
        """A source that begins anew with each subscription."""
        moments, length = parse_diagram(diagram, self.tick)
        self._goes_on_for(length)

        def begin(observer: abc.ObserverBase[Any]) -> abc.DisposableBase:
            timers = CompositeDisposable()
            for seconds, mark in moments:
                emit = _emission(observer, mark, _value(mark, values or {}, error))
                timers.add(self._in(seconds, emit))
            return timers

        return Source(self, begin)

    def expect(self, observable: Observable[Any], subscription: str = "^") -> Expectation:
        """Observe an observable from `^` to `!`, all its operators on virtual time."""
        span = parse_span(subscription, self.tick)
        expectation = Expectation(self)
        self._expectations.append(expectation)
        note = expectation.found.append
        subscribed = CompositeDisposable()

        def subscribe() -> None:
            subscribed.add(
                observable.subscribe(
                    lambda value: note((self.now, "next", value)),
                    lambda error: note((self.now, FAILED, error)),
                    lambda: note((self.now, COMPLETED, None)),
                    scheduler=self.hub.scheduler,
                )
            )

        self._later(span.begin, subscribe)
        if span.end is not None:
            self._goes_on_for(span.end)
            self._later(span.end, subscribed.dispose)
        return expectation

    def expect_subscriptions(self, source: Source[Any], *diagrams: str) -> None:
        """Expect a source to be subscribed to as the diagrams show, in the order of the subscriptions."""
        for diagram in diagrams:
            span = parse_span(diagram, self.tick)
            self._goes_on_for(span.end or span.begin)
        self._spans.append((source, diagrams))

    def run(self) -> None:
        """Let everything happen, and compare.

        Raises:
            AssertionError: if something was not as expected; the text shows both, and what differs.
        """
        start, self._at_the_start = self._at_the_start, []
        for schedule in start:
            schedule()
        self.hub.advance(self._begin + self._length + _LATER - self.hub.now)
        expectations, self._expectations = self._expectations, []
        spans, self._spans = self._spans, []
        differences = [expectation.differences() for expectation in expectations]
        differences += [self._differences(*expected) for expected in spans]
        self._begin, self._length = self.hub.now, 0.0
        if any(differences):
            raise AssertionError("\n\n".join(filter(None, differences)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.run()

    def _goes_on_for(self, seconds: float) -> None:
        self._length = max(self._length, seconds)

    def _later(self, seconds: float, action: Callable[[], object]) -> None:
        self._in(max(0.0, self._begin + seconds - self.hub.now), action)

    def _in(self, seconds: float, action: Callable[[], object]) -> abc.DisposableBase:
        def act(*_: object) -> None:
            action()

        return self.hub.scheduler.schedule_relative(seconds, act)

    def _differences(self, source: Source[Any], diagrams: tuple[str, ...]) -> str:
        wanted = [parse_span(diagram, self.tick) for diagram in diagrams]
        if wanted == source.subscriptions:
            return ""
        rows = [("-", span) for span in wanted if span not in source.subscriptions]
        rows += [("+", span) for span in source.subscriptions if span not in wanted]
        lines = [
            f"  {sign} {_seconds(s.begin)} to {'the end' if s.end is None else _seconds(s.end)}" for sign, s in rows
        ]
        return "\n".join(["The subscriptions differ from what was expected (- expected, + found).", *lines])


class _Letters:
    """Characters for what was found: those of the values that were expected, and new ones for the rest."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)
        self._free = [c for c in ascii_letters[::-1] + digits if c not in self._values]

    def of(self, value: Any) -> str:
        for letter, known in self._values.items():
            if _equal(known, value):
                return letter
        if isinstance(value, str) and len(value) == 1 and value not in self._values:
            letter = value
        else:
            letter = self._free.pop(0) if self._free else "?"
        self._values[letter] = value
        return letter

    def legend(self, used: set[str]) -> list[str]:
        return [
            f"  {'where' if not n else '     '} {letter} = {_shown(value)}"
            for n, (letter, value) in enumerate(
                (letter, value) for letter, value in self._values.items() if letter in used and letter != value
            )
        ]


def _value(mark: str, values: Mapping[str, Any], error: Exception | None) -> Any:
    if mark == COMPLETED:
        return None
    return error if mark == FAILED else values.get(mark, mark)


def _emission(observer: abc.ObserverBase[Any], mark: str, value: Any) -> Callable[[], None]:
    if mark == COMPLETED:
        return observer.on_completed
    if mark == FAILED:
        return lambda: observer.on_error(value or MarbleError("#"))
    return lambda: observer.on_next(value)


def _same(wanted: tuple[float, str, Any], found: tuple[float, str, Any]) -> bool:
    if wanted[0] != found[0]:
        return False
    if wanted[1] == FAILED:
        error: Exception | None = wanted[2]
        alike = error is None or (type(error) is type(found[2]) and str(error) == str(found[2]))
        return found[1] == FAILED and alike
    if wanted[1] == COMPLETED:
        return found[1] == COMPLETED
    return found[1] == "next" and _equal(wanted[2], found[2])


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:
        return one is other


def _beside(wanted: list[tuple[float, str, Any]], found: list[tuple[float, str, Any]]) -> list[str]:
    """Both, moment by moment: what is in one alone is marked."""
    rows: list[tuple[float, str, str]] = []
    left = [(at, mark) for at, mark, _ in found]
    for at, mark, _ in wanted:
        both = (at, mark) in left
        if both:
            left.remove((at, mark))
        rows.append((at, " " if both else "-", mark))
    rows += [(at, "+", mark) for at, mark in left]
    rows.sort(key=lambda row: row[0])
    lines = [f"  {sign} {_seconds(at):>10}  {mark}" for at, sign, mark in rows[:_MOST_LINES]]
    further = [f"    … and {len(rows) - _MOST_LINES} more"] if len(rows) > _MOST_LINES else []
    return ["  (- expected, + found)", *lines, *further]


def _seconds(seconds: float) -> str:
    return f"{seconds:g} s"


def _shown(value: Any) -> str:
    return f"{value.topic} {shown(value.data)}" if isinstance(value, Event) else shown(value)
