"""An event that threads wait for, and that a signal handler may set at any point."""

from __future__ import annotations

from threading import Condition

__all__ = ["Flag"]


class Flag:
    """As `threading.Event`, but reentrant.

    A signal handler runs inside whatever its thread is doing. If that is `set`, `clear` or `wait`, setting a
    `threading.Event` there waits for a lock that its own thread holds.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        with self._changed:
            self._is_set = True
            self._changed.notify_all()

    def clear(self) -> None:
        with self._changed:
            self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set; False after `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(self.is_set, timeout)
