"""`signal.receivers`: the connections as the list that Django keeps.

Public code reads this list, and it also writes it: tests put `[]` there and put the old list back, others append, sort
or filter. So it is a list, and what is done to it is done to the signal. Each row is the tuple that the installed
Django would have there, and remembers its connection, which can then be made again with its sender, its priority and
its subscription.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from importlib import import_module
from typing import Any, Protocol, cast
from weakref import ref

from rxhub.seats import Connection

__all__ = ["Receivers", "Row", "connection_of", "identity"]


class Row(tuple[Any, ...]):  # noqa: SLOT001 - a tuple's slots hold nothing
    """`((dispatch_uid or id of the receiver, id of the sender), receiver or weak reference, is_async)`.

    From Django 6.1 on, a weak reference to the sender stands before `is_async`.
    """

    connection: Connection


class _Keeper(Protocol):
    def adopt(self, rows: Receivers, /) -> None: ...


class Receivers(list[Row]):
    """The rows of a signal; as long as it is the signal's list, changing it changes the signal.

    Attributes:
        keeper: the signal; None once it has got another list.
        shown: whether anybody has looked; until then it is empty, so that connecting costs nothing more.
    """

    def __init__(self, keeper: _Keeper) -> None:
        super().__init__()
        self.keeper: _Keeper | None = keeper
        self.shown = False

    def show(self, connections: Iterable[Connection]) -> None:
        """Have the rows of these connections, from now on kept up to date."""
        self.shown = True
        super().__setitem__(slice(None), [*map(_row, connections)])


def _changing(name: str) -> Callable[..., Any]:
    change = cast("Callable[..., Any]", getattr(list, name))

    @wraps(change)
    def method(self: Receivers, *arguments: Any, **keywords: Any) -> Any:
        result = change(self, *arguments, **keywords)
        if self.keeper is not None:
            self.keeper.adopt(self)
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
    setattr(Receivers, _name, _changing(_name))


def connection_of(row: tuple[Any, ...], connected: Iterable[Connection]) -> Connection:
    """The connection that a row stands for, also one that was copied by hand.

    Raises:
        ValueError: if the row stands for none.
    """
    if isinstance(row, Row):
        return row.connection
    for each in row:
        if isinstance(each, Connection):
            return each
    for connection in connected:
        if _row(connection) == row:
            return connection
    raise ValueError(
        f"{row!r} is no row that was in signal.receivers, and does not name its sender. Use signal.connect(…)."
    )


def identity(target: Any) -> Any:
    """What Django knows a receiver or a sender by."""
    return import_module("django.dispatch.dispatcher")._make_id(target)


def _row(connection: Connection) -> Row:
    receiver, sender = connection(), connection.sender
    key = (connection.dispatch_uid or identity(receiver), identity(sender))
    last: tuple[Any, ...] = (connection.terms.awaits,)
    if import_module("django").VERSION >= (6, 1):
        last = (connection.seat.reference if isinstance(connection.seat.reference, ref) else None, *last)
    row = Row((key, connection if connection.weak else receiver, *last))
    row.connection = connection
    return row
