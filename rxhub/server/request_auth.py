"""Reads from a request its credentials, address and origin, and whether it is encrypted."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Collection, MutableMapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any
from urllib.parse import parse_qs, urlsplit

from rxhub.server.authentication import Credentials

__all__ = [
    "Scope",
    "address",
    "authorization",
    "basic",
    "credentials",
    "is_exposed",
    "is_loopback",
    "is_origin_allowed",
    "origin_of",
    "parsed_address",
]

Scope = MutableMapping[str, Any]

_USUAL_PORTS = {"http": ":80", "https": ":443", "ws": ":80", "wss": ":443"}


def credentials(scope: Scope) -> Credentials | None:
    """The credentials in the headers of ftrack's Python client, or in the query of its JavaScript client."""
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
    """The credentials of HTTP basic authentication, which Prometheus and curl use."""
    kind, _, encoded = (_header(scope, b"authorization") or "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        user, colon, key = b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        return None
    return Credentials(user, key) if colon else None


def authorization(scope: Scope) -> Credentials | None:
    """The credentials of basic authentication, or of a bearer token `USER:KEY`."""
    kind, _, token = (_header(scope, b"authorization") or "").partition(" ")
    if kind.lower() != "bearer":
        return basic(scope)
    user, colon, key = token.strip().partition(":")
    return Credentials(user, key) if colon else None


def address(scope: Scope) -> str:
    """The address of a client. Of IPv6, only the network, because one machine has 2**64 addresses."""
    client = scope.get("client")
    if not client:
        return ""
    parsed = parsed_address(str(client[0]))
    return parsed.exploded[:19] if isinstance(parsed, IPv6Address) else str(parsed or client[0])


def is_loopback(host: str) -> bool:
    """Whether an address is on this machine."""
    parsed = parsed_address(host)
    return host == "localhost" if parsed is None else parsed.is_loopback


def parsed_address(text: str) -> IPv4Address | IPv6Address | None:
    """An address, or None if it is invalid. A socket for both families shows IPv4 addresses as IPv6."""
    try:
        parsed = ip_address(text)
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


def is_exposed(scope: Scope) -> bool:
    """Whether a request was sent over a network in plain text."""
    client = scope.get("client")
    # Requests through a Unix socket have no address. The default scheme of ASGI is http.
    return scope.get("scheme") not in {"https", "wss"} and bool(client) and not is_loopback(str(client[0]))


def is_origin_allowed(scope: Scope, origins: Collection[str]) -> bool:
    """Whether a page may use the server: a page of the server itself, or of a listed origin.

    Programs send no origin, except ftrack's Python client with its WebSocket: `http://` and the host of the server.
    """
    origin = _header(scope, b"origin")
    host = _header(scope, b"host")
    # Socket.IO 0.9's client on Node sends the host without a scheme. Browsers do not.
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
    """The origin of the page that made a request; None for programs."""
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
