"""A signal: its receivers, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from rxhub.display.page import MOST_ROWS, Note, Page, Part, Table
from rxhub.display.subscribers import number
from rxhub.text.names import callback_name, sender_name
from rxhub.text.safe_repr import safe_repr

if TYPE_CHECKING:
    from rxhub.signals.connections import Connection

__all__ = ["page"]

_RECEIVERS = ("priority", "receiver", "sender", "where", "dispatch_uid", "kept", "plugin")


def page(kind: str, name: str, connections: Sequence[Connection], told: Callable[[str], str]) -> Page:
    """What a notebook shows of a signal of this class and name; `told` takes the secrets out of a subscription."""
    rows = [_row(connection, told) for connection in islice(connections, MOST_ROWS)]
    parts: list[Part] = [Table(_RECEIVERS, rows, total=len(connections), numbers=("priority",))]
    if not connections:
        parts = [Note("nobody is connected")]
    return Page(name, [kind, f"{len(connections)} connected" if connections else ""], parts)


def _row(connection: Connection, told: Callable[[str], str]) -> tuple[str, ...]:
    sender = connection.sender
    owner = connection.owner
    return (
        number(connection.priority),
        "(pipeline)" if connection.spec.is_observer else callback_name(connection.receiver),
        "" if sender is None else safe_repr(sender) if isinstance(sender, str) else sender_name(sender) or "",
        told(connection.where or ""),
        "" if connection.dispatch_uid is None else safe_repr(connection.dispatch_uid),
        "weakly" if connection.weak else "strongly",
        "" if owner is None else owner.name,
    )
