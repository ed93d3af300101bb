"""`hub.describe()`: the subscribers of a hub, the receivers of all signals, and the plugins that connected them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rxhub.dispatching.subscriber import Subscriber
from rxhub.expression.pretty import redacted_subscription
from rxhub.rx.scope import Scope
from rxhub.signals.connection import Connection
from rxhub.signals.signal import signals
from rxhub.text.layout import format_table
from rxhub.text.names import callback_name, sender_name
from rxhub.text.printable import printable
from rxhub.text.safe_repr import safe_repr

if TYPE_CHECKING:
    from rxhub.plugins import PluginState

__all__ = ["RECEIVERS", "SUBSCRIBERS", "Description", "SignalState", "all_signals"]

SUBSCRIBERS = ("priority", "subscription", "callback", "plugin", "id")
"""The headings over `Description.subscriber_rows()`."""

RECEIVERS = ("priority", "signal", "receiver", "sender", "where", "plugin")
"""The headings over `Description.receiver_rows()`."""


@dataclass(frozen=True)
class SignalState:
    """A signal of the process at one moment, with its receivers in order."""

    name: str
    connections: tuple[Connection, ...]


def all_signals() -> tuple[SignalState, ...]:
    """Every signal of the process, in the order of creation."""
    return tuple(SignalState(signal.name, signal.connections) for signal in signals())


@dataclass(frozen=True)
class Description:
    """The subscribers, receivers and plugins at one moment; printed, a table of each.

    Attributes:
        hub: its representation.
        subscribers: in dispatch order.
        signals: every signal of the process, with its receivers in order.
        plugins: running ones in the order of starting, then the others.
    """

    hub: str
    subscribers: tuple[Subscriber, ...]
    signals: tuple[SignalState, ...] = ()
    plugins: tuple[PluginState, ...] = ()

    def __iter__(self) -> Iterator[Subscriber]:
        return iter(self.subscribers)

    def __len__(self) -> int:
        return len(self.subscribers)

    def subscriber_rows(self) -> list[tuple[str, ...]]:
        """The cells of each subscriber, under `SUBSCRIBERS`."""
        return [
            (
                _number(s.priority),
                redacted_subscription(s.subscription, s.expression) or "(everything)",
                callback_name(s.callback),
                _plugin(s.owner),
                str(s.id),
            )
            for s in self.subscribers
        ]

    def receiver_rows(self) -> list[tuple[str, ...]]:
        """The cells of each receiver, under `RECEIVERS`."""
        return [
            (
                _number(connection.priority),
                signal.name,
                "(pipeline)" if connection.spec.is_observer else callback_name(receiver),
                _sender(connection.sender),
                redacted_subscription(connection.where or ""),
                _plugin(connection.owner),
            )
            for signal in self.signals
            for connection in signal.connections
            if (receiver := connection.receiver) is not None
        ]

    def unheard(self) -> list[str]:
        """The names of the signals without receivers."""
        return [signal.name for signal in self.signals if not signal.connections]

    def __str__(self) -> str:
        lines = [self.hub]
        if self.subscribers:
            lines += _indented(format_table(SUBSCRIBERS, self.subscriber_rows()))
        else:
            lines.append("  no subscribers")
        if self.signals:
            lines.append("signals of the process")
            if rows := self.receiver_rows():
                lines += _indented(format_table(RECEIVERS, rows))
            if unheard := self.unheard():
                lines.append(f"  no receivers of {_some(unheard)}")
        if self.plugins:
            # Imported only with plugins.
            from rxhub.plugins import PluginReport

            lines += str(PluginReport(self.plugins)).splitlines()
        return printable("\n".join(lines), lines=True)

    __repr__ = __str__


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _some(names: list[str], most: int = 8) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f", and {more} more" if more > 0 else "")


def _number(priority: float) -> str:
    return f"{priority:g}" if isinstance(priority, float) else str(priority)


def _sender(sender: object) -> str:
    name = sender_name(sender)
    return "" if name is None else safe_repr(name) if isinstance(sender, str) else name


def _plugin(owner: Scope | None) -> str:
    return "" if owner is None else owner.name
