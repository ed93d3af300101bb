"""One send of a signal, beside the signals of Django, blinker, PyDispatcher, psygnal and pyee.

Each receiver is a function of its own that does nothing, in the form that its library asks for, so that what is timed
is the way to it. All stand in the same rounds. A goal is held against those who choose receivers by sender; the
others are shown.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from statistics import median
from typing import Any

import blinker
import psygnal
import reactivex
from django.dispatch import Signal as DjangoSignal
from pydispatch import dispatcher
from pyee.base import EventEmitter

from rxhub.signals.signal import Signal
from tests.benchmarks.measure import Goal, Loop, Row, Sampler, at_most, bytes_within, compare, interleave, table

__all__ = ["run"]

_ROUNDS = 40


class Someone:
    """A sender."""

    def react(self, **named: object) -> None:
        """A receiver that is a method."""


SENDER, OTHER = Someone(), Someone()

Receivers = Sequence[Callable[..., None]]


def receivers(size: int) -> Receivers:
    """Functions of their own, as Django, blinker, PyDispatcher and rxhub call them."""

    def make() -> Callable[..., None]:
        def receiver(sender: object, **named: object) -> None:
            pass

        return receiver

    return [make() for _ in range(size)]


def takers_of_a_value(size: int) -> Receivers:
    """Functions of their own, as psygnal, pyee and reactivex call them."""

    def make() -> Callable[..., None]:
        def receiver(value: object) -> None:
            pass

        return receiver

    return [make() for _ in range(size)]


class Library:
    """How one library connects, disconnects and sends.

    Attributes:
        name: for the table.
        make: makes a signal; returns a `connect(function, sender)`, the statement that sends, and the names in it.
        by_sender: whether it chooses receivers by sender.
    """

    def __init__(self, name: str, make: Callable[[], _Made], by_sender: bool = True) -> None:
        self.name = name
        self.make = make
        self.by_sender = by_sender

    def sending(self, functions: Receivers, *, connected_to: object) -> Loop:
        """Sends by `SENDER` to functions that are connected to some sender, or to all if that is None."""
        connect, statement, names = self.make()
        for function in functions:
            connect(function, connected_to)
        return Loop(statement, sender=SENDER, held=functions, **names)


_Made = tuple[Callable[..., Any], str, dict[str, Any]]
_SEND = "send(sender, value=1)"


def _ours() -> _Made:
    signal = Signal("bench")
    return signal.connect, _SEND, {"send": signal.send}


def _django(use_caching: bool = False) -> _Made:
    signal = DjangoSignal(use_caching=use_caching)
    return signal.connect, _SEND, {"send": signal.send}


def _blinker() -> _Made:
    signal = blinker.Signal()

    def connect(function: Any, sender: Any) -> None:
        signal.connect(function, blinker.ANY if sender is None else sender)

    return connect, _SEND, {"send": signal.send}


_keys = count()


def _pydispatcher() -> _Made:
    key = f"bench {next(_keys)}"

    def connect(function: Any, sender: Any) -> None:
        dispatcher.connect(function, key, dispatcher.Any if sender is None else sender)

    return connect, "send(key, sender, value=1)", {"send": dispatcher.send, "key": key}


def _psygnal() -> _Made:
    signal = psygnal.SignalInstance((int,))
    return lambda function, _: signal.connect(function), "emit(1)", {"emit": signal.emit, "signal": signal}


def _pyee() -> _Made:
    emitter = EventEmitter()
    return lambda function, _: emitter.on("bench", function), 'emit("bench", 1)', {"emit": emitter.emit}


def _subject() -> _Made:
    subject: reactivex.Subject[int] = reactivex.Subject()
    return lambda function, _: subject.subscribe(function), "on_next(1)", {"on_next": subject.on_next}


OURS = Library("rxhub", _ours)
DJANGO_CACHING = Library("Django, caching", lambda: _django(use_caching=True))
BLINKER = Library("blinker", _blinker)
PEERS = [
    Library("Django", _django),
    DJANGO_CACHING,
    BLINKER,
    Library("PyDispatcher", _pydispatcher),
    Library("psygnal, compiled" if psygnal._compiled else "psygnal", _psygnal, by_sender=False),
    Library("pyee", _pyee, by_sender=False),
    Library("reactivex.Subject", _subject, by_sender=False),
]


def _bare(functions: Receivers) -> Loop:
    def send(signal: object, sender: object, **named: object) -> None:
        for function in functions:
            function(signal=signal, sender=sender, **named)

    return Loop("send(signal, sender, value=1)", send=send, signal=Signal("bare"), sender=SENDER)


def beside(
    what: str, ours: Sampler, peers: Sequence[tuple[str, Sampler, Goal | None]], rounds: int = _ROUNDS
) -> list[Row]:
    """One row a peer, all measured in the same rounds."""
    taken = interleave([ours, *(sampler for _, sampler, _ in peers)], rounds)
    return [
        Row(
            what,
            ours_ns=median(times[0] for times in taken),
            peer_ns=median(times[place] for times in taken),
            peer=name,
            ratio=median(times[0] / times[place] for times in taken),
            goal=goal,
        )
        for place, (name, _, goal) in enumerate(peers, 1)
    ]


def sending(size: int, limit: float) -> list[Row]:
    """To receivers of every sender, then to receivers of the one that sends."""
    rows: list[Row] = []
    functions, plain = receivers(size), takers_of_a_value(size)
    crowd = f"{size:,} receiver{'' if size == 1 else 's'}"
    for connected_to, whose in ((None, "of every sender"), (SENDER, "of this sender")):
        peers: list[tuple[str, Sampler, Goal | None]] = [("bare loop", _bare(functions), at_most(limit))]
        peers += [
            (
                peer.name,
                peer.sending(functions if peer.by_sender else plain, connected_to=connected_to),
                at_most(1) if peer.by_sender else None,
            )
            for peer in PEERS
            if peer.by_sender or connected_to is None
        ]
        rows += beside(f"send to {crowd} {whose}", OURS.sending(functions, connected_to=connected_to), peers)
    return rows


def missing(size: int = 1_000) -> list[Row]:
    """Receivers of another sender only."""
    functions = receivers(size)
    return beside(
        f"send past {size:,} receivers of another sender",
        OURS.sending(functions, connected_to=OTHER),
        [
            (peer.name, peer.sending(functions, connected_to=OTHER), at_most(1) if peer is DJANGO_CACHING else None)
            for peer in PEERS
            if peer.by_sender
        ],
    )


def _coming(library: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """What each library's user calls to connect a function and to disconnect it."""
    if library == "pyee":
        emitter = EventEmitter()
        return partial(emitter.on, "bench"), partial(emitter.remove_listener, "bench")
    signal = blinker.Signal() if library == "blinker" else Signal("bench")
    return signal.connect, signal.disconnect


