"""What a test needs to use streams: a server, and a name that no other test has."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

if TYPE_CHECKING:
    from rxhub.embedded import PrivateServer

__all__ = ["Nats"]


class Nats(NamedTuple):
    """A NATS server and a stream: `EventHub(nats.url, nats.user, nats.password, stream=nats.stream)`.

    Attributes:
        url: where the server is, on loopback.
        user: who may connect.
        password: with what.
        stream: the name of a stream that is not there yet.
    """

    url: str
    user: str
    password: str
    stream: str

    def __repr__(self) -> str:
        """Without the password: pytest prints what a failing test was given."""
        return f"<{type(self).__name__} {self.stream!r} at {self.url}>"

    @classmethod
    def on(cls, server: PrivateServer) -> Nats:
        """A fresh name on a server that runs."""
        return cls(server.url, server.user, server.password, f"test-{uuid4().hex[:12]}")
