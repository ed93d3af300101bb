"""What the endpoints know of the server."""

from __future__ import annotations

from dataclasses import dataclass

from rxhub.server.event_server import EventServer
from rxhub.server.options import AccessOptions

__all__ = ["Site"]


@dataclass(frozen=True, slots=True)
class Site:
    """A server and its rules for requests.

    Attributes:
        server: the users, clients and subscriptions.
        access: which requests are accepted.
    """

    server: EventServer
    access: AccessOptions
