"""A state machine that compares a hub with a sorted list; a base class for tests of hubs and plugins.

class StudioMachine(HubStateMachine):
events = events("studio.review.note")

@rule(...)
def approve(self): ...

TestStudio = StudioMachine.TestCase
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from reactivex import abc

from rxhub.text.extras import missing_dependency

try:
    from hypothesis import strategies as st
    from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
except ModuleNotFoundError as error:
    raise missing_dependency(error, "rxhub.testing.stateful", "testing") from None

from rxhub.event import Event
from rxhub.expression import Expression
from rxhub.testing.matching_search import Undecided
from rxhub.testing.strategies import events, events_matching, expressions
from rxhub.testing.virtual import VirtualHub
from rxhub.text.safe_repr import safe_repr

__all__ = ["HubStateMachine", "Member"]


@dataclass(eq=False)
class Member:
    """One subscriber in the model.

    Attributes:
        behaviour: what its callback does: `looks`, `stops` the event, `fails`, or `leaves` the hub.
        leave: unsubscribes it.
    """

    name: str
    expression: Expression
    priority: int
    behaviour: str = "looks"
    leave: Callable[[], object] = lambda: None


class HubStateMachine(RuleBasedStateMachine):
    """Subscribes, publishes, stops, unsubscribes and advances the time, and compares the hub with a sorted list.

    Subclasses override attributes and methods, and add rules and invariants.

    Attributes:
        expressions: a strategy for subscriptions.
        events: a strategy for events; events that match a subscriber are published too.
        priorities: a strategy for priorities; few, so that equal ones are frequent.
        hub: the hub under test.
        members: the model: the subscribers in the order of subscribing.
        log: the received events as pairs of a subscriber's name and an event's id, in order.
        expected: the same for the model.
    """

    expressions: ClassVar[st.SearchStrategy[Expression]] = expressions()
    events: ClassVar[st.SearchStrategy[Event]] = events()
    priorities: ClassVar[st.SearchStrategy[int]] = st.sampled_from((0, 50, 100))

    seats = Bundle[Member]("seats")

    def __init__(self) -> None:
        super().__init__()
        self.hub = self.make_hub()
        if not isinstance(self.hub, VirtualHub):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                f"make_hub() must return a VirtualHub, whose time the machine advances, but it returned "
                f"{safe_repr(self.hub)}."
            )
        self.members: list[Member] = []
        self.log: list[tuple[str, str]] = []
        self.expected: list[tuple[str, str]] = []
        self._waiting: list[Event] = []
        self._names = 0

    def make_hub(self) -> VirtualHub:
        """Create the hub under test, on virtual time; called once per example."""
        return VirtualHub()

    def delivered(self, event: Event, names: list[str]) -> None:
        """Called after each event with the names of its expected receivers, in order; for checks of a subclass."""

    @rule(target=seats, data=st.data(), behaviour=st.sampled_from(("looks", "looks", "stops", "fails", "leaves")))
    def subscribe(self, data: st.DataObject, behaviour: str) -> Member:
        """Subscribe a callback."""
        member = self._member(data, behaviour)

        def callback(event: Event) -> None:
            self.log.append((member.name, event.id))
            if behaviour == "stops":
                event.stop()
            elif behaviour == "leaves":
                self.hub.unsubscribe(member.name)
            elif behaviour == "fails":
                raise RuntimeError(f"{member.name} fails on purpose.")

        self.hub.subscribe(str(member.expression), callback, {"id": member.name}, member.priority)
        member.leave = lambda: self.hub.unsubscribe(member.name)
        return self._joined(member)

    @rule(target=seats, data=st.data(), stops=st.booleans())
    def observe(self, data: st.DataObject, stops: bool) -> Member:
        """Subscribe a pipeline."""
        member = self._member(data, "stops" if stops else "looks")

        def take(event: Event) -> None:
            self.log.append((member.name, event.id))
            if stops:
                event.stop()

        pipeline: abc.DisposableBase = self.hub.on(str(member.expression), member.priority).subscribe(take)
        member.leave = pipeline.dispose
        return self._joined(member)

    @rule(member=consumes(seats))
    def leave(self, member: Member) -> None:
        """Unsubscribe a callback or dispose of a pipeline, unless it left already."""
        if member in self.members:
            self.members.remove(member)
            member.leave()

    @rule(data=st.data(), meant_for=seats)
    def publish_what_matches(self, data: st.DataObject, meant_for: Member) -> None:
        """Publish an event that matches a subscriber, if one was found."""
        try:
            matching = events_matching(meant_for.expression)
        except Undecided:
            return
        self._publish(data.draw(matching, label="event"))

    @rule(data=st.data())
    def publish(self, data: st.DataObject) -> None:
        """Publish an event, which waits to be handled."""
        self._publish(data.draw(self.events, label="event"))

    @rule(data=st.data())
    def publish_synchronously(self, data: st.DataObject) -> None:
        """Publish an event that is handled at once, before waiting ones."""
        event = data.draw(self.events, label="event")
        # The hub fills in the source before callbacks see the event, so the model reads it afterwards.
        members = tuple(self.members)
        before = len(self.log)
        self.hub.publish(event, synchronous=True)
        self._deliver(event, members)
        self._compare(before)

    @rule(seconds=st.sampled_from((0.0, 1.0, 3_600.0)))
    def advance(self, seconds: float) -> None:
        """Advance the time, and handle waiting events."""
        waiting, self._waiting = self._waiting, []
        before = len(self.log)
        handled = self.hub.advance(seconds)
        assert handled >= len(waiting), f"{len(waiting)} events waited, {handled} were handled"
        for event in waiting:
            self._deliver(event, tuple(self.members))
        self._compare(before)

    @invariant()
    def who_is_subscribed(self) -> None:
        """The hub orders its subscribers like the model."""
        ranks = [subscriber.priority for subscriber in self.hub.describe().subscribers]
        assert ranks == sorted(ranks), f"subscribers are not sorted by priority: {ranks}"
        own = [m.priority for m in sorted(self.members, key=lambda member: member.priority)]
        assert len(ranks) >= len(own), f"{len(own)} are subscribed, but the hub lists {len(ranks)}"

    def teardown(self) -> None:
        """Handle waiting events, and close the hub."""
        self.advance(0.0)
        self.hub.close()

    def _member(self, data: st.DataObject, behaviour: str) -> Member:
        self._names += 1
        expression = data.draw(self.expressions, label="expression")
        return Member(f"s{self._names}", expression, data.draw(self.priorities, label="priority"), behaviour)

    def _joined(self, member: Member) -> Member:
        self.members.append(member)
        return member

    def _publish(self, event: Event) -> None:
        self.hub.publish(event)
        self._waiting.append(event)

    def _deliver(self, event: Event, members: tuple[Member, ...]) -> None:
        """Deliver an event in the model."""
        names: list[str] = []
        # No subscriber of the model matches a target.
        everybody: list[Any] = sorted(members, key=lambda member: member.priority)
        for member in everybody:
            if event.target or not member.expression.matches(event):
                continue
            names.append(member.name)
            if member.behaviour == "leaves" and member in self.members:
                self.members.remove(member)
            if member.behaviour == "stops":
                break
        self.expected += [(name, event.id) for name in names]
        self.delivered(event, names)

    def _compare(self, before: int) -> None:
        assert self.log[before:] == self.expected[before:], (
            f"the hub called {self.log[before:]}, a sorted list {self.expected[before:]}"
        )
