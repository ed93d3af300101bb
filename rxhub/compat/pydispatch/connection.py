"""PyDispatcher's connections, and the rxhub signals that call their receivers.

A connection is a reference to a receiver under a sender and a signal key; both may be `ANY`. Each key with a connection
has a `KeySignal`, whose receivers are the connections.

PyDispatcher calls the connections of (sender, signal) first, then (sender, Any), (Any, signal) and (Any, Any), and each
receiver once. The rank of a connection is the index of its list among these four; its priority in the signal is
`FIRST + rank`. A connection to any signal is connected to every `KeySignal`. A receiver with several connections is
called by the first; the others find that one in the lists before their own, and skip.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import suppress
from inspect import CO_VARKEYWORDS
from types import FunctionType, MethodType
from typing import Any
from weakref import ReferenceType

from rxhub.compat.pydispatch.robustapply import function, robustApply
from rxhub.compat.pydispatch.saferef import BoundMethodWeakref
from rxhub.signals.signal import Signal

__all__ = ["ANONYMOUS", "ANY", "FIRST", "POSITIONAL", "WEAKREF_TYPES", "KeyConnection", "KeySignal", "Parameter"]

FIRST = 100  # the priority of connections with rank 0
POSITIONAL = "*"  # the emission key that holds the positional arguments, if any
WEAKREF_TYPES: tuple[type[Any], ...] = (ReferenceType, BoundMethodWeakref)  # of receivers


class Parameter:
    """A sentinel."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


ANY = Parameter("_Any")
ANONYMOUS = Parameter("_Anonymous")
_SKIPPED = Parameter("skipped")


class KeyConnection:
    """One connection, as a receiver of a `KeySignal`, which it keeps alive.

    Attributes:
        only: the sender, if the connection compares it by identity; else `ANY`. rxhub compares strings and numbers by
            equality, and None means every sender.
        rank: the index of its list among PyDispatcher's four.
        reference: a weak reference or the receiver itself, as returned by `getReceivers`.
        held: the receiver, if the scope that connected it keeps it alive.
        on_removed: removes the connection from that scope.
    """

    def __init__(
        self,
        key_signal: KeySignal,
        senderkey: int,
        only: Any,
        reference: Any,
        receiver: Any,
        has_earlier: Callable[[KeyConnection, Any, Hashable], bool],
    ) -> None:
        self.key_signal = key_signal
        self.key = key_signal.key
        self.senderkey = senderkey
        self.only = only
        self.rank = 2 * (senderkey == id(ANY)) + (key_signal.key is ANY)
        self.reference = reference
        self.held: Any = None
        self.on_removed: Callable[[], object] | None = None
        self._accepted = _accepted_by(receiver)
        self._has_earlier = has_earlier

    @property
    def receiver(self) -> Any:
        reference = self.reference
        return reference() if isinstance(reference, WEAKREF_TYPES) else reference

    @property
    def __wrapped__(self) -> Any:
        # Descriptions look for the receiver under this name, as for decorated functions.
        return self.receiver

    def __call__(self, /, signal: KeySignal, sender: Any, **named: Any) -> Any:
        """Call the receiver with the arguments that it accepts; return `(receiver, response)`."""
        receiver = self.receiver
        key = signal.key
        if receiver is None or (self.only is not ANY and sender is not self.only):
            return _SKIPPED
        if self.rank and self._has_earlier(self, sender, key):
            return _SKIPPED
        if POSITIONAL in named or self._accepted is _UNKNOWN:
            arguments = named.pop(POSITIONAL, ())
            return receiver, robustApply(receiver, *arguments, **named, signal=key, sender=sender)
        named["signal"] = key
        named["sender"] = sender
        if self._accepted is not None:
            named = {name: named[name] for name in self._accepted if name in named}
        return receiver, receiver(**named)

    def __repr__(self) -> str:
        return f"<connection of {self.key!r} to {self.receiver!r}>"


_UNKNOWN = ("(unknown)",)


def _accepted_by(receiver: Any) -> tuple[str, ...] | None:
    """The argument names that `robustApply` would pass; None for all, `_UNKNOWN` if it must inspect each call."""
    if type(receiver) in (FunctionType, MethodType):
        with suppress(AttributeError, ValueError):
            _, code, bound = function(receiver)
            return None if code.co_flags & CO_VARKEYWORDS else code.co_varnames[bound : code.co_argcount]
    return _UNKNOWN


class KeySignal(Signal[...]):
    """The signal of one PyDispatcher key. Receivers get the key as `signal`."""

    def __init__(self, key: Hashable) -> None:
        super().__init__(key if isinstance(key, str) else repr(key))
        self.key = key

    def send(self, /, sender: Any = None, **named: Any) -> list[tuple[Any, Any]]:
        return _responses(super().send(sender, **named))

    def send_robust(self, /, sender: Any = None, **named: Any) -> list[tuple[Any, Any]]:
        return _responses(super().send_robust(sender, **named))

    async def asend(self, /, sender: Any = None, **named: Any) -> list[tuple[Any, Any]]:
        return _responses(await super().asend(sender, **named))

    async def asend_robust(self, /, sender: Any = None, **named: Any) -> list[tuple[Any, Any]]:
        return _responses(await super().asend_robust(sender, **named))


def _responses(given: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Replace connections by their receivers."""
    responses: list[tuple[Any, Any]] = []
    for call, value in given:
        if type(call) is not KeyConnection:
            responses.append((call, value))
        elif isinstance(value, Exception):
            # The traceback keeps the receiver alive.
            responses.append((call.receiver, value))
        elif value is not _SKIPPED:
            responses.append(value)
    return responses
