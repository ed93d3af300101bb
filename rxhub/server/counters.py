"""What a server has counted, as JSON and as Prometheus reads it.

The text format of Prometheus is a name and a number a line. Its own client library brings a registry, locks and
collectors for numbers that here are plain integers of one thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

__all__ = ["Counters", "prometheus"]

_COUNTERS: Final = {
    "handshakes": "Handshakes that were answered with a session id.",
    "handshakes_refused": "Handshakes refused for a key, an origin, plain text or a limit.",
    "connections_opened": "WebSockets that were let in.",
    "connections_rejected": "Connections closed before or while they sent a request, to make room for others.",
    "requests_timed_out": "Connections closed because a request was not complete in time.",
    "requests_refused": "Connections closed for a request that is malformed or too large, or a failed TLS handshake.",
    "packets_received": "Packets read from clients.",
    "packets_malformed": "Connections ended for a packet that is none.",
    "events_received": "Events from clients, subscriptions included.",
    "events_refused": "Of these, refused.",
    "events_delivered": "Events put into the queue of a client; one event counts once a client.",
    "subscriptions_passed_over": "Subscriptions that did not get an event: testing them takes too much work.",
    "events_dropped": "Events dropped because a client did not read.",
    "unread_limit_reached": "Connections ended because messages that were not complete or not handled took too much.",
    "slow_consumers": "Connections ended because a client did not read.",
    "silent_clients": "Connections ended because a client answered no heartbeat.",
    "task_failures": "Internal errors in long-lived tasks of the process; the log has the details.",
    "events_unreadable": "Events in the backplane that clients could not read, or that take too much work to read.",
    "backplane_stored": "Events of clients that were stored.",
    "backplane_read": "Events read from the backplane.",
    "backplane_refused": "Events refused because too many waited to be stored.",
    "backplane_reconnections": "How often the connection to the backplane was made again.",
}
_GAUGES: Final = {
    "uptime_seconds": "Seconds since the start.",
    "connections": "Clients connected.",
    "sockets_open": "Open connections, those of clients included.",
    "sockets_waiting": "Of these, connections that wait for a complete request.",
    "users_connected": "Users with a client connected.",
    "sessions_waiting": "Handshakes not yet followed by a WebSocket.",
    "subscriptions": "Subscriptions of all clients that hold.",
    "unread_bytes": "Bytes of messages that are incomplete or wait for their turn.",
    "messages_waiting": "Messages in the queues of all clients.",
    "backplane_connected": "Whether there is a connection to the backplane.",
    "backplane_storing": "Whether the backplane stores events, as far as is known: 0 while its disk is full.",
    "backplane_waiting": "Events that wait to be stored.",
    "backplane_lag": "Events in the backplane that are still to be read here.",
}


@dataclass(slots=True)
class Counters:
    """Numbers that only grow."""

    handshakes: int = 0
    handshakes_refused: int = 0
    connections_opened: int = 0
    connections_rejected: int = 0
    requests_timed_out: int = 0
    requests_refused: int = 0
    packets_received: int = 0
    packets_malformed: int = 0
    events_received: int = 0
    events_refused: int = 0
    events_delivered: int = 0
    events_dropped: int = 0
    unread_limit_reached: int = 0
    slow_consumers: int = 0
    silent_clients: int = 0
    events_unreadable: int = 0

    def as_dict(self) -> dict[str, float]:
        """The numbers by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def prometheus(stats: Mapping[str, float]) -> str:
    """Statistics in Prometheus' text format, version 0.0.4."""
    lines: list[str] = []
    for kind, names, suffix in (("counter", _COUNTERS, "_total"), ("gauge", _GAUGES, "")):
        for name, meaning in names.items():
            if name not in stats:
                continue  # there is no backplane
            full = f"rxhub_server_{name}{suffix}"
            lines += [f"# HELP {full} {meaning}", f"# TYPE {full} {kind}", f"{full} {stats[name]}"]
    return "\n".join(lines) + "\n"
