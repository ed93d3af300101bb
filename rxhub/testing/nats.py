"""A NATS server and a unique stream name for a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

if TYPE_CHECKING:
    from rxhub.embedded import PrivateServer

__all__ = ["Nats"]


class Nats(NamedTuple):
    """A NATS server and a stream that does not exist yet.

    Use it as `EventHub(nats.url, nats.user, nats.password, stream=nats.stream)`.
    """

    url: str
    user: str
    password: str
    stream: str

    def __repr__(self) -> str:
        """Omits the password, since pytest prints the fixtures of a failing test."""
        return f"<{type(self).__name__} {self.stream!r} at {self.url}>"

    @classmethod
    def on(cls, server: PrivateServer) -> Nats:
        """A new stream name on a running server."""
        return cls(server.url, server.user, server.password, f"test-{uuid4().hex[:12]}")
