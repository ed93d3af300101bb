"""PyDispatcher's functions over rxhub's signals: `from rxhub.compat.pydispatch import dispatcher`.

Every signal key has an `rxhub.Signal` behind it, `signal_of(key)`, on which pipelines compose; they get what is
sent here, and what the signal itself sends reaches the receivers that were connected here.

Attributes:
    connections: `{id of the sender: {signal: [references to receivers]}}`.
    senders: `{id of the sender: weak reference to it}`.
    sendersBack: `{id of the reference to a receiver: [ids of senders]}`.

These three are views, made anew at each look. `connections.clear()` disconnects everybody, and so does
`dispatcher.connections = {}`; the other two follow.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Hashable, ItemsView, Iterable, Iterator, Mapping, ValuesView
from types import ModuleType
from typing import Any as _Anything
from typing import TypeVar

from rxhub.compat.pydispatch import errors, robustapply, saferef
from rxhub.compat.pydispatch.connection import ANONYMOUS, ANY, POSITIONAL, WEAKREF_TYPES, KeySignal
from rxhub.compat.pydispatch.connections import table

__all__ = [
    "WEAKREF_TYPES",
    "Anonymous",
    "Any",
    "connect",
    "connections",
    "disconnect",
    "errors",
    "getAllReceivers",
    "getReceivers",
    "liveReceivers",
    "robustapply",
    "saferef",
    "send",
    "sendExact",
    "senders",
    "sendersBack",
    "signal_of",
    "weakref",
]

Any: _Anything = ANY
"""Every signal, or every sender."""

Anonymous: _Anything = ANONYMOUS
"""The sender of what is sent without one."""


def connect(receiver: _Anything, signal: _Anything = Any, sender: _Anything = Any, weak: bool = True) -> None:
    """Let `receiver` be called with what it accepts of `signal`, `sender` and what is sent.

    Connecting a receiver again gives it the last place.

    Args:
        receiver: a callable that can be hashed.
        signal: any hashable object but None; `Any` for every signal.
        sender: any object; `Any` for every sender, `Anonymous` for what is sent without one.
        weak: let the receiver die when nobody else holds it; bound methods live as long as their object.

    Raises:
        DispatcherTypeError: if the signal is None, or the receiver cannot be hashed or not be held weakly.
    """
    table.connect(receiver, _checked(signal, receiver, sender), sender, weak)


def disconnect(receiver: _Anything, signal: _Anything = Any, sender: _Anything = Any, weak: bool = True) -> None:
    """Undo `connect` with the same arguments.

    Raises:
        DispatcherTypeError: if the signal is None.
        DispatcherKeyError: if nobody at all is connected to the signal from the sender. (As in PyDispatcher, it is no
            error if others are.)
    """
    table.disconnect(receiver, _checked(signal, receiver, sender), sender, weak)


def send(
    signal: _Anything = Any, sender: _Anything = Anonymous, *arguments: _Anything, **named: _Anything
) -> list[tuple[_Anything, _Anything]]:
    """Call the receivers, those of this sender first.

    The order is: who is connected to (`signal`, `sender`), to (`Any`, `sender`), to (`signal`, `Any`), and to
    (`Any`, `Any`); nobody is called twice.

    Args:
        signal: the signal.
        sender: who sends it; `Any` reaches those of every sender only.
        arguments: passed to every receiver.
        named: each receiver gets those that it accepts.

    Returns:
        `[(receiver, response), …]`.

    Raises:
        Exception: what a receiver raises; the later ones are then not called.
    """
    carrier = table.heard(signal)
    if carrier is None:
        return []
    if arguments:
        named[POSITIONAL] = arguments
    return carrier.send(sender, **named)


def sendExact(  # noqa: N802 - PyDispatcher's name, as those below
    signal: _Anything = Any, sender: _Anything = Anonymous, *arguments: _Anything, **named: _Anything
) -> list[tuple[_Anything, _Anything]]:
    """Call those who are connected to exactly this signal and this sender; no pipeline gets it.

    Returns:
        `[(receiver, response), …]`.
    """
    return [
        (receiver, robustapply.robustApply(receiver, *arguments, **named, signal=signal, sender=sender))
        for receiver in liveReceivers(getReceivers(sender, signal))
    ]


def getReceivers(sender: _Anything = Any, signal: _Anything = Any) -> list[_Anything]:  # noqa: N802
    """The references to those who are connected to exactly this sender and this signal: a new list."""
    return table.references(id(sender), signal)


def liveReceivers(receivers: Iterable[_Anything]) -> Iterator[_Anything]:  # noqa: N802
    """The receivers behind references, without those that have died."""
    for receiver in receivers:
        if not isinstance(receiver, WEAKREF_TYPES):
            yield receiver
        elif (alive := receiver()) is not None:
            yield alive


def getAllReceivers(sender: _Anything = Any, signal: _Anything = Any) -> Iterator[_Anything]:  # noqa: N802
    """The references to those whom `send` would call, in its order."""
    seen: set[_Anything] = set()
    for place in ((sender, signal), (sender, Any), (Any, signal), (Any, Any)):
        for reference in getReceivers(*place):
            if reference not in seen:
                seen.add(reference)
                yield reference


def signal_of(key: Hashable) -> KeySignal:
    """The rxhub signal behind a key, for pipelines and receivers in rxhub's manner.

    The receivers of `connect` stand in it at the priorities 100 to 103.

    Raises:
        DispatcherTypeError: if the key is None or `Any`.
    """
    if key is None or key is Any:
        raise errors.DispatcherTypeError(
            f"There is no signal of {key!r}: ask for the signal of a key, or connect a receiver to Any."
        )
    return table.keep(key)


def _checked(signal: _Anything, receiver: _Anything, sender: _Anything) -> _Anything:
    if signal is None:
        raise errors.DispatcherTypeError(
            f"Signal cannot be None (receiver={receiver!r} sender={sender!r}). Name one, or use Any for all."
        )
    return signal


_V = TypeVar("_V")


class _View(Mapping[int, _V]):
    """A table as it is now."""

    def __init__(self, look: Callable[[], dict[int, _V]]) -> None:
        self._look = look

    def __getitem__(self, key: int) -> _V:
        return self._look()[key]

    def __iter__(self) -> Iterator[int]:
        return iter(self._look())

    def __len__(self) -> int:
        return len(self._look())

    def items(self) -> ItemsView[int, _V]:
        # Not key by key: somebody may die between two looks.
        return self._look().items()

    def values(self) -> ValuesView[_V]:
        return self._look().values()

    def __copy__(self) -> dict[int, _V]:
        return self._look()

    copy = __copy__

    def clear(self) -> None:
        """Disconnect everybody; of the three tables, `connections` alone decides."""
        if self is connections:
            table.clear()

    def __repr__(self) -> str:
        return repr(self._look())


connections: _View[dict[Hashable, list[_Anything]]] = _View(table.connections)
senders: _View[weakref.ref[_Anything]] = _View(table.senders)
sendersBack: _View[list[int]] = _View(table.senders_back)  # noqa: N816 - PyDispatcher's name


class _Dispatcher(ModuleType):
    """Test suites reset PyDispatcher by `dispatcher.connections = {}`; the routes are elsewhere here."""

    def __setattr__(self, name: str, value: _Anything) -> None:
        view = self.__dict__.get(name)
        if not isinstance(view, _View):
            super().__setattr__(name, value)
        elif value is not view:
            if value:
                raise errors.DispatcherTypeError(
                    f"dispatcher.{name} is a view and cannot be replaced by {value!r}; only by {{}}, which disconnects "
                    "everybody. Connect with dispatcher.connect()."
                )
            view.clear()


sys.modules[__name__].__class__ = _Dispatcher
