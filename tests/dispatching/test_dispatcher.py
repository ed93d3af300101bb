"""The dispatcher against a plain sorted list."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from rxhub import Delivery, Dispatcher, Event
from rxhub.errors import ExpressionError, NotFoundError, NotUniqueError, TooLate
from tests.by_hand import ByHand

TOPICS = ("a", "b", "c.d")
SUBSCRIPTIONS = {
    "topic=a": {"a"},
    "topic=b": {"b"},
    "topic=c.*": {"c.d"},
    "topic in (a, b)": {"a", "b"},
    "not topic=a": {"b", "c.d"},
    "": {"a", "b", "c.d"},
}
ACTIONS = ("return", "answer", "raise", "stop", "stop and raise", "join", "leave", "dispatch", "coroutine", "hand over")


@dataclass
class Member:
    """A subscriber as the model knows it."""

    name: str
    subscription: str
    priority: int
    order: int
    action: str
    victim: str = ""
    alive: bool = True


@dataclass
class Model:
    """What a dispatcher does, said with a sorted list."""

    members: list[Member] = field(default_factory=list)
    calls: list[tuple[str, str]] = field(default_factory=list)
    waiting: list[tuple[Member, str]] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    joined: int = 0
    awaits: bool = False

    def join(self, member: Member) -> None:
        self.members.append(member)

    def leave(self, name: str) -> None:
        for member in [m for m in self.members if m.name == name]:
            member.alive = False
            self.members.remove(member)

    def dispatch(self, topic: str, depth: int = 0) -> list[tuple[str, str]]:
        matched = sorted(
            (m for m in self.members if topic in SUBSCRIPTIONS[m.subscription]), key=lambda m: (m.priority, m.order)
        )
        outcomes: list[tuple[str, str]] = []
        for member in matched:
            if not member.alive:
                continue
            if member.action == "hand over":
                self.waiting.append((member, topic))
                continue
            outcomes.append((member.name, self.call(member, topic, depth)))
            if member.action.startswith("stop"):
                break
        return outcomes

    def call(self, member: Member, topic: str, depth: int) -> str:
        if member.action == "coroutine" and not (self.awaits and depth == 0):
            return "error"
        self.calls.append((member.name, topic))
        match member.action:
            case "raise" | "stop and raise":
                return "error"
            case "answer" | "coroutine":
                if depth == 0:
                    self.answers.append(member.name)
                return member.name
            case "join":
                self.joined += 1
                self.join(Member(f"joined {self.joined}", "", 50, 1_000 + self.joined, "return"))
            case "leave":
                self.leave(member.victim)
            case "dispatch" if depth == 0:
                self.dispatch("b", depth + 1)
            case _:
                pass
        return "None"


class Machine(RuleBasedStateMachine):
    """Subscribe, unsubscribe and dispatch at random; the dispatcher and the model always tell the same."""

    names = Bundle("names")

    def __init__(self) -> None:
        super().__init__()
        self.dispatcher = Dispatcher()
        self.model = Model()
        self.scheduler = ByHand()
        self.calls: list[tuple[str, str]] = []
        self.answers: list[str] = []
        self.joined = 0
        self.depth = 0

    @rule(
        target=names,
        subscription=st.sampled_from(sorted(SUBSCRIPTIONS)),
        priority=st.integers(0, 3),
        action=st.sampled_from(ACTIONS),
        victim=st.integers(0, 10),
    )
    def subscribe(self, subscription: str, priority: int, action: str, victim: int) -> str:
        name = f"s{len(self.model.members)}-{self.model.joined}-{priority}-{len(self.calls)}"
        if self.dispatcher.get(name) is not None:
            with pytest.raises(NotUniqueError):
                self.dispatcher.subscribe("", print, {"id": name})
            return name
        members = self.model.members
        target = members[victim % len(members)].name if members else name
        order = 1_000 + self.model.joined if members else 0
        self.model.join(Member(name, subscription, priority, order, action, target))
        # The order of joining is that of the list, which is stable: give every member the same.
        for place, member in enumerate(self.model.members):
            member.order = place
        scheduler = self.scheduler if action == "hand over" else None
        self.dispatcher.subscribe(
            subscription, self.callback(name, action, target), {"id": name}, priority, scheduler=scheduler
        )
        return name

    def callback(self, name: str, action: str, victim: str) -> Callable[[Event], Any]:
        def plain(event: Event) -> Any:
            self.calls.append((name, event.topic))
            match action:
                case "raise":
                    raise ValueError(name)
                case "stop" | "stop and raise":
                    event.stop()
                    if action != "stop":
                        raise ValueError(name)
                case "answer":
                    return name
                case "join":
                    self.joined += 1
                    joined = f"joined {self.joined}"
                    self.dispatcher.subscribe(
                        "", lambda e: self.calls.append((joined, e.topic)), {"id": joined}, priority=50
                    )
                case "leave":
                    if self.dispatcher.get(victim) is not None:
                        self.dispatcher.unsubscribe(victim)
                case "dispatch" if self.depth == 0:
                    self.depth = 1
                    self.dispatcher.dispatch(Event("b"))
                    self.depth = 0
                case "hand over":
                    with pytest.raises(TooLate):
                        event.stop()
                case _:
                    pass
            return None

        async def coroutine(event: Event) -> str:
            await asyncio.sleep(0)
            self.calls.append((name, event.topic))
            return name

        return coroutine if action == "coroutine" else plain

    @rule(name=consumes(names))
    def unsubscribe(self, name: str) -> None:
        if any(member.name == name for member in self.model.members):
            assert self.dispatcher.unsubscribe(name).id == name
            self.model.leave(name)
        else:
            with pytest.raises(NotFoundError):
                self.dispatcher.unsubscribe(name)

    @rule(topic=st.sampled_from(TOPICS))
    def dispatch(self, topic: str) -> None:
        self.model.awaits = False
        expected = self.model.dispatch(topic)
        delivery = self.dispatcher.dispatch(Event(topic), self.on_result)
        self.compare(delivery, expected)

    @rule(topic=st.sampled_from(TOPICS))
    def dispatch_async(self, topic: str) -> None:
        self.model.awaits = True
        expected = self.model.dispatch(topic)
        delivery = asyncio.run(self.dispatcher.dispatch_async(Event(topic), self.on_result))
        self.compare(delivery, expected)

    @rule()
    def run_what_was_handed_over(self) -> None:
        waiting, self.model.waiting = self.model.waiting, []
        handed: dict[str, list[str]] = {}
        for member, topic in waiting:
            if member.alive:
                handed.setdefault(member.name, []).append(topic)
        before = len(self.calls)
        self.scheduler.run()
        # In order for each subscriber; nothing is promised between two of them.
        for name, topics in handed.items():
            assert [topic for caller, topic in self.calls[before:] if caller == name] == topics
        assert len(self.calls) - before == sum(map(len, handed.values()))
        self.model.calls = list(self.calls)

    def on_result(self, event: Event, subscriber: Any, result: Any) -> None:
        assert result == subscriber.id
        self.answers.append(result)

    def compare(self, delivery: Delivery, expected: list[tuple[str, str]]) -> None:
        outcomes = [(o.subscriber.id, "error" if o.error else str(o.result)) for o in delivery]
        assert outcomes == expected
        last = next((m for m in self.model.members if expected and m.name == expected[-1][0]), None)
        if last is not None and last.action.startswith("stop"):
            assert delivery.stopped_by is not None
            assert delivery.stopped_by.id == last.name
        seen: list[tuple[str, str]] = []
        done: list[bool] = []
        delivery.subscribe(
            lambda o: seen.append((o.subscriber.id, "error" if o.error else str(o.result))),
            on_completed=lambda: done.append(True),
        )
        assert seen == expected
        assert bool(done) == delivery.completed

    @invariant()
    def agree(self) -> None:
        assert self.calls == self.model.calls
        assert self.answers == self.model.answers
        expected = [m.name for m in sorted(self.model.members, key=lambda m: (m.priority, m.order))]
        assert [s.id for s in self.dispatcher.subscribers] == expected
        assert len(self.dispatcher) == len(expected)


TestAgainstASortedList = Machine.TestCase


def test_ids_are_unique_and_a_failed_subscribe_leaves_nothing() -> None:
    dispatcher = Dispatcher()
    first = dispatcher.subscribe("topic=a", print, {"id": "x"})
    with pytest.raises(NotUniqueError, match="x already exists"):
        dispatcher.subscribe("topic=b", print, {"id": "x"})
    with pytest.raises(ExpressionError):
        dispatcher.subscribe("topic=", print, {"id": "y"})
    assert dispatcher.subscribers == (first,)
    assert dispatcher.get("y") is None


def test_metadata_gets_an_id_and_is_otherwise_untouched() -> None:
    metadata: dict[str, Any] = {"team": "lighting"}
    subscriber = Dispatcher().subscribe("", lambda event: {"answer": 1}, metadata)
    assert metadata == {"team": "lighting", "id": subscriber.id}


@pytest.mark.parametrize("callback", [None, 5, "print"])
def test_a_callback_must_be_callable(callback: Any) -> None:
    with pytest.raises(TypeError, match="callable"):
        Dispatcher().subscribe("", callback)


def test_a_target_chooses_subscribers_by_their_metadata() -> None:
    dispatcher = Dispatcher()
    seen: list[str] = []
    dispatcher.subscribe("topic=a", lambda event: seen.append("one"), {"id": "1", "user": {"name": "jane"}})
    dispatcher.subscribe("topic=a", lambda event: seen.append("two"), {"id": "2", "user": {"name": "joe"}})
    dispatcher.dispatch(Event("a", target="user.name=joe"))
    dispatcher.dispatch(Event("a", target="id in (1, 2) and not user.name=joe"))
    dispatcher.dispatch(Event("a", target="id=nobody"))
    assert seen == ["two", "one"]


def test_a_target_that_does_not_parse_reaches_nobody_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    dispatcher = Dispatcher()
    dispatcher.subscribe("", pytest.fail)
    assert list(dispatcher.dispatch(Event("a", target="id="))) == []
    assert "target cannot be parsed" in caplog.text


def test_a_failing_callback_is_logged_told_and_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    dispatcher = Dispatcher()
    errors: list[Any] = []
    dispatcher.errors.subscribe(errors.append)
    broken = dispatcher.subscribe("topic=a", lambda event: 1 / 0)
    dispatcher.subscribe("topic=a", lambda event: "fine")
    delivery = dispatcher.dispatch(Event("a"))
    assert delivery.results == ["fine"]
    assert [type(error) for error in delivery.errors] == [ZeroDivisionError]
    assert [(outcome.subscriber, type(outcome.error)) for outcome in errors] == [(broken, ZeroDivisionError)]
    assert broken.id in caplog.text


def test_an_interrupt_is_not_swallowed() -> None:
    dispatcher = Dispatcher()

    def interrupt(event: Event) -> None:
        raise KeyboardInterrupt

    dispatcher.subscribe("", interrupt)
    with pytest.raises(KeyboardInterrupt):
        dispatcher.dispatch(Event("a"))


def test_publishing_a_stopped_event_again_starts_fresh() -> None:
    dispatcher = Dispatcher()
    seen: list[int] = []
    stop = dispatcher.subscribe("", lambda event: event.stop(), priority=0)
    dispatcher.subscribe("", lambda event: seen.append(1))
    event = Event("a")
    assert dispatcher.dispatch(event).stopped_by is stop
    assert event.is_stopped()
    dispatcher.unsubscribe(stop.id)
    assert dispatcher.dispatch(event).stopped_by is None
    assert seen == [1]


def test_each_call_runs_in_a_copy_of_the_context_of_subscribing() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="none")
    dispatcher = Dispatcher()
    seen: list[str] = []

    def note(event: Event) -> None:
        seen.append(variable.get())
        variable.set("changed by a callback")

    async def note_later(event: Event) -> None:
        await asyncio.sleep(0)
        note(event)

    variable.set("at subscribing")
    dispatcher.subscribe("", note)
    dispatcher.subscribe("", note_later)
    variable.set("at dispatch")
    for _ in range(2):
        asyncio.run(dispatcher.dispatch_async(Event("a")))
    assert seen == ["at subscribing"] * 4
    assert variable.get() == "at dispatch"


def test_latencies_are_kept_while_somebody_looks() -> None:
    dispatcher = Dispatcher()
    dispatcher.subscribe("", lambda event: None)
    assert [outcome.latency for outcome in dispatcher.dispatch(Event("a"))] == [None]
    seen: list[Delivery] = []
    with dispatcher.deliveries.subscribe(seen.append):
        delivery = dispatcher.dispatch(Event("a"))
    assert seen == [delivery]
    assert all(outcome.latency is not None and outcome.latency >= 0 for outcome in delivery)
    assert [outcome.latency for outcome in dispatcher.dispatch(Event("a"))] == [None]


def test_a_delivery_with_hand_overs_completes_when_the_last_has_ended() -> None:
    dispatcher, scheduler = Dispatcher(), ByHand()
    dispatcher.subscribe("", lambda event: "late", scheduler=scheduler)
    dispatcher.subscribe("", lambda event: "now")
    answers: list[Any] = []
    delivery = dispatcher.dispatch(Event("a"), lambda event, subscriber, result: answers.append(result))
    told: list[Any] = []
    delivery.subscribe(lambda outcome: told.append(outcome.result), on_completed=lambda: told.append("completed"))
    assert told == ["now"]
    assert not delivery.completed
    scheduler.run()
    assert told == ["now", "late", "completed"]
    assert answers == ["now", "late"]
    assert delivery.results == ["now", "late"]


def test_coroutines_are_awaited_in_order_and_may_stop() -> None:
    dispatcher = Dispatcher()
    seen: list[str] = []

    async def slow(event: Event) -> str:
        await asyncio.sleep(0.001)
        seen.append("slow")
        return "answer"

    async def stop(event: Event) -> None:
        await asyncio.sleep(0)
        event.stop()

    dispatcher.subscribe("", slow)
    dispatcher.subscribe("", lambda event: seen.append("after slow"))
    stopping = dispatcher.subscribe("", stop)
    dispatcher.subscribe("", lambda event: seen.append("never"))
    delivery = asyncio.run(dispatcher.dispatch_async(Event("a")))
    assert seen == ["slow", "after slow"]
    assert delivery.results == ["answer", None, None]
    assert delivery.stopped_by is stopping
