"""`signal.receivers`: the connections as the list that Django keeps.

Public code reads this list, and it also writes it: tests put `[]` there and put the old list back, others append, sort
or filter. So it is a list, and what is done to it is done to the signal. Each row is the tuple that the installed
Django would have there, and remembers its connection, which can then be made again with its sender, its priority and
its subscription.

A program may also put in rows that it made itself, for example with each receiver wrapped. Such a row becomes an
`InsertedConnection`, which keeps the row as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import wraps
from importlib import import_module
from typing import Any, Protocol, cast
from weakref import ref

from rxhub.signals.connections import Connection, Connections, SenderSlot, key_of
from rxhub.signals.receiver import PLAIN

__all__ = ["InsertedConnection", "ReceiverRow", "Receivers", "connection_of", "identity"]


class ReceiverRow(tuple[Any, ...]):  # noqa: SLOT001 - a tuple's slots hold nothing
    """`((dispatch_uid or id of the receiver, id of the sender), receiver or weak reference, is_async)`.

    From Django 6.1 on, a weak reference to the sender stands before `is_async`.
    """

    connection: Connection


class InsertedConnection(Connection):
    """The connection of a row that a program put into `receivers`.

    Attributes:
        row: as it was put there.
    """

    __slots__ = ("row",)

    row: tuple[Any, ...]

    def __call__(self) -> Any:
        return _target(self.row[1])


class _SignalWithReceivers(Protocol):
    def adopt(self, rows: Receivers, /) -> None: ...


class Receivers(list[ReceiverRow]):
    """The rows of a signal; as long as it is the signal's list, changing it changes the signal.

    Attributes:
        signal: the signal; None once it has got another list.
        shown: whether anybody has looked; until then it is empty, so that connecting costs nothing more.
    """

    def __init__(self, signal: _SignalWithReceivers) -> None:
        super().__init__()
        self.signal: _SignalWithReceivers | None = signal
        self.shown = False

    def show(self, connections: Iterable[Connection]) -> None:
        """Have the rows of these connections, from now on kept up to date."""
        self.shown = True
        super().__setitem__(slice(None), [*map(_row, connections)])


def _notifying(name: str) -> Callable[..., Any]:
    change = cast("Callable[..., Any]", getattr(list, name))

    @wraps(change)
    def method(self: Receivers, *arguments: Any, **keywords: Any) -> Any:
        result = change(self, *arguments, **keywords)
        if self.signal is not None:
            self.signal.adopt(self)
        return result

    return method


for _name in (
    "__delitem__",
    "__iadd__",
    "__imul__",
    "__setitem__",
    "append",
    "clear",
    "extend",
    "insert",
    "pop",
    "remove",
    "reverse",
    "sort",
):
    setattr(Receivers, _name, _notifying(_name))


def connection_of(row: tuple[Any, ...], connected: Iterable[Connection], connections: Connections) -> Connection | None:
    """The connection that a row stands for, also one that was copied by hand; a new one for a row that is new.

    Returns:
        None if the receiver or the sender of a new row has died.

    Raises:
        ValueError: if Django could not send by the row either.
    """
    if isinstance(row, ReceiverRow):
        return row.connection
    if not isinstance(row, tuple):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise _refusal(row)
    same_key: Connection | None = None
    for connection in (*[each for each in row if isinstance(each, Connection)], *connected):
        shown = _row(connection)
        if shown == row:
            return connection
        if shown[:1] == row[:1]:
            same_key = connection
    return _inserted(row, same_key, connections)


def _inserted(row: tuple[Any, ...], replaced: Connection | None, connections: Connections) -> InsertedConnection | None:
    """A connection, not seated yet, by a row that a program made.

    Args:
        row: what Django would have in its list.
        replaced: the connection of the row with the same key, whose priority and subscription it takes over.
        connections: of the signal.
    """
    try:
        (_, sender_key), receiver, *sender_reference, is_async = row
        hash(sender_key)
        (sender_reference,) = sender_reference or (None,)
    except (TypeError, ValueError):
        raise _refusal(row) from None
    weak = isinstance(receiver, ref)
    # Of a WeakMethod, the object; itself it gives a method made for the occasion.
    target = cast("Callable[..., Any]", ref.__call__)(receiver) if weak else cast("Any", type(receiver))
    sender = _target(sender_reference)
    if target is None or (sender_reference is not None and sender is None):
        return None
    connection = InsertedConnection(target, connections.dead.append)
    connection.row = row
    connection.alive = False
    connection.kept = None if weak else receiver
    connection.key = ("row", id(connection))
    connection.priority = 100 if replaced is None else replaced.priority
    spec = PLAIN if replaced is None else replace(replaced.spec, owner=None, leave=None)
    connection.spec = spec if spec.is_async == bool(is_async) else replace(spec, is_async=bool(is_async))
    connection.slot = _slot(sender_key, sender, connections)
    return connection


def _refusal(row: object) -> ValueError:
    return ValueError(
        f"{row!r} is not a row of signal.receivers: ((id of the receiver, id of the sender), receiver, is_async), "
        "since Django 6.1 with a weak reference to the sender before is_async. To connect, use signal.connect(…)."
    )


def _target(of: Any) -> Any:
    """What a weak reference refers to; anything else itself."""
    return cast("ref[Any]", of)() if isinstance(of, ref) else of


def _slot(sender_key: Any, sender: Any, connections: Connections) -> SenderSlot:
    """Where a row belongs; its sender may be known by its id alone, as in Django 5."""
    if sender is not None or sender_key == identity(None):
        return SenderSlot(key_of(sender), sender, connections.dead.append)
    for slot in [*connections.slots.values()]:
        if slot.sender is not None and identity(slot.sender) == sender_key:
            return slot
    return SenderSlot(sender_key, None)


def identity(target: Any) -> Any:
    """What Django knows a receiver or a sender by."""
    return import_module("django.dispatch.dispatcher")._make_id(target)


def _row(connection: Connection) -> ReceiverRow:
    if isinstance(connection, InsertedConnection):
        row = ReceiverRow(connection.row)
        row.connection = connection
        return row
    receiver, sender = connection(), connection.sender
    key = (connection.dispatch_uid or identity(receiver), identity(sender))
    last: tuple[Any, ...] = (connection.spec.is_async,)
    if import_module("django").VERSION >= (6, 1):
        last = (connection.slot.reference if isinstance(connection.slot.reference, ref) else None, *last)
    row = ReceiverRow((key, connection if connection.weak else receiver, *last))
    row.connection = connection
    return row
