"""PyDispatcher's functions over rxhub's signals: `from rxhub.compat.pydispatch import dispatcher`.

Each signal key has an `rxhub.Signal`, `signal_of(key)`, for pipelines. Pipelines receive what is sent here, and
receivers that are connected here receive what the signal sends.

`connections`, `senders` and `sendersBack` are views in PyDispatcher's format, computed at each access.
`connections.clear()` and `dispatcher.connections = {}` remove all connections; the other two views follow.
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
"""Every signal or every sender."""

Anonymous: _Anything = ANONYMOUS
"""The sender, if none was given."""


def connect(receiver: _Anything, signal: _Anything = Any, sender: _Anything = Any, weak: bool = True) -> None:
    """Call `receiver` with the arguments that it accepts of `signal`, `sender` and the sent ones.

    Connecting a receiver again moves it to the last place.

    Args:
        receiver: a callable that can be hashed.
        signal: any hashable object but None; `Any` for every signal.
        sender: any object; `Any` for every sender, `Anonymous` for signals that are sent without one.
        weak: keep only a weak reference; bound methods live as long as their object.

    Raises:
        DispatcherTypeError: if the signal is None, the receiver cannot be hashed, or does not support weak references.
    """
    table.connect(receiver, _checked(signal, receiver, sender), sender, weak)


def disconnect(receiver: _Anything, signal: _Anything = Any, sender: _Anything = Any, weak: bool = True) -> None:
    """Undo `connect` with the same arguments.

    Raises:
        DispatcherKeyError: if the signal and the sender have no connections at all, as in PyDispatcher.
    """
    table.disconnect(receiver, _checked(signal, receiver, sender), sender, weak)


def send(
    signal: _Anything = Any, sender: _Anything = Anonymous, *arguments: _Anything, **named: _Anything
) -> list[tuple[_Anything, _Anything]]:
    """Call the receivers of (`signal`, `sender`), then (`Any`, `sender`), (`signal`, `Any`) and (`Any`, `Any`).

    Each receiver is called once. It gets all positional arguments, and the named ones that it accepts. What it raises
    is raised, and later receivers are not called. The result is `[(receiver, response), …]`.
    """
    if arguments:
        named[POSITIONAL] = arguments
    key_signal = table.signal_with_receivers(signal)
    return [] if key_signal is None else key_signal.send(sender, **named)


def sendExact(  # noqa: N802 - PyDispatcher's name, as those below
    signal: _Anything = Any, sender: _Anything = Anonymous, *arguments: _Anything, **named: _Anything
) -> list[tuple[_Anything, _Anything]]:
    """Call the receivers of exactly this signal and this sender; pipelines do not receive it."""
    return [
        (receiver, robustapply.robustApply(receiver, *arguments, **named, signal=signal, sender=sender))
        for receiver in liveReceivers(getReceivers(sender, signal))
    ]


def getReceivers(sender: _Anything = Any, signal: _Anything = Any) -> list[_Anything]:  # noqa: N802
    """A new list of the references to the receivers of exactly this sender and this signal."""
    return table.references(id(sender), signal)


def liveReceivers(receivers: Iterable[_Anything]) -> Iterator[_Anything]:  # noqa: N802
    """The living receivers of references."""
    for receiver in receivers:
        if not isinstance(receiver, WEAKREF_TYPES):
            yield receiver
        elif (alive := receiver()) is not None:
            yield alive


def getAllReceivers(sender: _Anything = Any, signal: _Anything = Any) -> Iterator[_Anything]:  # noqa: N802
    """The references to the receivers that `send` would call, in its order."""
    seen: set[_Anything] = set()
    for place in ((sender, signal), (sender, Any), (Any, signal), (Any, Any)):
        for reference in getReceivers(*place):
            if reference not in seen:
                seen.add(reference)
                yield reference


def signal_of(key: Hashable) -> KeySignal:
    """The rxhub signal of a key, for pipelines and rxhub's receivers.

    The receivers of `connect` have the priorities 100 to 103 there.
    """
    if key is None or key is Any:
        raise errors.DispatcherTypeError(f"{key!r} has no signal. Pass a signal key, or connect a receiver to Any.")
    return table.permanent_signal(key)


def _checked(signal: _Anything, receiver: _Anything, sender: _Anything) -> _Anything:
    if signal is None:
        raise errors.DispatcherTypeError(
            f"Signal cannot be None (receiver={receiver!r} sender={sender!r}). Name one, or use Any for all."
        )
    return signal


_V = TypeVar("_V")


class _TableView(Mapping[int, _V]):
    """A live view of the table."""

    def __init__(self, read: Callable[[], dict[int, _V]]) -> None:
        self._read = read

    def __getitem__(self, key: int) -> _V:
        return self._read()[key]

    def __iter__(self) -> Iterator[int]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def items(self) -> ItemsView[int, _V]:
        # Not key by key: an entry may disappear between two accesses.
        return self._read().items()

    def values(self) -> ValuesView[_V]:
        return self._read().values()

    def __copy__(self) -> dict[int, _V]:
        return self._read()

    copy = __copy__

    def clear(self) -> None:
        """Remove all connections; on the other two views it does nothing."""
        if self is connections:
            table.clear()

    def __repr__(self) -> str:
        return repr(self._read())


connections: _TableView[dict[Hashable, list[_Anything]]] = _TableView(table.connections)
senders: _TableView[weakref.ref[_Anything]] = _TableView(table.senders)
sendersBack: _TableView[list[int]] = _TableView(table.senders_back)  # noqa: N816 - PyDispatcher's name


class _Dispatcher(ModuleType):
    """Lets `dispatcher.connections = {}` remove all connections, as test suites reset PyDispatcher."""

    def __setattr__(self, name: str, value: _Anything) -> None:
        view = self.__dict__.get(name)
        if not isinstance(view, _TableView):
            super().__setattr__(name, value)
        elif value is not view:
            if value:
                raise errors.DispatcherTypeError(
                    f"dispatcher.{name} is a view and cannot be replaced by {value!r}; only by {{}}, which removes all "
                    "connections. Connect with dispatcher.connect()."
                )
            view.clear()


sys.modules[__name__].__class__ = _Dispatcher
