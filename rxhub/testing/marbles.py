"""Marble tests of events, in the manner of RxJS, on a hub on virtual time.

    def test_notes_are_gathered(marbles):
        marbles.publish("a-b---c", {"a": note, "b": note, "c": note})
        pipeline = marbles.hub.on("topic=studio.review.note").pipe(ops.debounce(3.0))
        marbles.expect(pipeline, "^---------!").to_be("-----b---c", {"b": note, "c": note})

What is published and expected happens in `run()`: at the end of the `with` block, or of the test that has the fixture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import CompositeDisposable, Disposable

from rxhub.event import Event
from rxhub.rx.awaitable import Awaitable
from rxhub.rx.subject import Subject
from rxhub.testing.diagram import COMPLETED, FAILED, SubscriptionSpan, parse_diagram, parse_span
from rxhub.testing.diff import Frame, OneOf, describe_difference, same
from rxhub.testing.virtual import VirtualHub
from rxhub.text.safe_repr import safe_repr

__all__ = ["Expectation", "MarbleError", "Marbles", "Source"]

T = TypeVar("T")

_LATER = 3_600.0
"""Seconds for which a run goes on after the last diagram, for what comes too late."""


class MarbleError(Exception):
    """The error of a `#` for which no other was given."""


class Source(Awaitable[T], Generic[T]):
    """An observable made of a diagram.

    Attributes:
        subscriptions: from when to when it was subscribed to so far.
    """

    def __init__(self, marbles: Marbles, subscribe: Callable[[abc.ObserverBase[T]], abc.DisposableBase]) -> None:
        super().__init__()
        self.subscriptions: list[SubscriptionSpan] = []
        self._marbles = marbles
        self._begin = subscribe

    def _subscribe_core(
        self, observer: abc.ObserverBase[T], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        place = len(self.subscriptions)
        self.subscriptions.append(SubscriptionSpan(self._marbles.now))

        def end() -> None:
            self.subscriptions[place] = SubscriptionSpan(self.subscriptions[place].begin, self._marbles.now)

        return CompositeDisposable(self._begin(observer), Disposable(end))


class Expectation:
    """What is observed of an observable, and what of it is expected."""

    def __init__(self, marbles: Marbles, of: Observable[Any]) -> None:
        self._marbles = marbles
        self._of = of
        self.found: list[Frame] = []
        self.expected: tuple[str, Mapping[str, Any], Exception | None] | None = None

    def to_be(self, diagram: str, values: Mapping[str, Any] | None = None, error: Exception | None = None) -> None:
        """Expect what a diagram shows.

        Args:
            diagram: see `rxhub.testing.diagram`.
            values: of its characters. One without stands for what was published under it, where the observable emits
                events; else for itself.
            error: the error of `#`: one of the same type and text is expected; any will do if it is not given.
        """
        _, length = parse_diagram(diagram, self._marbles.tick)
        self.expected = diagram, values or {}, error
        self._marbles._goes_on_for(length)  # pyright: ignore[reportPrivateUsage]

    def differences(self) -> str:
        """What was found instead, readably; empty if it is as expected."""
        tick = self._marbles.tick
        if self.expected is None:
            return (
                f"Nothing was expected of {safe_repr(self._of)}: expect(…) is half of a statement. "
                'Say what is to come, marbles.expect(…).to_be("a--b|"), and to_be("") that nothing is.'
            )
        diagram, values, error = self.expected
        values = {**self._published(diagram), **values}
        wanted = [Frame(at, mark, _value(mark, values, error)) for at, mark in parse_diagram(diagram, tick)[0]]
        if same(wanted, self.found):
            return ""
        return f"The stream differs from what was expected.\n{describe_difference(wanted, self.found, values, tick)}"

    def _published(self, diagram: str) -> dict[str, Any]:
        """The events for which the bare characters of a diagram stand, if it is events that were found."""
        if not any(isinstance(frame.value, Event) for frame in self.found):
            return {}
        published = self._marbles.published
        return {mark: OneOf((*published[mark],)) for mark in diagram if mark in published}


class Marbles:
    """Diagrams on one hub.

    Args:
        hub: on virtual time; a new one if it is not given.
        tick: seconds that a character of a diagram takes.

    Attributes:
        hub: where events are published, and by whose `scheduler` all time is taken.
        published: what is published in the next run, by character.
    """

    def __init__(self, hub: VirtualHub | None = None, tick: float = 1.0) -> None:
        if not tick > 0:
            raise ValueError(f"A character takes more than 0 seconds, but {tick!r} was given.")
        self.hub = VirtualHub() if hub is None else hub
        self.tick = tick
        self._begin = self.hub.now
        self._length = 0.0
        self.published: dict[str, list[Event]] = {}
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
            self.published.setdefault(mark, []).append(made)
            self._at_the_start.append(lambda at=seconds, made=made: self._later(at, lambda: self.hub.publish(made)))

    def hot(self, diagram: str, values: Mapping[str, Any] | None = None, error: Exception | None = None) -> Source[Any]:
        """A source that emits whether somebody listens or not; `^` is the moment 0."""
        subject: Subject[Any] = Subject()
        moments, length = parse_diagram(diagram, self.tick, hot=True)
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
        """Observe an observable from `^` to `!`, all its operators on virtual time.

        Returns:
            What waits for `to_be(diagram)`: an expectation without fails.

        Raises:
            TypeError: if it is no observable.
        """
        if not isinstance(observable, Observable):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                f"An observable, for example hub.on(…), is expected, but {safe_repr(observable)} was given."
            )
        span = parse_span(subscription, self.tick)
        expectation = Expectation(self, observable)
        self._expectations.append(expectation)
        note = expectation.found.append
        subscribed = CompositeDisposable()

        def fail(error: Exception) -> None:
            note(Frame(self.now, FAILED, error))

        def subscribe() -> None:
            try:
                subscribed.add(
                    observable.subscribe(
                        lambda value: note(Frame(self.now, "next", value)),
                        fail,
                        lambda: note(Frame(self.now, COMPLETED, None)),
                        scheduler=self.hub.scheduler,
                    )
                )
            except Exception as error:
                fail(error)

        self._later(span.begin, subscribe)
        if span.end is not None:
            self._goes_on_for(span.end)
            self._later(span.end, subscribed.dispose)
        return expectation

    def expect_subscriptions(self, source: Source[Any], *diagrams: str) -> None:
        """Expect a source to be subscribed to as the diagrams show, in the order of the subscriptions."""
        if not isinstance(source, Source):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                f"A source made by marbles.hot(…) or marbles.cold(…) is expected, but {safe_repr(source)} was given."
            )
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
        self._begin, self._length, self.published = self.hub.now, 0.0, {}
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


def _seconds(seconds: float) -> str:
    return f"{seconds:g} s"
