"""What a request says of itself before anybody is let in: credentials, origin, and whether strangers can listen."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Collection, MutableMapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qs, urlsplit

from rxhub.server.authentication import Credentials

__all__ = ["address", "basic", "credentials", "is_exposed", "is_loopback", "is_origin_allowed", "origin_of"]

Scope = MutableMapping[str, Any]

_USUAL_PORTS = {"http": ":80", "https": ":443", "ws": ":80", "wss": ":443"}


def credentials(scope: Scope) -> Credentials | None:
    """What a client shows: ftrack's headers as the Python client sends them, or the query of the JavaScript client."""
    user, key = _header(scope, b"ftrack-user"), _header(scope, b"ftrack-api-key")
    if user is not None and key is not None:
        return Credentials(user, key)
    try:
        query = parse_qs(scope.get("query_string", b"").decode("ascii"), max_num_fields=50, keep_blank_values=True)
    except ValueError:
        return None
    if "api_user" in query and "api_key" in query:
        return Credentials(query["api_user"][-1], query["api_key"][-1])
    return None


def basic(scope: Scope) -> Credentials | None:
    """The same by HTTP's basic authentication, which is what Prometheus and curl speak."""
    kind, _, encoded = (_header(scope, b"authorization") or "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        user, colon, key = b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        return None
    return Credentials(user, key) if colon else None


def address(scope: Scope) -> str:
    """Where a request comes from; of an IPv6 address its network, since one machine has 2**64 of them.

    IPv4 addresses that a socket for both shows as IPv6 are those of IPv4: they have one network for the whole world.
    """
    client = scope.get("client")
    if not client:
        return ""
    host = str(client[0])
    try:
        parsed = ip_address(host)
    except ValueError:
        return host
    if parsed.version == 4:
        return host
    return str(parsed.ipv4_mapped) if parsed.ipv4_mapped is not None else parsed.exploded[:19]


def is_loopback(host: str) -> bool:
    """Whether what is sent there never leaves this machine."""
    if host == "localhost":
        return True
    try:
        parsed = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback


def is_exposed(scope: Scope) -> bool:
    """Whether this request went over a network in plain text."""
    client = scope.get("client")
    # Without an address it came through a Unix socket. A scheme that ASGI leaves out is a plain one.
    return scope.get("scheme") not in {"https", "wss"} and bool(client) and not is_loopback(str(client[0]))


def is_origin_allowed(scope: Scope, origins: Collection[str]) -> bool:
    """Whether the page that made this request may use the server: one of the server's own, or one that is listed.

    Programs send no origin. ftrack's Python client does with its WebSocket, always as `http://` and the server's own
    host.
    """
    origin = _header(scope, b"origin")
    host = _header(scope, b"host")
    # Socket.IO 0.9's client on Node sends the bare host, which no browser does.
    if origin is None or origin in origins or origin == host:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    if host is None or not parts.netloc or parts.scheme not in {"http", "https"}:
        return False
    return _without_port(parts.netloc, parts.scheme) == _without_port(host, str(scope.get("scheme", "")))


def origin_of(scope: Scope) -> str | None:
    """The origin of the page that made this request; None if no page did."""
    return _header(scope, b"origin")


def _without_port(netloc: str, scheme: str) -> str:
    return netloc.lower().removesuffix(_USUAL_PORTS.get(scheme, ""))


def _header(scope: Scope, name: bytes) -> str | None:
    for key, value in scope["headers"]:
        if key.lower() == name:
            try:
                return value.decode()
            except UnicodeDecodeError:
                return value.decode("latin-1")
    return None
