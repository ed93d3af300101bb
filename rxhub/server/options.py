"""The options of a server that its application, its clients and its listener share."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rxhub.server.limits import Limits, SlowConsumer

if TYPE_CHECKING:
    from rxhub.server.backplane import Backplane

__all__ = ["AccessOptions", "ServerOptions"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerOptions:
    """How a server treats its clients.

    Attributes:
        limits: what users may do.
        heartbeat: seconds between two heartbeats. ftrack's JavaScript client disconnects after 15 s without one.
        heartbeat_timeout: seconds without a message after which a client counts as disconnected.
        slow_consumer: what happens to a client that reads too slowly.
        grace: seconds to send queued messages during a shutdown.
        backplane: joins the server with others; None for a single server.

    Raises:
        ValueError: if the heartbeat is not shorter than its timeout.
    """

    limits: Limits = field(default_factory=Limits)
    heartbeat: float = 10.0
    heartbeat_timeout: float = 30.0
    slow_consumer: SlowConsumer = SlowConsumer.DISCONNECT
    grace: float = 5.0
    backplane: Backplane | None = None

    def __post_init__(self) -> None:
        if not 0 < self.heartbeat < self.heartbeat_timeout:
            raise ValueError(
                f"A client needs more time than one heartbeat to answer: heartbeat={self.heartbeat!r} must be above 0 "
                f"and below heartbeat_timeout={self.heartbeat_timeout!r}."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class AccessOptions:
    """Which requests a server accepts.

    Attributes:
        origins: web pages that may connect, in addition to the server's own.
        plain_text: accept requests without TLS from other machines.
        trusted_proxies: addresses and networks of proxies whose forwarded headers are used.
    """

    origins: Collection[str] = ()
    plain_text: bool = False
    trusted_proxies: Collection[str] = ()
