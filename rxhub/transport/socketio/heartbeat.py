"""Whether the other end is still there, told by the clocks alone.

A connection can be dead without an error: the peer's machine lost power, a firewall forgot it, the cable is
out. A server sends heartbeats, so silence tells. And a computer that slept finds its connections
as it left them, though the server has long ended them: while it sleeps, the wall clock goes on and the monotonic
clock of most systems does not, so the two disagree afterwards.
"""

from __future__ import annotations

__all__ = ["HeartbeatMonitor"]

_SLEPT = 10.0
_LATE = 1.0


class HeartbeatMonitor:
    """Watches one connection.

    Args:
        patience: seconds of silence after which the peer is taken for gone; None for any.
        monotonic: seconds of the monotonic clock now.
        wall: seconds of the wall clock now.
    """

    def __init__(self, patience: float | None, monotonic: float, wall: float) -> None:
        self._patience = patience
        self._heard = self._monotonic = monotonic
        self._is_suspected = False
        self._wall = wall

    @property
    def interval(self) -> float:
        """Seconds after which to look again."""
        return 5.0 if self._patience is None else min(5.0, self._patience / 4)

    def heard(self, monotonic: float) -> None:
        """Something was received."""
        self._heard = monotonic

    def look(self, monotonic: float, wall: float) -> str:
        """Why the connection is to be given up, in words for people; empty if all is well."""
        slept = (wall - self._wall) - (monotonic - self._monotonic)
        is_late = monotonic - max(self._monotonic, self._heard) > 2 * self.interval + _LATE
        self._monotonic, self._wall = monotonic, wall
        if slept > _SLEPT:
            return f"the computer slept for {slept:.0f} s"
        silence = monotonic - self._heard
        # It takes two looks in time, one after the other. What held this process up (a debugger, a suspended
        # container, a busy machine) held up reading as well, and the answer may lie there unread.
        before = self._is_suspected and not is_late
        self._is_suspected = self._patience is not None and silence > self._patience
        return f"nothing was heard from the server for {silence:.0f} s" if before and self._is_suspected else ""
