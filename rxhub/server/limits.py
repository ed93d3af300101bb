"""What a server grants to strangers: every limit, its default, and what it holds off."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum

__all__ = ["Limits", "SlowConsumer"]


class SlowConsumer(Enum):
    """What happens to a client that does not read what it subscribed to, once its queue is full.

    Attributes:
        DISCONNECT: it is cut off. It connects again, as ftrack's clients do by themselves, and knows that it missed
            events.
        DROP: the oldest events in its queue are dropped and counted; acknowledgements and heartbeats are kept.
    """

    DISCONNECT = "disconnect"
    DROP = "drop"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of a server.

    Attributes:
        message: characters of an event; the largest of pipelines have tens of thousands. A larger one is refused, and
            what has more than four times as many bytes ends the connection.
        queue: messages that wait for one client.
        queue_bytes: characters that wait for one client.
        connections: clients at once. `serve` and `running` let in fewer if there are not enough file descriptors.
        pending: connections at once that are not clients yet, health checks included. Beyond, the one that has waited
            longest for a complete request is closed. Half as many keys may wait to be checked.
        request_timeout: seconds from accepting a connection to a complete request (nats-server allows 2 as well);
            the same for TLS's handshake.
        connections_per_user: clients of one user at once.
        unread: bytes of all messages that are incomplete or wait for their turn. Beyond, the connection that holds most
            of them is closed. The first 16 KiB of a connection do not count.
        unread_per_user: of these, bytes of one user's messages.
        sessions: handshakes at once that were not yet followed by a WebSocket.
        session_expiry: seconds within which they must be.
        subscriptions: subscriptions of one client.
        expression: characters of a subscription or a target.
        conditions: conditions of a subscription or a target.
        metadata: bytes of a subscriber's metadata.
        conditions_per_user: conditions of all subscriptions of one user; an event may have to be tested for each.
        work: steps of work that one event, subscription or target may take; a step is about a tenth of a microsecond.
            Counted are the values that are visited, the conditions that are tested, the subscribers whose metadata is
            compared, the characters that are decoded, searched and parsed. Whatever takes more is refused.
            Subscriptions that take more to test do not get the event (see `rxhub.server.user_indexes`).
        metadata_per_user: bytes of the metadata of all subscribers of one user; decoded it can take 25 times as much.
        ids_per_user: ids under which one user has subscribed on this server, where servers share a backplane: each is
            reserved for the user, until ten to twenty minutes after its last client has left.
        events: events a second of one user, over time; beyond, its clients are read more slowly, and nothing is lost.
            One that takes more than 5,000 steps counts as several. It also pays for testing those of the user's
            subscriptions that exceed the quota of the common index, against the events of others.
        events_at_once: events of one user in a moment.
        handshakes: handshakes a second of one user, over time; beyond, they are refused.
        handshakes_at_once: handshakes of one user in a moment; a studio's machines may share a user, and all reconnect.
        failures: failed handshakes a second from one address under one name; ten times as many under all names.
        failures_at_once: the same in a moment.
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
                raise ValueError(f"The limit {field.name!r} is a number above 0, but {value!r} was given.")