def _among(library: str, functions: Receivers, one: Callable[..., None]) -> Loop:
    connect, disconnect = _coming(library)
    for function in functions:
        connect(function)
    return Loop("connect(one); disconnect(one)", per=2, connect=connect, disconnect=disconnect, one=one)


def _rising_and_falling(library: str, functions: Receivers) -> Loop:
    connect, disconnect = _coming(library)
    return Loop(
        "for function in functions: connect(function)\nfor function in functions: disconnect(function)",
        per=2 * len(functions),
        connect=connect,
        disconnect=disconnect,
        functions=functions,
    )


def churning(size: int = 10_000) -> list[Row]:
    """One comes and goes among many; many come and go; and whether many make it slower.

    Of the others, each connect looks at all who are connected: they would take minutes to set up.
    """
    functions, one = receivers(size), receivers(1)[0]
    rows = beside(
        f"connect, disconnect among {size:,}",
        _among("rxhub", functions, one),
        [
            (peer, _among(peer, functions, one), at_most(1) if peer == "blinker" else None)
            for peer in ("blinker", "pyee")
        ],
    )
    rows += beside(
        f"connect {size:,}, then disconnect them",
        _rising_and_falling("rxhub", functions),
        [("blinker", _rising_and_falling("blinker", functions), at_most(1))],
        rounds=15,
    )
    many = receivers(100_000)
    rows.append(
        compare(
            "connect, disconnect among 100,000",
            _among("rxhub", many, one),
            _among("rxhub", many[:100], one),
            at_most(1.25),
            peer_name="among 100",
        )
    )
    return rows


def _size(library: Library, functions: Sequence[Any], senders: Sequence[Any]) -> float:
    """Bytes a connection, with what a first send makes."""
    connect, statement, names = library.make()
    gc.collect()
    tracemalloc.start()
    for function, sender in zip(functions, senders, strict=True):
        connect(function, sender)
    exec(statement, {"sender": SENDER, **names})
    gc.collect()
    size = tracemalloc.get_traced_memory()[0] / len(functions)
    tracemalloc.stop()
    return size


def memory(size: int = 20_000) -> list[Row]:
    """Bytes a connection."""
    functions, everybody = receivers(size), [None] * size
    own = [Someone() for _ in range(size)]
    methods = [someone.react for someone in own]
    blinkers = _size(BLINKER, functions, everybody)
    return [
        Row(
            "memory a connection, to every sender",
            _size(OURS, functions, everybody),
            blinkers,
            "blinker",
            goal=bytes_within(500),
            unit="B",
        ),
        Row("memory a connection, each to a sender of its own", _size(OURS, functions, own), unit="B"),
        Row("memory a connection of a bound method, to every sender", _size(OURS, methods, everybody), unit="B"),
    ]


def run() -> list[Row]:
    """Measure all rows."""
    return [*sending(1, 3), *sending(10, 1.7), *sending(1_000, 1.5), *missing(), *churning(), *memory()]


if __name__ == "__main__":
    print(table(run()))
