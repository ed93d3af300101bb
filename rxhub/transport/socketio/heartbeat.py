"""Detects dead connections by the clocks alone.

The server announces the timeout in the handshake (`protocol.Handshake.heartbeat`). A server sends heartbeats, so
silence is a sign that the peer is gone without an error. After a computer slept, its
connections look alive although the server has closed them. During sleep the wall clock advances and the monotonic clock
of most systems does not, so the two disagree afterwards.
"""

from __future__ import annotations

__all__ = ["HeartbeatMonitor"]

_SLEEP_S = 10.0
_LATE_S = 1.0


class HeartbeatMonitor:
    """Watches a connection, whose peer counts as gone after `patience` seconds of silence; None is unlimited."""

    def __init__(self, patience: float | None, monotonic: float, wall: float) -> None:
        self._patience = patience
        self._heard = self._monotonic = monotonic
        self._is_suspected = False
        self._wall = wall

    @property
    def interval(self) -> float:
        """Seconds until the next `look`."""
        return 5.0 if self._patience is None else min(5.0, self._patience / 4)

    def heard(self, monotonic: float) -> None:
        self._heard = monotonic

    def look(self, monotonic: float, wall: float) -> str:
        """The reason to close the connection; empty if there is none."""
        slept = (wall - self._wall) - (monotonic - self._monotonic)
        is_late = monotonic - max(self._monotonic, self._heard) > 2 * self.interval + _LATE_S
        self._monotonic, self._wall = monotonic, wall
        if slept > _SLEEP_S:
            return f"the computer slept for {slept:.0f} s"
        silence = monotonic - self._heard
        # Two punctual looks in a row are needed: if this process was suspended (by a debugger, for example), a
        # heartbeat may be unread.
        before = self._is_suspected and not is_late
        self._is_suspected = self._patience is not None and silence > self._patience
        return f"nothing was heard from the server for {silence:.0f} s" if before and self._is_suspected else ""
