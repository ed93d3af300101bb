"""What a hub looks like from outside: who is subscribed, in dispatch order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rxhub.dispatcher import Subscriber

__all__ = ["Description"]

_HEADINGS = ("priority", "subscription", "callback", "id")


@dataclass(frozen=True)
class Description:
    """The subscribers of a hub at one moment; printed, a table.

    Attributes:
        hub: the hub in one line.
        subscribers: in dispatch order.
    """

    hub: str
    subscribers: tuple[Subscriber, ...]

    def __iter__(self) -> Iterator[Subscriber]:
        return iter(self.subscribers)

    def __len__(self) -> int:
        return len(self.subscribers)

    def __str__(self) -> str:
        if not self.subscribers:
            return f"{self.hub}\n  nobody is subscribed"
        rows = [
            (_number(s.priority), s.subscription or "(everything)", _name(s.callback), str(s.id))
            for s in self.subscribers
        ]
        widths = [max(len(row[column]) for row in (_HEADINGS, *rows)) for column in range(len(_HEADINGS))]
        lines = [
            "  ".join(cell.rjust(width) if column == 0 else cell.ljust(width) for column, (cell, width) in cells)
            for cells in (list(enumerate(zip(row, widths, strict=True))) for row in (_HEADINGS, *rows))
        ]
        return "\n".join([self.hub, *(f"  {line.rstrip()}" for line in lines)])

    __repr__ = __str__


def _number(priority: float) -> str:
    return f"{priority:g}" if isinstance(priority, float) else str(priority)


def _name(callback: object) -> str:
    """How people know a callback: module and qualified name, or its repr."""
    name: str | None = getattr(callback, "__qualname__", None)
    if name is None:
        return f"{type(callback).__name__} object"
    module: str | None = getattr(callback, "__module__", None)
    return f"{module}.{name}" if module and module != "__main__" else name
