"""The limits of a server, their defaults, what they protect, and how many connections the process has files for."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, fields, replace
from enum import Enum

__all__ = ["Limits", "SlowConsumer", "limits_for_descriptors", "raise_soft_limit"]

_RESERVED_DESCRIPTORS = 32
"""Descriptors for the users file, NATS, name resolution and other uses."""

_PENDING_SHARE = 4
"""One in four descriptors is reserved for connections that are not clients yet, including health checks."""


class SlowConsumer(Enum):
    """What happens to a client that reads too slowly, when its send queue is full.

    Attributes:
        DISCONNECT: the server disconnects it. ftrack's clients reconnect by themselves, and know that they missed
            events.
        DROP: the server drops and counts the oldest events in its queue, and keeps acknowledgements and heartbeats.
    """

    DISCONNECT = "disconnect"
    DROP = "drop"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of a server.

    Attributes:
        message: characters of an event. Large pipeline events have tens of thousands. A larger one is rejected; if it
            has more than four times as many bytes, the connection is closed.
        queue: messages in the send queue of a client.
        queue_bytes: characters in the send queue of a client.
        connections: clients at once. `serve` and `running` accept fewer if there are not enough file descriptors.
        pending: connections at once that are not clients yet, including health checks. Above it, the one that has
            waited longest for a complete request is closed. Half as many keys may wait to be checked.
        request_timeout: seconds from accepting a connection to a complete request, and of a TLS handshake. nats-server
            also allows 2.
        connections_per_user: clients of one user at once.
        unread: bytes of all incomplete and unhandled messages. Above it, the connection that holds most of them is
            closed. The first 16 KiB of a connection do not count.
        unread_per_user: bytes of the incomplete and unhandled messages of one user.
        sessions: handshakes at once that were not yet followed by a WebSocket.
        session_expiry: seconds from a handshake to its WebSocket.
        subscriptions: subscriptions of one client.
        expression: characters of a subscription or a target.
        conditions: conditions of a subscription or a target.
        metadata: bytes of a subscriber's metadata.
        conditions_per_user: conditions of all subscriptions of one user. Each may have to be tested for an event.
        work: steps of work of one event, subscription or target. A step takes about 0.1 µs. Visited values, tested
            conditions, compared subscribers, and characters that are decoded, searched and parsed count. The server
            rejects what takes more. Subscriptions whose tests take more do not receive the event (see
            `rxhub.server.indexes`).
        metadata_per_user: bytes of the metadata of all subscribers of one user. Decoded, it can take 25 times as much.
        ids_per_user: ids with which one user has subscribed on this server, if it has a backplane. An id is reserved
            until 10 to 20 minutes after its last client has disconnected.
        events: events per second of one user, over time. Above it, the server reads the user's clients more slowly, and
            nothing is lost. An event of more than 5,000 steps counts as several. The rate also pays for testing the
            user's subscriptions beyond the quota of the common index against events of others.
        events_at_once: events of one user in a burst.
        handshakes: handshakes per second of one user, over time. Above it, they are rejected.
        handshakes_at_once: handshakes of one user in a burst. Many machines may share a user and reconnect together.
        failures: failed handshakes per second from one address with one name. Ten times as many with all names.
        failures_at_once: failed handshakes in a burst.
    """

    message: int = 1024 * 1024
    queue: int = 10_000
    queue_bytes: int = 16 * 1024 * 1024
    connections: int = 10_000
    pending: int = 1_000
    request_timeout: float = 2.0
    connections_per_user: int = 2_000
    unread: int = 256 * 1024 * 1024
    unread_per_user: int = 64 * 1024 * 1024
    sessions: int = 10_000
    session_expiry: float = 30.0
    subscriptions: int = 1_000
    expression: int = 8_192
    conditions: int = 256
    metadata: int = 16 * 1024
    conditions_per_user: int = 50_000
    work: int = 200_000
    metadata_per_user: int = 8 * 1024 * 1024
    ids_per_user: int = 50_000
    events: float = 1_000.0
    events_at_once: int = 5_000
    handshakes: float = 20.0
    handshakes_at_once: int = 500
    failures: float = 0.5
    failures_at_once: int = 10

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not value > 0:
                raise ValueError(f"The limit {field.name!r} must be a number above 0, not {value!r}.")


def raise_soft_limit() -> None:
    """Raise the soft limit of open files to the hard limit, if the system allows it."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS reports no hard limit, and rejects more than OPEN_MAX.
    for most in (hard, 10_240):
        if soft != resource.RLIM_INFINITY and (most == resource.RLIM_INFINITY or most > soft):
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            except (OSError, ValueError):
                continue
        return


def limits_for_descriptors(limits: Limits) -> Limits:
    """The limits, with no more connections than the process can open files.

    A server without free file descriptors cannot accept a health check, read its users file or connect to NATS.
    """
    room = _available()
    if room is None or room >= limits.connections + limits.pending:
        return limits
    pending = max(1, min(limits.pending, room // _PENDING_SHARE))
    return replace(limits, pending=pending, connections=max(1, min(limits.connections, room - pending)))


def _available() -> int | None:
    """Free descriptors for connections; None if there is no limit."""
    if sys.platform == "win32":
        return None
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return None
    try:
        used = len(os.listdir("/dev/fd"))  # noqa: PTH208 - the number alone
    except OSError:
        used = _RESERVED_DESCRIPTORS
    return max(2, soft - used - min(_RESERVED_DESCRIPTORS, soft // 4))
