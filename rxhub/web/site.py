"""What the endpoints know of the server."""

from __future__ import annotations

from dataclasses import dataclass, field

from rxhub.server.event_server import EventServer
from rxhub.server.options import AccessOptions
from rxhub.web.sessions import ConsoleSessions

__all__ = ["Site"]


@dataclass(frozen=True)
class Site:
    """A server and its rules for requests.

    Attributes:
        server: the users, clients and subscriptions.
        access: which requests are accepted.
        sessions: of the console.
        links: the tokens of sign-in links that were not used yet, with the names of their users.
    """

    server: EventServer
    access: AccessOptions
    sessions: ConsoleSessions = field(init=False)
    links: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        sign_in = self.access.sign_in
        object.__setattr__(self, "sessions", ConsoleSessions(self.server.users))
        object.__setattr__(self, "links", {} if sign_in is None else {sign_in.key: sign_in.user})
