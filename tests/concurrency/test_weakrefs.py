"""A registry hears of each death, also of what a finalizer registered."""

from __future__ import annotations

import gc
from typing import Any
from weakref import ref

from rxhub import Signal
from rxhub.compat.pydispatch import dispatcher
from rxhub.concurrency.weakrefs import collector, ensure_callback


class Garbage:
    """Garbage as soon as it is made; when the collector finds it, its finalizer makes the call."""

    def __init__(self, call: Any) -> None:
        self.call, self.itself, self.part = call, self, Part()

    def __del__(self) -> None:
        self.call(self)

    def receive(self, **named: object) -> None: ...


class Part:
    def receive(self, **named: object) -> None: ...


def test_a_reference_that_a_finalizer_makes_calls_back() -> None:
    made, told = [], []

    def refer(garbage: Garbage) -> None:
        for target in (garbage, garbage.part):
            made.append(ref(target, told.append))
            if collector.running:
                ensure_callback(made[-1], told.append)

    Garbage(refer)
    gc.collect()
    assert not collector.running
    assert {id(each) for each in told} == {id(each) for each in made}


def test_what_lives_on_is_not_called_back() -> None:
    kept, told = Part(), []
    Garbage(lambda garbage: collector.running and ensure_callback(ref(kept, told.append), told.append))
    gc.collect()
    gc.collect()
    assert told == []


def test_what_a_finalizer_connects_leaves_when_it_dies() -> None:
    signal: Signal[...] = Signal()
    connections = signal._connections

    def connect(garbage: Garbage) -> None:
        signal.connect(garbage.receive)
        signal.connect(garbage.part.receive)
        signal.connect(kept.receive, sender=garbage)
        signal.connect(kept.receive, sender=garbage.part)
        signal.send(garbage)

    kept = Part()
    Garbage(connect)
    gc.collect()
    assert signal.connections == ()
    assert (connections.slots, connections.call_orders, len(connections.dead)) == ({}, {}, 0)
    assert connections.died == 2


def test_what_a_finalizer_connects_in_pydispatcher_leaves_when_it_dies() -> None:
    kept = Part()

    def connect(garbage: Garbage) -> None:
        for receiver in (garbage.receive, garbage.part.receive, garbage.call):
            dispatcher.connect(receiver, "a word")
        dispatcher.connect(kept.receive, "a word", sender=garbage)

    def once() -> None:
        # A function of its own, which dies with the garbage.
        Garbage(lambda garbage: connect(garbage))

    once()
    gc.collect()
    assert dispatcher.getReceivers(signal="a word") == []
    assert list(dispatcher.getAllReceivers(signal="a word")) == []
    assert dispatcher.table.all_connections() == []
