"""`signal.receivers`: the connections as Django's list of rows.

Programs read and write this list: tests assign `[]` and restore the old list, others append, sort or filter. Changes to
the list are therefore applied to the signal. Each row is the tuple of the installed Django, and refers to its
connection, so that restoring the row restores sender, priority and subscription. A program can also insert its own
rows, for example with wrapped receivers. Such a row becomes an `InsertedConnection`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib import import_module
from typing import Any, cast
from weakref import ref

from rxhub.compat.observed_list import ObservedList
from rxhub.signals.connection import Connection, SenderSlot, key_of
from rxhub.signals.connections import Connections
from rxhub.signals.receiver import PLAIN

__all__ = ["InsertedConnection", "ReceiverRow", "Receivers", "connection_of", "identity"]


class ReceiverRow(tuple[Any, ...]):  # noqa: SLOT001 - a tuple's slots hold nothing
    """`((dispatch_uid or id of the receiver, id of the sender), receiver or weak reference, is_async)`.

    Since Django 6.1, a weak reference to the sender precedes `is_async`.
    """

    connection: Connection


class InsertedConnection(Connection):
    """The connection of a row that a program inserted into `receivers`."""

    __slots__ = ("row",)

    row: tuple[Any, ...]

    def __call__(self) -> Any:
        return _target(self.row[1])


class Receivers(ObservedList):
    """The rows of a signal. Until it is read, the list is empty, and connecting does not update it."""

    shown = False

    def show(self, connections: Iterable[Connection]) -> None:
        """Fill in the rows of connections, and keep them up to date from now on."""
        self.shown = True
        cast("Any", list).__setitem__(self, slice(None), [*map(_row, connections)])


def connection_of(row: tuple[Any, ...], connected: Iterable[Connection], connections: Connections) -> Connection | None:
    """The connection of a row or of a copied row; a new one for a new row, None if its receiver or sender is dead."""
    if isinstance(row, ReceiverRow):
        return row.connection
    if not isinstance(row, tuple):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise _invalid_row(row)
    same_key: Connection | None = None
    for connection in (*[each for each in row if isinstance(each, Connection)], *connected):
        shown = _row(connection)
        if shown == row:
            return connection
        if shown[:1] == row[:1]:
            same_key = connection
    return _inserted(row, same_key, connections)


def _inserted(row: tuple[Any, ...], replaced: Connection | None, connections: Connections) -> InsertedConnection | None:
    """A new connection for a row of a program; it keeps the priority and subscription of the one with its key."""
    try:
        (_, sender_key), receiver, *sender_reference, is_async = row
        hash(sender_key)
        (sender_reference,) = sender_reference or (None,)
    except (TypeError, ValueError):
        raise _invalid_row(row) from None
    weak = isinstance(receiver, ref)
    # For a WeakMethod, the object: the method would be a temporary one.
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


def _invalid_row(row: object) -> ValueError:
    return ValueError(
        f"{row!r} is not a row of signal.receivers: ((id of the receiver, id of the sender), receiver, is_async), "
        "since Django 6.1 with a weak reference to the sender before is_async. To connect, use signal.connect(…)."
    )


def _target(of: Any) -> Any:
    """Dereference a weak reference; return anything else unchanged."""
    return cast("ref[Any]", of)() if isinstance(of, ref) else of


def _slot(sender_key: Any, sender: Any, connections: Connections) -> SenderSlot:
    """The slot of a row. In Django 5, only the id of the sender is known."""
    if sender is not None or sender_key == identity(None):
        return SenderSlot(key_of(sender), sender, connections.dead.append)
    for slot in [*connections.slots.values()]:
        if slot.sender is not None and identity(slot.sender) == sender_key:
            return slot
    return SenderSlot(sender_key, None)


def identity(target: Any) -> Any:
    """The identity of a receiver or a sender in Django."""
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
