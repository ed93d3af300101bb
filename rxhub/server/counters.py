"""The counters of a server, and the meanings of its statistics.

Plain integers, because only one thread counts. `rxhub.server.metrics` passes them to Prometheus.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Final

__all__ = ["COUNTERS", "GAUGES", "Counters"]


def _counter(meaning: str) -> Any:
    return field(default=0, metadata={"meaning": meaning})


@dataclass(slots=True)
class Counters:
    """Numbers that only increase."""

    handshakes: int = _counter("Successful handshakes.")
    handshakes_refused: int = _counter("Handshakes rejected because of a key, an origin, plain text or a limit.")
    http_requests_refused: int = _counter("HTTP requests rejected because of a key, an origin, plain text or a limit.")
    connections_opened: int = _counter("WebSockets accepted.")
    connections_rejected: int = _counter(
        "Connections closed before their request was complete, to make room for others."
    )
    requests_timed_out: int = _counter("Connections closed because their request was not complete in time.")
    requests_refused: int = _counter("Connections closed because of an invalid request or a failed TLS handshake.")
    packets_received: int = _counter("Packets read from clients.")
    packets_malformed: int = _counter("Connections closed because of an invalid packet.")
    events_received: int = _counter("Events from clients, including subscriptions.")
    events_refused: int = _counter("Events from clients that were rejected.")
    events_delivered: int = _counter("Events queued for clients. An event counts once for each client.")
    events_dropped: int = _counter("Events dropped because a client read too slowly.")
    unread_limit_reached: int = _counter(
        "Connections closed because incomplete and unhandled messages used too much memory."
    )
    slow_consumers: int = _counter("Connections closed because a client read too slowly.")
    silent_clients: int = _counter("Connections closed because a client did not answer heartbeats.")
    events_unreadable: int = _counter("Events of the backplane skipped because they are invalid or take too much work.")

    def as_dict(self) -> dict[str, float]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


COUNTERS: Final = {
    **{field.name: field.metadata["meaning"] for field in fields(Counters)},
    "subscriptions_passed_over": "Subscriptions that did not receive an event because their tests take too much work.",
    "task_failures": "Internal errors in long-lived tasks of the process. The log has the details.",
    "backplane_stored": "Events of clients that were stored.",
    "backplane_read": "Events read from the backplane.",
    "backplane_refused": "Events rejected because too many waited to be stored.",
    "backplane_reconnections": "Reconnections to the backplane.",
}
GAUGES: Final = {
    "uptime_seconds": "Seconds since the start.",
    "loop_lag_seconds": "The delay of the server's event loop.",
    "connections": "Connected clients.",
    "sockets_open": "Open connections, including those of clients.",
    "sockets_waiting": "Open connections without a complete request.",
    "users_connected": "Users with a connected client.",
    "sessions_waiting": "Handshakes not yet followed by a WebSocket.",
    "subscriptions": "Active subscriptions of all clients.",
    "unread_bytes": "Bytes of incomplete and unhandled messages.",
    "messages_waiting": "Messages in the send queues of all clients.",
    "backplane_connected": "1 if the backplane is connected.",
    "backplane_storing": "1 if the backplane can store events, as far as is known. 0 while its disk is full.",
    "backplane_waiting": "Events that wait to be stored.",
    "backplane_lag": "Events in the backplane that this server has not read yet.",
    "store_free_bytes": "Free space of the file system of `--store`.",
    "store_size_bytes": "Size of the file system of `--store`.",
}
