"""A signal: its receivers, in order."""

from __future__ import annotations

from itertools import islice
from typing import Any

from rxhub.display.page import MAX_ROWS, Page, Part, Remark, Table
from rxhub.display.subscribers import format_priority
from rxhub.expression.pretty import redacted_subscription
from rxhub.signals.connection import Connection
from rxhub.signals.signal import Signal
from rxhub.text.names import callback_name, sender_name
from rxhub.text.safe_repr import safe_repr

__all__ = ["signal_page"]

_HEADINGS = ("priority", "receiver", "sender", "where", "dispatch_uid", "kept", "plugin")


def signal_page(signal: Signal[Any]) -> Page:
    """Render a signal."""
    connections = signal.connections
    rows = [_row(connection) for connection in islice(connections, MAX_ROWS)]
    parts: list[Part] = [Table(_HEADINGS, rows, total=len(connections), numbers=("priority",))]
    if not connections:
        parts = [Remark("no receivers")]
    return Page(signal.name, [type(signal).__name__, f"{len(connections)} connected" if connections else ""], parts)


def _row(connection: Connection) -> tuple[str, ...]:
    sender = connection.sender
    owner = connection.owner
    return (
        format_priority(connection.priority),
        "(pipeline)" if connection.spec.is_observer else callback_name(connection.receiver),
        "" if sender is None else safe_repr(sender) if isinstance(sender, str) else sender_name(sender) or "",
        redacted_subscription(connection.where or ""),
        "" if connection.dispatch_uid is None else safe_repr(connection.dispatch_uid),
        "weakly" if connection.weak else "strongly",
        "" if owner is None else owner.name,
    )
