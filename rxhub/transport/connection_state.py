"""What the connection of a hub is doing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rxhub.text.printable import printable

__all__ = ["ConnectionState", "Phase"]


class Phase(Enum):
    """Where a connection stands."""

    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """One state of a hub's connection; true while events can be sent.

    Attributes:
        phase: where the connection stands.
        reason: why it came to stand there, in words for people; may be empty.
        attempts: how often connecting was tried since the hub was connected last; 0 while it is.
    """

    phase: Phase
    reason: str = ""
    attempts: int = 0

    def __bool__(self) -> bool:
        return self.phase is Phase.CONNECTED

    def __str__(self) -> str:
        return f"{self.phase.value} ({printable(self.reason)})" if self.reason else self.phase.value
