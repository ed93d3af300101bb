"""Threads that connect, disconnect, send and die on one signal, with the collector striking all the time."""

from __future__ import annotations

import gc
import random
import sys
import weakref
from collections.abc import Callable, Iterator
from itertools import count
from time import monotonic, sleep
from typing import Any

import pytest

from rxhub.signals.signal import Signal, signals
from tests.threads import LIMIT, at_once, eager_collection

ROUNDS = 400


class Sender:
    def __init__(self, name: object) -> None:
        self.name = name


class Ward:
    """What all threads use, and what they find wrong."""

    def __init__(self, **options: Any) -> None:
        self.signal: Signal[...] = Signal("ward", **options)
        # Its single steps are atomic: what has a greater number came later.
        self.clock = count()
        self.wrong: list[str] = []
        self.senders: list[weakref.ref[Sender]] = []
        self.steady = [Steady(number) for number in range(5)]
        for steady in self.steady:
            self.signal.connect(steady.receive, priority=10 * steady.number)
        self.told = [steady.receive for steady in self.steady]

    def send(self, sender: object, robust: bool = False) -> list[Callable[..., Any]]:
        """Everybody who was connected before and never leaves is called once, in order; who was called."""
        send = self.signal.send_robust if robust else self.signal.send
        called = [receiver for receiver, _ in send(sender, began=next(self.clock))]
        steady = [receiver for receiver in called if receiver in self.told]
        if steady != self.told:
            self.wrong.append(f"of those who never leave {steady} were called")
        return called

    def visitor(self, expected: object = None) -> Visitor:
        return Visitor(self, expected)


class Steady:
    def __init__(self, number: int) -> None:
        self.number = number

    def receive(self, **named: object) -> int:
        return self.number


class Visitor:
    """A receiver that comes and goes. It knows from when on nothing may reach it, and from whom."""

    def __init__(self, ward: Ward, expected: object) -> None:
        self.ward = ward
        self.expected = expected
        self.left: int | None = None

    def receive(self, sender: Any, began: int, **named: object) -> None:
        if self.left is not None and began > self.left:
            self.ward.wrong.append("called by what was sent after disconnect had returned")
        if self.expected is not None and sender.name is not self.expected:
            self.ward.wrong.append("called for a sender that has the id of a dead one")

    def leave(self, sender: object = None) -> None:
        if not self.ward.signal.disconnect(self.receive, sender):
            self.ward.wrong.append("was not connected any more")
        self.left = next(self.ward.clock)


@pytest.fixture(autouse=True)
def hurry() -> Iterator[None]:
    """Threads change connections, and the collector strikes, far more often than they would."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    with eager_collection():
        yield
    sys.setswitchinterval(before)


def coming_and_going(ward: Ward) -> None:
    """Own receivers are called while they are connected, and not any more afterwards."""
    sender = Sender("anybody")
    for number in range(ROUNDS):
        visitor = ward.visitor()
        ward.signal.connect(visitor.receive, priority=number % 60, weak=bool(number % 2))
        if visitor.receive not in ward.send(sender):
            ward.wrong.append("connected, and not called")
        visitor.leave()
        if visitor.receive in ward.send(sender):
            ward.wrong.append("disconnected, and called")


def dying_senders(ward: Ward) -> None:
    """A sender's receivers get what it sends, and nothing of a later one with its id."""
    for _ in range(ROUNDS):
        name = object()
        sender = Sender(name)
        ward.senders.append(weakref.ref(sender))
        visitor = ward.visitor(expected=name)
        ward.signal.connect(visitor.receive, sender)
        if visitor.receive not in ward.send(sender):
            ward.wrong.append("connected to a sender, and not called")
        del sender
        later = Sender("later")
        if visitor.receive in ward.send(later):
            ward.wrong.append("called for a sender that has the id of a dead one")


