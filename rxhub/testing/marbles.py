"""Marble tests of events on a virtual hub, as in RxJS.

    def test_notes_are_gathered(marbles):
        marbles.publish("a-b---c", {"a": note, "b": note, "c": note})
        pipeline = marbles.hub.on("topic=studio.review.note").pipe(ops.debounce(3.0))
        marbles.expect(pipeline, "^---------!").to_be("-----b---c", {"b": note, "c": note})

`run()` publishes and compares: at the end of the `with` block, or of a test that uses the fixture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
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

_GRACE_S = 3_600.0
"""How long a run continues after the last diagram, to find late values."""


class MarbleError(Exception):
    """The default error of `#`."""


class Source(Awaitable[T], Generic[T]):
    """An observable that follows a diagram.

    Attributes:
        subscriptions: the periods of its subscriptions so far.
    """

    def __init__(self, marbles: Marbles, subscribe: Callable[[abc.ObserverBase[T]], abc.DisposableBase]) -> None:
        super().__init__()
        self.subscriptions: list[SubscriptionSpan] = []
        self._marbles = marbles
        self._begin = subscribe

    def _subscribe_core(
        self, observer: abc.ObserverBase[T], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        index = len(self.subscriptions)
        self.subscriptions.append(SubscriptionSpan(self._marbles.now))

        def end() -> None:
            self.subscriptions[index] = SubscriptionSpan(self.subscriptions[index].begin, self._marbles.now)

        return CompositeDisposable(self._begin(observer), Disposable(end))


class Expectation:
    """The values of an observable and the expected ones."""

    def __init__(self, marbles: Marbles, of: Observable[Any]) -> None:
        self._marbles = marbles
        self._of = of
        self.found: list[Frame] = []
        self.expected: tuple[str, Mapping[str, Any], Exception | None] | None = None

    def to_be(self, diagram: str, values: Mapping[str, Any] | None = None, error: Exception | None = None) -> None:
        """Expect the values of a diagram, see `rxhub.testing.diagram`.

        Args:
            diagram: the expected emissions.
            values: the values of its characters. For an observable of events, other characters stand for the events
                that were published under them; otherwise for themselves.
            error: the error of `#`, compared by type and message. Default: any error.
        """
        _, length = parse_diagram(diagram, self._marbles.tick)
        self.expected = diagram, values or {}, error
        self._marbles._extend_to(length)  # pyright: ignore[reportPrivateUsage]

    def differences(self) -> str:
        tick = self._marbles.tick
        if self.expected is None:
            return (
                f"expect({safe_repr(self._of)}) lacks to_be(…). "
                'State the expected values, marbles.expect(…).to_be("a--b|"), or to_be("") for none.'
            )
        diagram, values, error = self.expected
        values = {**self._published(diagram), **values}
        wanted = [Frame(at, mark, _value(mark, values, error)) for at, mark in parse_diagram(diagram, tick)[0]]
        if same(wanted, self.found):
            return ""
        return f"The stream differs from what was expected.\n{describe_difference(wanted, self.found, values, tick)}"

    def _published(self, diagram: str) -> dict[str, Any]:
        """The published events of the characters of a diagram, if the observable emitted events."""
        if not any(isinstance(frame.value, Event) for frame in self.found):
            return {}
        published = self._marbles.published
        return {mark: OneOf((*published[mark],)) for mark in diagram if mark in published}


class Marbles:
    """Marble diagrams on one virtual hub; `tick` is the number of seconds per character.

    Attributes:
        hub: the hub that publishes the events and keeps the time.
        published: the events of the next run by character.
    """

    def __init__(self, hub: VirtualHub | None = None, tick: float = 1.0) -> None:
        if not tick > 0:
            raise ValueError(f"A tick must be greater than 0 seconds, but {tick!r} was given.")
        self.hub = VirtualHub() if hub is None else hub
        self.tick = tick
        self._begin = self.hub.now
        self._length = 0.0
        self.published: dict[str, list[Event]] = {}
        self._start_actions: list[Callable[[], object]] = []
        self._expectations: list[Expectation] = []
        self._spans: list[tuple[Source[Any], tuple[str, ...]]] = []

    @property
    def now(self) -> float:
        """Seconds since the start of the run."""
        return round(self.hub.now - self._begin, 6)

    def publish(self, diagram: str, values: Mapping[str, Event] | None = None) -> None:
        """Publish events on the hub; a character without a value publishes an event with this topic."""
        moments, length = parse_diagram(diagram, self.tick)
        self._extend_to(length)
        for seconds, mark in moments:
            event = (values or {}).get(mark, mark)
            if mark in {COMPLETED, FAILED} or not isinstance(event, (Event, str)):
                raise ValueError(f"Only events can be published, but {mark!r} in {diagram!r} is not an event.")
            made = Event(event) if isinstance(event, str) else event
            self.published.setdefault(mark, []).append(made)
            self._start_actions.append(
                lambda at=seconds, made=made: self._schedule_at(at, lambda: self.hub.publish(made))
            )

    def hot(self, diagram: str, values: Mapping[str, Any] | None = None, error: Exception | None = None) -> Source[Any]:
        """A source that emits independently of subscriptions; `^` marks the start of the run."""
        subject: Subject[Any] = Subject()
        moments, length = parse_diagram(diagram, self.tick, hot=True)
        self._extend_to(length)
        for seconds, mark in moments:
            if seconds >= 0:
                emit = _emission(subject, mark, _value(mark, values or {}, error))
                self._start_actions.append(partial(self._schedule_at, seconds, emit))
        return Source(self, subject.subscribe)

    def cold(
        self, diagram: str, values: Mapping[str, Any] | None = None, error: Exception | None = None
    ) -> Source[Any]:
        """A source that starts with each subscription."""
        moments, length = parse_diagram(diagram, self.tick)
        self._extend_to(length)

        def begin(observer: abc.ObserverBase[Any]) -> abc.DisposableBase:
            timers = CompositeDisposable()
            for seconds, mark in moments:
                emit = _emission(observer, mark, _value(mark, values or {}, error))
                timers.add(self._schedule_in(seconds, emit))
            return timers

        return Source(self, begin)

    def expect(self, observable: Observable[Any], subscription: str = "^") -> Expectation:
        """Subscribe to an observable from `^` to `!`, with all its operators on virtual time.

        The returned expectation fails without `to_be(diagram)`.
        """
        if not isinstance(observable, Observable):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                f"An observable, for example hub.on(…), is expected, but {safe_repr(observable)} was given."
            )
        span = parse_span(subscription, self.tick)
        expectation = Expectation(self, observable)
        self._expectations.append(expectation)
        add = expectation.found.append
        subscribed = CompositeDisposable()

        def fail(error: Exception) -> None:
            add(Frame(self.now, FAILED, error))

        def subscribe() -> None:
            try:
                subscribed.add(
                    observable.subscribe(
                        lambda value: add(Frame(self.now, "next", value)),
                        fail,
                        lambda: add(Frame(self.now, COMPLETED, None)),
                        scheduler=self.hub.scheduler,
                    )
                )
            except Exception as error:
                fail(error)

        self._schedule_at(span.begin, subscribe)
        if span.end is not None:
            self._extend_to(span.end)
            self._schedule_at(span.end, subscribed.dispose)
        return expectation

    def expect_subscriptions(self, source: Source[Any], *diagrams: str) -> None:
        """Expect the subscriptions of a source, one diagram each, in order."""
        if not isinstance(source, Source):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                f"A source made by marbles.hot(…) or marbles.cold(…) is expected, but {safe_repr(source)} was given."
            )
        for diagram in diagrams:
            span = parse_span(diagram, self.tick)
            self._extend_to(span.end or span.begin)
        self._spans.append((source, diagrams))

    def run(self) -> None:
        """Publish, advance the time, and compare. Raises an AssertionError that shows the differences."""
        start, self._start_actions = self._start_actions, []
        for schedule in start:
            schedule()
        self.hub.advance(self._begin + self._length + _GRACE_S - self.hub.now)
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

    def _extend_to(self, seconds: float) -> None:
        self._length = max(self._length, seconds)

    def _schedule_at(self, seconds: float, action: Callable[[], object]) -> None:
        self._schedule_in(max(0.0, self._begin + seconds - self.hub.now), action)

    def _schedule_in(self, seconds: float, action: Callable[[], object]) -> abc.DisposableBase:
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
