"""The checks of a server's `/readyz`.

Anyone may read the result, so reasons contain no directories and no addresses. The log contains them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rxhub.telemetry.probes import Check, Readiness

if TYPE_CHECKING:
    from rxhub.server.event_server import EventServer

__all__ = ["MIN_FREE_BYTES", "readiness"]

MIN_FREE_BYTES = 16 * 1024 * 1024
"""With less free space, JetStream may be unable to create its next file (8 MiB)."""


def readiness(server: EventServer) -> Readiness:
    """Whether a server accepts clients and events. Called on its event loop."""
    return Readiness(tuple(_checks(server)))


def _checks(server: EventServer) -> Iterator[Check]:
    yield Check("serving", "the server is shutting down" if server.is_closing else "")
    backplane = server.options.backplane
    if backplane is not None:
        is_connected = backplane.is_connected
        yield Check("connected", "" if is_connected else "the server is not connected to NATS; its log has the reason")
        trouble = is_connected and backplane.trouble
        yield Check(
            "store_writable", "NATS cannot store events; the log of the server has the reason" if trouble else ""
        )
        if (space := backplane.store_space()) is not None:
            reason = "" if space.free >= MIN_FREE_BYTES else f"fewer than {MIN_FREE_BYTES:,} bytes are free"
            yield Check("disk_space", reason, space.free)
    if server.loop_lag is not None:
        yield server.loop_lag.check()
