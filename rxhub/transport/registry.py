"""Transports by URL scheme.

The built-in schemes are import paths, so that `import rxhub` loads none of them. A distribution adds a scheme with an
entry point in the group `rxhub.transports`: the scheme is its name, a `TransportType` its object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any, Final

from rxhub.transport.protocols import Transport

__all__ = ["GROUP", "TransportConfig", "TransportOptions", "TransportType", "host_and_path", "transport_type"]

GROUP: Final = "rxhub.transports"

_BUILT_IN: Final = {
    "memory": "rxhub.transport.memory:MEMORY",
    "http": "rxhub.transport.socketio:HTTP",
    "https": "rxhub.transport.socketio:HTTPS",
    "nats": "rxhub.transport.nats:NATS",
    "tls": "rxhub.transport.nats:TLS",
}


class TransportOptions:
    """The options of one kind of transport, in place of a URL. A transport may define a subclass."""

    @property
    def url(self) -> str:
        """The URL, without credentials; its scheme selects the transport."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class TransportConfig:
    """What a hub passes to its transport.

    Attributes:
        url: of the server.
        source: the source of the hub's events: id, user and host.
        user: the user to connect as.
        key: the user's key or password.
        headers: additional HTTP headers.
        cookies: additional HTTP cookies.
        outbox: the maximum number of unsent events.
        stream: the name of the stream that stores the events.
        options: what was given in place of a URL; `url` is its URL.
    """

    # The representation contains no secrets, since it may be logged.
    url: str = field(repr=False)
    source: Mapping[str, Any] = field(default_factory=dict[str, Any])
    user: str | None = None
    key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    cookies: Mapping[str, str] | None = field(default=None, repr=False)
    outbox: int = 100_000
    stream: str | None = None
    options: TransportOptions | None = None


@dataclass(frozen=True, kw_only=True)
class TransportType:
    """A kind of transport.

    Attributes:
        create: makes the transport of a hub.
        location: the host and port, or the name, in a URL, without credentials.
        sources: identifies what the events are read from; two hubs that share an element receive the same events.
        is_remote: there is a server, so connecting takes time and can fail.
        is_secure: the connection is encrypted.
        has_streams: events are stored in streams (`rxhub.transport.Durable`).
    """

    create: Callable[[TransportConfig], Transport]
    location: Callable[[str], str]
    sources: Callable[[TransportConfig], frozenset[tuple[str, str]]]
    is_remote: bool = True
    is_secure: bool = False
    has_streams: bool = False


@cache
def transport_type(scheme: str) -> TransportType:
    """The transport of a URL scheme in lower case.

    Raises:
        ValueError: if there is none.
    """
    path = _BUILT_IN.get(scheme)
    if path is not None:
        module, _, name = path.partition(":")
        return getattr(import_module(module), name)
    from importlib.metadata import entry_points  # its import takes longer than that of the hub

    installed = entry_points(group=GROUP)
    for entry in installed.select(name=scheme):
        return entry.load()
    known = ", ".join(f"{name}://" for name in sorted({*_BUILT_IN, *installed.names}))
    raise ValueError(f"No transport is known for {scheme}://. The known ones are {known}.")


def host_and_path(url: str) -> tuple[str, str]:
    """The host of a URL with its port, without credentials, and its path."""
    from urllib.parse import urlsplit  # its import takes longer than that of the hub

    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2], parts.path