def dying_receivers(ward: Ward) -> None:
    """Receivers that die are gone; the collector takes some of them in the middle of something else."""
    sender = Sender("anybody")
    for number in range(ROUNDS):
        visitor: Any = ward.visitor()
        visitor.itself = visitor if number % 2 else None
        ward.signal.connect(visitor.receive, sender if number % 3 else None)
        ward.signal.connect(lambda **_: None)
        del visitor
        ward.send(sender, robust=bool(number % 5))


def dying_with_a_word(ward: Ward) -> None:
    """Finalizers that use the signal."""

    class Testator:
        def __init__(self) -> None:
            self.visitor = ward.visitor()
            self.itself = self
            ward.signal.connect(self.visitor.receive)

        def __del__(self) -> None:
            # The collector has cleared the weak references already.
            ward.signal.disconnect(self.visitor.receive)
            ward.signal.connect(self.farewell)
            ward.send(None)

        def farewell(self, **named: object) -> None:
            pass

    for _ in range(ROUNDS // 3):
        Testator()
        ward.send(None)
    gc.collect()


def watching(ward: Ward) -> None:
    """Pipelines that come and go get each emission that this thread sends meanwhile, once."""
    sender = Sender("anybody")
    for number in range(ROUNDS):
        seen: list[int] = []
        pipeline = ward.signal.on(sender=sender if number % 2 else None)
        subscription = pipeline.subscribe(lambda emission, seen=seen: seen.append(emission["began"]))
        before = next(ward.clock)
        ward.send(sender)
        after = next(ward.clock)
        # A pipeline that another thread is busy with gets it from there.
        patience = monotonic() + LIMIT
        while not [began for began in (*seen,) if before < began < after] and monotonic() < patience:
            sleep(0)
        subscription.dispose()
        if monotonic() >= patience:
            ward.wrong.append("subscribed, and saw nothing")
        if len(seen) != len(set(seen)):
            ward.wrong.append("saw something twice")


def looking(ward: Ward) -> None:
    """Who asks who is connected gets an answer that is right for those who stay."""
    for _ in range(ROUNDS):
        there = [connection.receiver for connection in ward.signal.connections]
        if [receiver for receiver in there if receiver in ward.told] != ward.told:
            ward.wrong.append("somebody who never leaves is not among the connections")
        if not ward.signal.has_listeners(Sender("anybody")):
            ward.wrong.append("nobody is said to listen")
        repr(ward.signal)
        signals()


PARTS = [coming_and_going, dying_senders, dying_receivers, dying_with_a_word, watching, looking]


@pytest.mark.parametrize("policy", ["raise", "group"])
def test_threads_do_not_disturb_one_another(policy: str) -> None:
    ward = Ward(on_receiver_error=policy)

    at_once(*[lambda part=part: part(ward) for part in [*PARTS, coming_and_going, dying_senders]])

    assert set(ward.wrong) == set()
    gc.collect()
    assert [connection.receiver for connection in ward.signal.connections] == ward.told
    assert [reference for reference in ward.senders if reference() is not None] == []
    for steady in ward.steady:
        assert ward.signal.disconnect(steady.receive)
    assert ward.signal.connections == ()
    assert not ward.signal.has_listeners()
    assert not ward.signal._connections.slots, "something is left of a sender"
    assert not ward.signal._connections.dead


def test_one_receiver_that_all_fight_for_ends_as_the_last_one_left_it() -> None:
    signal: Signal[...] = Signal("contested")

    def receiver(**named: object) -> None:
        pass

    def fight(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(ROUNDS * 5):
            if chance.random() < 0.5:
                signal.connect(receiver)
            else:
                signal.disconnect(receiver)
            assert len(signal.connections) <= 1
            assert len(signal.send(None)) <= 1

    at_once(*[lambda seed=seed: fight(seed) for seed in range(6)])
    signal.connect(receiver)
    assert [answer for answer, _ in signal.send(None)] == [receiver]
    assert signal.disconnect(receiver)
    assert signal.send(None) == []
