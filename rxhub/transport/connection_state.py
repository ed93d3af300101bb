"""The state of a hub's connection."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rxhub.text.printable import printable

__all__ = ["ConnectionState", "Phase"]


class Phase(Enum):
    """The phase of a connection."""

    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """A state of a hub's connection; true while events can be sent.

    Attributes:
        phase: the phase.
        reason: why, as text; may be empty.
        attempts: the number of attempts to connect since the last connection; 0 while connected.
    """

    phase: Phase
    reason: str = ""
    attempts: int = 0

    def __bool__(self) -> bool:
        return self.phase is Phase.CONNECTED

    def __str__(self) -> str:
        return f"{self.phase.value} ({printable(self.reason)})" if self.reason else self.phase.value
