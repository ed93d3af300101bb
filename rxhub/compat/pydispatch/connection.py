"""Routes, and the rxhub signals that carry them.

A *route* is one connection of PyDispatcher's: a reference to a receiver, under a sender and a signal's key, each of
which may be `ANY`. Every key with a route has a `KeySignal`, a signal of rxhub's whose receivers are the routes.

PyDispatcher calls those of (sender, signal) first, then (sender, Any), (Any, signal) and (Any, Any), and nobody twice.
The *rank* of a route is its place among these four, and its priority in the signal is `FIRST + rank`. A route to any
signal is connected to every `KeySignal`. A receiver with several routes is called by the first: each other one
finds that one when it looks at the places before its own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from inspect import CO_VARKEYWORDS
from types import FunctionType, MethodType
from typing import Any
from weakref import ReferenceType

from rxhub.compat.pydispatch.robustapply import function, robustApply
from rxhub.compat.pydispatch.saferef import BoundMethodWeakref
from rxhub.signals.signal import Signal

__all__ = ["ANONYMOUS", "ANY", "FIRST", "POSITIONAL", "WEAKREF_TYPES", "KeySignal", "Parameter", "Route"]

FIRST = 100
"""The priority of the routes of one sender and one signal; those of the other three ranks follow it."""

POSITIONAL = "*"
"""Under this name an emission holds the positional arguments, if there are any."""

WEAKREF_TYPES: tuple[type[Any], ...] = (ReferenceType, BoundMethodWeakref)
"""The types of what refers to a receiver that may die."""


class Parameter:
    """Stands for what was not given."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


ANY = Parameter("_Any")
ANONYMOUS = Parameter("_Anonymous")
_PASSED_OVER = Parameter("passed over")


class Route:
    """One connection, and the receiver that a `KeySignal` calls for it.

    Args:
        receiver: who is called, for what can be known of it beforehand.
        precedes: tells for a route, a sender and a key whether the receiver is called by an earlier route.

    Attributes:
        home: the signal of the key, which lives as long as it has a route.
        key: the signal's key, or `ANY`.
        senderkey: the id of the sender, or of `ANY`.
        only: the sender itself, if it is to be compared by identity here; else `ANY`. rxhub compares texts and
            numbers by equality, and takes None for everybody.
        rank: its place among the four lists of PyDispatcher.
        reference: as `getReceivers` gives it: a weak reference, or the receiver itself.
        held: the receiver, if it lives as long as the plugin that connected it.
        forget: tells that plugin that the route has left before.
    """

    __slots__ = (
        "__weakref__",
        "_accepted",
        "_precedes",
        "forget",
        "held",
        "home",
        "key",
        "only",
        "rank",
        "reference",
        "senderkey",
    )

    def __init__(
        self,
        home: KeySignal,
        senderkey: int,
        only: Any,
        reference: Any,
        receiver: Any,
        precedes: Callable[[Route, Any, Hashable], bool],
    ) -> None:
        self.home = home
        self.key = home.key
        self.senderkey = senderkey
        self.only = only
        self.rank = 2 * (senderkey == id(ANY)) + (home.key is ANY)
        self.reference = reference
        self.held: Any = None
        self.forget: Callable[[], object] | None = None
        self._accepted = _accepted_by(receiver)
        self._precedes = precedes

    @property
    def receiver(self) -> Any:
        """Who is called; None once it has died."""
        reference = self.reference
        return reference() if isinstance(reference, WEAKREF_TYPES) else reference

    @property
    def __wrapped__(self) -> Any:
        # By this name, as of a decorated function, descriptions know who stands behind it.
        return self.receiver

    def __call__(self, /, signal: KeySignal, sender: Any, **named: Any) -> Any:
        """Call the receiver with what it accepts; returns `(receiver, response)`, as `send` does."""
        receiver = self.receiver
        key = signal.key
        if receiver is None or (self.only is not ANY and sender is not self.only):
            return _PASSED_OVER
        if self.rank and self._precedes(self, sender, key):
            return _PASSED_OVER
        if POSITIONAL in named or self._accepted is _UNKNOWN:
            arguments = named.pop(POSITIONAL, ())
            return receiver, robustApply(receiver, *arguments, **named, signal=key, sender=sender)
        named["signal"] = key
        named["sender"] = sender
        if self._accepted is not None:
            named = {name: named[name] for name in self._accepted if name in named}
        return receiver, receiver(**named)

    def __repr__(self) -> str:
        return f"<route of {self.key!r} to {self.receiver!r}>"


_UNKNOWN = ("(unknown)",)


def _accepted_by(receiver: Any) -> tuple[str, ...] | None:
    """The names that `robustApply` would offer the receiver; None for all, `_UNKNOWN` if it must be asked each time."""
    if type(receiver) not in (FunctionType, MethodType):
        return _UNKNOWN
    try:
        _, code, bound = function(receiver)
    except (AttributeError, ValueError):
        return _UNKNOWN
    return None if code.co_flags & CO_VARKEYWORDS else code.co_varnames[bound : code.co_argcount]


class KeySignal(Signal[...]):
    """The signal of one of PyDispatcher's keys: its receivers are called with the key as `signal`.

    Attributes:
        key: the key, any hashable object.
    """

    def __init__(self, key: Hashable) -> None:
        super().__init__(key if isinstance(key, str) else repr(key))
        self.key = key

    def send(self, /, sender: Any = None, **named: Any) -> list[tuple[Any, Any]]:
        return _answers(super().send(sender, **named))

    def send_robust(self, /, sender: Any = None, **named: Any) -> list[tuple[Any, Any]]:
        return _answers(super().send_robust(sender, **named))

    async def asend(self, /, sender: Any = None, **named: Any) -> list[tuple[Any, Any]]:
        return _answers(await super().asend(sender, **named))

    async def asend_robust(self, /, sender: Any = None, **named: Any) -> list[tuple[Any, Any]]:
        return _answers(await super().asend_robust(sender, **named))


def _answers(given: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """The answers of receivers instead of those of their routes."""
    answers: list[tuple[Any, Any]] = []
    for call, value in given:
        if type(call) is not Route:
            answers.append((call, value))
        elif isinstance(value, Exception):
            # Its traceback has kept the receiver.
            answers.append((call.receiver, value))
        elif value is not _PASSED_OVER:
            answers.append(value)
    return answers
