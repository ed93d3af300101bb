"""Probes: what `/healthz` and `/readyz` of servers and workers answer.

A process answers `/healthz` as long as its event loop runs. `/readyz` lists checks, such as `connected`, and the reason
of each failed one. Both need no credentials: a reason must contain no secrets, and no paths of the machine.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any, NamedTuple

__all__ = ["LIVENESS_PATH", "MAX_LOOP_LAG_S", "READINESS_PATH", "Check", "LoopLag", "Readiness"]

LIVENESS_PATH = "/healthz"
READINESS_PATH = "/readyz"

MAX_LOOP_LAG_S = 1.0
"""A loop with a longer delay is not ready: heartbeats and acknowledgements are at risk."""

_TICK_S = 0.25


class Check(NamedTuple):
    """The result of one check.

    Attributes:
        name: the key in the JSON body, for example `loop_lag`.
        reason: why it failed; empty if it passed.
        value: what was measured, if anything, for example seconds.
    """

    name: str
    reason: str = ""
    value: float | None = None

    def to_json(self) -> dict[str, Any]:
        body: dict[str, Any] = {"ok": not self.reason}
        if self.reason:
            body["reason"] = self.reason
        if self.value is not None:
            body["value"] = self.value
        return body


class Readiness(NamedTuple):
    """The answer to a probe: ready if all checks passed."""

    checks: tuple[Check, ...] = ()

    @property
    def is_ready(self) -> bool:
        return not any(check.reason for check in self.checks)

    @property
    def http_status(self) -> int:
        return 200 if self.is_ready else 503

    @property
    def reason(self) -> str:
        """The failed checks with their reasons, in one line; empty if all passed."""
        return "; ".join(f"{check.name}: {check.reason}" for check in self.checks if check.reason)

    def to_json(self) -> dict[str, Any]:
        """The body of the response: `status`, `reason` of a failure, and `checks` by name."""
        body: dict[str, Any] = {"status": "ok" if self.is_ready else "failed"}
        if not self.is_ready:
            body["reason"] = self.reason
        if self.checks:
            body["checks"] = {check.name: check.to_json() for check in self.checks}
        return body


class LoopLag:
    """Measures how late the running loop calls its timers. Any thread may read `seconds`.

    A delay is reported until the second tick after it, so that a probe on the same loop sees it too.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._previous_s = self._latest_s = 0.0
        self._is_stopped = False
        self._schedule()

    @property
    def seconds(self) -> float:
        """The greatest delay of the last ticks; that of a blocked loop grows."""
        return max(self._previous_s, self._latest_s, monotonic() - self._due)

    def check(self, name: str = "loop_lag", limit: float = MAX_LOOP_LAG_S) -> Check:
        """A check that fails if the delay exceeds `limit` seconds."""
        seconds = self.seconds
        reason = f"the event loop is {seconds:.3g} s late; the limit is {limit:g} s" if seconds > limit else ""
        return Check(name, reason, round(seconds, 3))

    def stop(self) -> None:
        """Measure no longer; called on the loop."""
        self._is_stopped = True
        self._timer.cancel()

    def _schedule(self) -> None:
        self._due = monotonic() + _TICK_S
        self._timer = self._loop.call_later(_TICK_S, self._tick)

    def _tick(self) -> None:
        self._previous_s, self._latest_s = self._latest_s, max(0.0, monotonic() - self._due)
        if not self._is_stopped:
            self._schedule()
