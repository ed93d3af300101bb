"""A signal behaves as a plain list of connections does, whatever happens in which order."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from rxhub.signals.emission import Emission
from rxhub.signals.signal import Signal

SLOTS = range(5)
BEHAVIOURS = ["plain", "stops on a", "raises on b", "nests", "leaves", "leaves", "joins", "coroutine"]
FORMS = ["function", "method", "object"]
MORTAL = ["first", "second"]
SENDERS = [*MORTAL, "class", "text", "number", "bytes", "unreferable", "nobody"]
WHERE: dict[str | None, Callable[[str, str | None], bool]] = {
    None: lambda kind, name: True,
    "kind=a": lambda kind, name: kind == "a",
    "kind=b and sender=red": lambda kind, name: kind == "b" and name == "red",
    "sender=Sender": lambda kind, name: name == "Sender",
}

slots = st.sampled_from(SLOTS)
senders = st.sampled_from([*SENDERS, *["nobody"] * 5])
kinds = st.sampled_from(["a", "a", "b", "c"])
priorities = st.sampled_from([100, 100, 50, 150.5])
wheres = st.sampled_from([None, None, *WHERE])


class Sender:
    """Can be held weakly."""


class Failure(Exception):
    """Raised by a receiver."""


class Receiver:
    """What fills a slot. In each of its forms it logs its call, then does what its behaviour says."""

    def __init__(self, machine: SignalMachine, label: str, form: str, behaviour: str, other: int, sender: str) -> None:
        self.machine = machine
        self.label = label
        self.form = form
        self.behaviour = behaviour
        self.other = other
        self.sender = sender
        self.function = self._function() if form == "function" else None

    @property
    def connectable(self) -> Callable[..., Any]:
        """What is given to `connect`; a method is made anew each time."""
        if self.behaviour == "stops on a":
            return self.function or (self.stopping if self.form == "method" else self)
        if self.behaviour == "coroutine":
            return self.function or self.coroutine
        return self.function or (self.called if self.form == "method" else self)

    def _function(self) -> Callable[..., Any]:
        # Held by the slot alone: it must not hold what holds it.
        machine, label, behaviour, other, sender = self.machine, self.label, self.behaviour, self.other, self.sender
        if behaviour == "stops on a":

            def receiver(emission: Emission, kind: str, **named: Any) -> str:
                return machine.act(label, behaviour, other, sender, kind, emission=emission, **named)
        elif behaviour == "coroutine":

            async def receiver(kind: str, **named: Any) -> str:
                return machine.act(label, behaviour, other, sender, kind, **named)
        else:

            def receiver(kind: str, **named: Any) -> str:
                return machine.act(label, behaviour, other, sender, kind, **named)

        return receiver

    def called(self, kind: str, **named: Any) -> str:
        return self.machine.act(self.label, self.behaviour, self.other, self.sender, kind, **named)

    async def coroutine(self, kind: str, **named: Any) -> str:
        return self.called(kind, **named)

    def stopping(self, kind: str, emission: Emission, **named: Any) -> str:
        return self.called(kind, emission=emission, **named)

    def __call__(self, kind: str, emission: Emission, **named: Any) -> str:
        return self.called(kind, emission=emission, **named)


@dataclass(eq=False)
class Entry:
    """One connection in the model."""

    label: str
    key: Any
    sender: str
    weak: bool
    where: str | None
    priority: float
    receiver: tuple[str, int, str] | None
    """What it does; None for an observer."""
    alive: bool = True


class SignalMachine(RuleBasedStateMachine):
    """The signal beside a list of `Entry`."""

    @initialize(
        policy=st.sampled_from(["raise", "group"]),
        behaviours=st.lists(st.tuples(st.sampled_from(BEHAVIOURS), slots), min_size=len(SLOTS), max_size=len(SLOTS)),
    )
    def begin(self, policy: Any, behaviours: list[tuple[str, int]]) -> None:
        logging.disable()  # what a test run keeps of the log would keep receivers and senders
        gc.freeze()
        self.signal: Signal[...] = Signal("s", on_receiver_error=policy)
        self.policy = policy
        self.made = 0
        self.receivers = [self.make("function", does, other, "nobody") for does, other in behaviours]
        self.kept = object()
        self.living: dict[str, Any] = {name: Sender() for name in MORTAL}
        self.subscriptions: dict[str, Any] = {}
        self.labels: dict[Any, str] = {}
        self.muted = False
        # The model
        self.entries: list[Entry] = []
        self.model_later: list[tuple[int, Entry, tuple[Any, ...]]] | None = None
        self.model_sent = 0
        self.forget_logs()

    def teardown(self) -> None:
        gc.unfreeze()
        logging.disable(logging.NOTSET)

    # The real side

    def make(self, form: str, behaviour: str, other: int, sender: str) -> Receiver:
        self.made += 1
        return Receiver(self, f"receiver {self.made}", form, behaviour, other, sender)

    def sender(self, name: str) -> Any:
        """Texts and numbers are new objects each time: equality is what counts."""
        made: dict[str, Callable[[], Any]] = {
            "class": lambda: SignalMachine,
            "text": lambda: str(b"red", "ascii"),
            "number": lambda: int("123456"),
            "bytes": lambda: b"".join([b"r", b"ed"]),
            "unreferable": lambda: self.kept,
            "nobody": lambda: None,
        }
        return made[name]() if name in made else self.living[name]

    def act(
        self, label: str, behaviour: str, other: int, other_sender: str, kind: str, depth: int, **named: Any
    ) -> str:
        self.log.append((label, kind, depth))
        emission = named.get("emission")
        if behaviour == "stops on a" and kind == "a":
            emission.stop()
        elif behaviour == "raises on b" and kind == "b":
            raise Failure(label)
        elif behaviour == "nests" and depth < 2:
            self.nested = True
            self.signal.send(self.sender(other_sender), kind="b" if kind == "a" else "a", depth=depth + 1)
        elif behaviour == "leaves":
            self.signal.disconnect(self.receivers[other].connectable)
        elif behaviour == "joins":
            self.signal.connect(self.receivers[other].connectable)
        return f"answer of {label}"

    def forget_logs(self) -> None:
        self.log: list[Any] = []
        self.expected: list[Any] = []
        self.nested = False

    # The model

    def find(self, key: Any, sender: str) -> Entry | None:
        return next((e for e in self.entries if e.key == key and e.sender == sender), None)

    def model_connect(
        self, receiver: Receiver, sender: str, weak: bool, uid: str | None, where: str | None, priority: float
    ) -> None:
        key = uid or receiver.label
        if not self.find(key, sender):
            does = receiver.behaviour, receiver.other, receiver.sender
            self.entries.append(Entry(receiver.label, key, sender, weak, where, priority, does))

    def model_disconnect(self, key: str, sender: str) -> bool:
        entry = self.find(key, sender)
        if entry is None:
            return False
        self.remove(entry)
        return True

    def remove(self, entry: Entry) -> None:
        entry.alive = False
        self.entries.remove(entry)

    def settle(self) -> None:
        """A receiver that has left its slot lives as long as a connection keeps it, and the weak ones with that."""
        gc.collect()
        held = {receiver.label for receiver in self.receivers}
        held |= {entry.label for entry in self.entries if not entry.weak}
        for entry in [entry for entry in self.entries if entry.label not in held]:
            self.remove(entry)

    def model_lineup(self, sender: str) -> list[Entry]:
        return sorted((e for e in self.entries if e.sender in ("nobody", sender)), key=lambda entry: entry.priority)

    def model_send(self, sender: str, kind: str, depth: int, policy: str) -> list[tuple[str, Any]]:
        if self.muted:
            return []
        responses: list[tuple[str, Any]] = []
        errors: list[Any] = []
        later, outermost = self.model_later, self.model_later is None
        if later is None:
            later = self.model_later = []
        self.model_sent += 1
        number = self.model_sent
        name = {"text": "red", "class": "SignalMachine", **dict.fromkeys(MORTAL, "Sender")}.get(sender)
        try:
            for entry in self.model_lineup(sender):
                if not entry.alive or not WHERE[entry.where](kind, name):
                    continue
                if entry.receiver is None:
                    seen = entry.label, kind, depth
                    if outermost:
                        self.expected.append(seen)
                    else:
                        later.append((number, entry, seen))
                    continue
                try:
                    responses.append((entry.label, self.model_call(entry, kind, depth)))
                except Exception as error:
                    if policy == "raise":
                        raise
                    errors.append(error)
                    responses.append((entry.label, in_words(error)))
                if entry.receiver[0] == "stops on a" and kind == "a":
                    break
        finally:
            if outermost:
                # In the order of sending; sorting keeps that of the receivers.
                later.sort(key=lambda put: put[0])
                self.expected += [seen for _, entry, seen in later if entry.alive]
                self.model_later = None
        if errors and policy == "group":
            raise ExceptionGroup("some", errors)
        return responses

    def model_call(self, entry: Entry, kind: str, depth: int) -> str:
        assert entry.receiver is not None
        behaviour, other, other_sender = entry.receiver
        self.expected.append((entry.label, kind, depth))
        if behaviour == "raises on b" and kind == "b":
            raise Failure(entry.label)
        if behaviour == "nests" and depth < 2:
            self.model_send(other_sender, "b" if kind == "a" else "a", depth + 1, self.policy)
        elif behaviour == "leaves":
            self.model_disconnect(self.receivers[other].label, "nobody")
        elif behaviour == "joins":
            self.model_connect(self.receivers[other], "nobody", True, None, None, 100)
        return f"answer of {entry.label}"

    # What happens

    @rule(
        slot=slots, sender=senders, weak=st.booleans(), uid=st.sampled_from([None, None, None, "u", "v"]), where=wheres,
        priority=priorities,
    )  # fmt: skip
    def connect(self, slot: int, sender: str, weak: bool, uid: str | None, where: str | None, priority: float) -> None:
        receiver = self.receivers[slot]
        self.signal.connect(receiver.connectable, self.sender(sender), weak, uid, where=where, priority=priority)
        self.model_connect(receiver, sender, weak, uid, where, priority)

    @rule(slot=slots, sender=senders, uid=st.sampled_from([None, "u", "v"]))
    def disconnect(self, slot: int, sender: str, uid: str | None) -> None:
        receiver = self.receivers[slot]
        was = self.signal.disconnect(receiver.connectable, self.sender(sender), uid)
        assert was is self.model_disconnect(uid or receiver.label, sender)
        self.settle()

    @rule(sender=senders, where=wheres, priority=priorities)
    def observe(self, sender: str, where: str | None, priority: float) -> None:
        self.made += 1
        label = f"observer {self.made}"

        def seen(emission: Emission) -> None:
            self.log.append((label, emission["kind"], emission["depth"]))

        pipeline = self.signal.on(where, sender=self.sender(sender), priority=priority)
        self.subscriptions[label] = pipeline.subscribe(seen)
        self.entries.append(Entry(label, label, sender, False, where, priority, None))

    @rule(choice=st.integers(0, 20))
    def dispose(self, choice: int) -> None:
        if self.subscriptions:
            label = sorted(self.subscriptions)[choice % len(self.subscriptions)]
            self.subscriptions.pop(label).dispose()
            for entry in [entry for entry in self.entries if entry.label == label]:
                self.remove(entry)

    @rule(slot=slots, form=st.sampled_from(FORMS), behaviour=st.sampled_from(BEHAVIOURS), other=slots, sender=senders)
    def collect_a_receiver(self, slot: int, form: str, behaviour: str, other: int, sender: str) -> None:
        """And put another into its place, which may get its id."""
        if behaviour != "stops on a" and form == "object":
            form = "method"
        self.receivers[slot] = self.make(form, behaviour, other, sender)
        self.settle()

    @rule(name=st.sampled_from(MORTAL))
    def collect_a_sender(self, name: str) -> None:
        """And put another into its place, which may get its id."""
        del self.living[name]
        gc.collect()
        self.living[name] = Sender()
        for entry in [entry for entry in self.entries if entry.sender == name]:
            self.remove(entry)
        self.settle()

    @rule(sender=senders, kind=kinds, times=st.integers(1, 2))
    def send_muted(self, sender: str, kind: str, times: int) -> None:
        with ExitStack() as mutes:
            for _ in range(times):
                mutes.enter_context(self.signal.muted())
            self.muted = True
            self.send(sender, kind)
            self.muted = False

    @rule(sender=senders, kind=kinds)
    def send(self, sender: str, kind: str) -> None:
        self.compare(lambda: self.signal.send(self.sender(sender), kind=kind, depth=0), sender, kind, self.policy)

    @rule(sender=senders, kind=kinds)
    def send_robust(self, sender: str, kind: str) -> None:
        self.compare(lambda: self.signal.send_robust(self.sender(sender), kind=kind, depth=0), sender, kind, "collect")

    @rule(sender=senders, kind=kinds)
    def on_next(self, sender: str, kind: str) -> None:
        """As `send_robust`, for who has no use for responses."""
        if sender == "nobody":
            self.compare(lambda: self.signal.on_next({"kind": kind, "depth": 0}), sender, kind, "collect")
        else:
            of = self.signal.of(self.sender(sender))
            self.compare(lambda: of.on_next({"kind": kind, "depth": 0}), sender, kind, "collect")

    def compare(self, send: Callable[[], Any], sender: str, kind: str, policy: str) -> None:
        self.forget_logs()
        try:
            expected: Any = self.model_send(sender, kind, 0, policy)
        except Exception as error:
            expected = in_words(error)
        try:
            responses = send()
        except Exception as error:
            given: Any = in_words(error)
        else:
            given = None if responses is None else [(self.label(call), in_words(value)) for call, value in responses]
        assert given is None or given == expected
        if not self.nested:
            assert self.log == self.expected
        for they in ("receiver", "observer"):
            # A pipeline may have an inner emission before or after those receivers of the outer one that are no
            # pipelines; among pipelines, as among receivers, the order is one.
            ours, model = ([entry for entry in log if entry[0].startswith(they)] for log in (self.log, self.expected))
            assert ours == model

    def label(self, call: Any) -> str:
        owner = getattr(call, "__self__", call)
        if isinstance(owner, Receiver):
            return owner.label
        free = dict(zip(call.__code__.co_freevars, (cell.cell_contents for cell in call.__closure__), strict=True))
        return free["label"]

    # What always holds

    @invariant()
    def connections_are_those_of_the_list(self) -> None:
        if not hasattr(self, "signal"):
            return
        expected = [
            (e.label, e.priority, e.where, e.sender) for e in sorted(self.entries, key=lambda entry: entry.priority)
        ]
        names = [(name, self.sender(name)) for name in SENDERS]
        connected = [
            (
                self.label(c.receiver) if not c.spec.is_observer else "observer",
                c.priority,
                c.where,
                next(name for name, sender in names if same(sender, c.sender)),
            )
            for c in self.signal.connections
        ]
        assert connected == [
            ("observer" if label.startswith("observer") else label, *rest) for label, *rest in expected
        ]

    @invariant()
    def listeners_are_told(self) -> None:
        if hasattr(self, "signal"):
            for name in SENDERS:
                assert self.signal.has_listeners(self.sender(name)) is bool(self.model_lineup(name))


def same(one: Any, other: Any) -> bool:
    return one == other if isinstance(one, (str, bytes, int)) else one is other


def in_words(value: Any) -> Any:
    """An exception by the failures in it."""
    if isinstance(value, BaseExceptionGroup):
        return "group", [in_words(each) for each in value.exceptions]
    return repr(value) if isinstance(value, Exception) else value


TestSignalMachine = SignalMachine.TestCase
TestSignalMachine.settings = settings(max_examples=300, stateful_step_count=40)
