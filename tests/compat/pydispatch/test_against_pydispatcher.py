"""The same random program has the same results on PyDispatcher and on rxhub."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import hypothesis.strategies as st
import pydispatch.dispatcher
import pydispatch.errors
import pydispatch.robust
import pydispatch.robustapply
import pytest
from hypothesis import given, settings

from rxhub.compat.pydispatch import dispatcher, errors, robust, robustapply

THEIRS = SimpleNamespace(dispatcher=pydispatch.dispatcher, robust=pydispatch.robust, robustapply=pydispatch.robustapply)
OURS = SimpleNamespace(dispatcher=dispatcher, robust=robust, robustapply=robustapply)


class Sender:
    """Supports weak references."""


class Listener:
    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, value: object) -> tuple[str, object]:
        return self.name, value

    def method(self, signal: object, **named: object) -> tuple[str, object, list[str]]:
        return self.name, signal, sorted(named)

    def failing(self, value: int) -> None:
        raise ValueError(value)


def nothing() -> str:
    return "nothing"


def signal_and_sender(signal: object, sender: object) -> tuple[object, object]:
    return signal, sender


def everything(**named: object) -> list[str]:
    return sorted(named)


def positional(first: object, value: object = None, **named: object) -> tuple[object, object]:
    return first, value


def demanding(value: int, missing: int) -> None:
    """Never sent."""


FUNCTIONS = [nothing, signal_and_sender, everything, positional, demanding]
SIGNALS = ["saved", ("a", 1), 7]
SENDERS = ["object", "other", "text", 5, None, "Any", "Anonymous"]

receivers = st.one_of(
    st.tuples(st.just("function"), st.integers(0, len(FUNCTIONS) - 1)),
    st.tuples(st.sampled_from(["callable", "method", "failing"]), st.integers(0, 2)),
)
signals = st.sampled_from([*SIGNALS, "Any"])
senders = st.sampled_from(SENDERS)
arguments = st.sampled_from([(), (), (1,), (1, 2)])
named = st.sampled_from([{}, {"value": 1}, {"value": 2, "other": 3}, {"first": 1}, {"self": 4}])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("connect"), receivers, signals, senders, st.booleans()),
        st.tuples(st.just("connect"), receivers, signals, senders, st.booleans()),
        st.tuples(st.just("disconnect"), receivers, signals, senders, st.booleans()),
        st.tuples(st.sampled_from(["send", "send exact", "send robust"]), signals, senders, arguments, named),
        st.tuples(st.just("send"), signals, senders, arguments, st.just({"value": 1})),
        st.tuples(st.just("look"), signals, senders),
        st.tuples(st.just("drop sender"), st.sampled_from(["object", "other"])),
        st.tuples(st.just("drop listener"), st.integers(0, 2)),
    ),
    max_size=40,
)


class Program:
    """Runs steps on one of the two, and describes their results comparably."""

    def __init__(self, library: SimpleNamespace) -> None:
        self.library = library
        self.api: ModuleType = library.dispatcher
        self.listeners = [Listener(str(number)) for number in range(3)]
        self.senders: dict[object, Any] = {"object": Sender(), "other": Sender(), "text": "text", 5: 5, None: None}
        self.senders |= {"Any": self.api.Any, "Anonymous": self.api.Anonymous}

    def receiver(self, kind: str, number: int) -> Callable[..., Any]:
        if kind == "function":
            return FUNCTIONS[number]
        listener = self.listeners[number]
        return listener if kind == "callable" else getattr(listener, kind)

    def signal(self, name: Any) -> Any:
        return self.api.Any if name == "Any" else name

    def name(self, thing: Any) -> Any:
        """The comparable form of a value."""
        if isinstance(thing, (tuple, list)):
            return [self.name(each) for each in thing]
        if isinstance(thing, Exception):
            return type(thing).__name__
        if isinstance(thing, Listener):
            return f"listener {thing.name}"
        if (owner := getattr(thing, "__self__", None)) is not None:
            return f"{self.name(owner)}.{thing.__name__}"
        if callable(thing):
            return getattr(thing, "__name__", repr(thing))
        for name, sender in self.senders.items():
            if thing is sender:
                return "sender", name
        return repr(thing)

    def step(self, what: str, *given: Any) -> Any:
        try:
            return self.name(getattr(self, what.replace(" ", "_"))(*given))
        except (ValueError, TypeError, KeyError) as error:
            return self.name(error)

    def connect(self, receiver: tuple[str, int], signal: Any, sender: Any, weak: bool) -> None:
        self.api.connect(self.receiver(*receiver), self.signal(signal), self.senders[sender], weak)

    def disconnect(self, receiver: tuple[str, int], signal: Any, sender: Any, weak: bool) -> None:
        self.api.disconnect(self.receiver(*receiver), self.signal(signal), self.senders[sender], weak)

    def send(self, signal: Any, sender: Any, arguments: Any, named: Any) -> Any:
        return self.api.send(self.signal(signal), self.senders[sender], *arguments, **named)

    def send_exact(self, signal: Any, sender: Any, arguments: Any, named: Any) -> Any:
        return self.api.sendExact(self.signal(signal), self.senders[sender], *arguments, **named)

    def send_robust(self, signal: Any, sender: Any, arguments: Any, named: Any) -> Any:
        return self.library.robust.sendRobust(self.signal(signal), self.senders[sender], *arguments, **named)

    def look(self, signal: Any, sender: Any) -> Any:
        sender, signal = self.senders[sender], self.signal(signal)
        return [
            [*self.api.liveReceivers(self.api.getReceivers(sender, signal))],
            [*self.api.liveReceivers(self.api.getAllReceivers(sender, signal))],
        ]

    def drop_sender(self, name: str) -> None:
        self.senders[name] = Sender()
        gc.collect()

    def drop_listener(self, number: int) -> None:
        self.listeners[number] = Listener(f"{self.listeners[number].name}'")
        gc.collect()

    def connections(self) -> Any:
        """The living receivers by the names of sender and signal."""
        names = {id(sender): name for name, sender in self.senders.items()}
        found: list[Any] = []
        for senderkey, by_signal in self.api.connections.items():
            for signal, references in by_signal.items():
                if alive := [self.name(r) for r in self.api.liveReceivers(references)]:
                    found.append((str(names[senderkey]), repr(signal), alive))
        return sorted(found)


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    # Errors know the frames that they came through, and those who was called and who sent. Neither the log nor a
    # cycle may keep them.
    logging.disable()
    clear()
    yield
    clear()
    logging.disable(logging.NOTSET)


def clear() -> None:
    dispatcher.connections.clear()
    # Not the names: others may have imported the tables.
    pydispatch.dispatcher.connections.clear()
    pydispatch.dispatcher.senders.clear()
    pydispatch.dispatcher.sendersBack.clear()


@settings(max_examples=400)
@given(steps)
def test_a_random_program_gives_the_same(steps: list[tuple[Any, ...]]) -> None:
    clear()
    theirs, ours = Program(THEIRS), Program(OURS)
    for number, step in enumerate(steps):
        assert ours.step(*step) == theirs.step(*step), f"step {number}: {step}"
        assert ours.connections() == theirs.connections(), f"after step {number}: {step}"


values = st.integers(0, 3)


@given(
    st.sampled_from([*FUNCTIONS, Listener("a"), Listener("b").method, Listener, len, [].append]),
    st.lists(values, max_size=3),
    st.dictionaries(st.sampled_from(["signal", "sender", "value", "first", "missing", "self"]), values),
)
def test_receivers_are_applied_as_pydispatcher_does(receiver: Any, arguments: list[int], named: dict[str, int]) -> None:
    def applied(library: SimpleNamespace) -> object:
        try:
            return library.robustapply.robustApply(receiver, *arguments, **named)
        except (TypeError, ValueError, AttributeError) as error:
            return type(error)

    assert applied(OURS) == applied(THEIRS)


@pytest.mark.parametrize("name", ["DispatcherError", "DispatcherKeyError", "DispatcherTypeError"])
def test_exceptions_are_caught_by_the_same_clauses(name: str) -> None:
    ours, theirs = getattr(errors, name), getattr(pydispatch.errors, name)
    assert {kind.__name__ for kind in theirs.__mro__} <= {kind.__name__ for kind in ours.__mro__}
