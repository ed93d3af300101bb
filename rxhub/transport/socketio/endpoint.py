"""The URLs of an event server, and the headers of requests to it."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from rxhub.transport.registry import TransportConfig
from rxhub.transport.socketio.protocol import PATH

__all__ = ["Endpoint"]

_FIELD_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class Endpoint:
    """The URLs of a server, and the headers of requests to it.

    The user and the key are sent as `ftrack-user` and `ftrack-api-key` with the handshake alone, whose session replaces
    them; headers and cookies with both requests. A path in the URL is the prefix under which the server is mounted.

    Raises ValueError if the URL has no host, or a header has an invalid name or value, TypeError if a header or cookie
    is not a string.
    """

    def __init__(self, config: TransportConfig) -> None:
        parts = urlsplit(config.url)
        scheme, location = parts.scheme, parts.netloc.rpartition("@")[2]
        host, port = _host_and_port(location)
        if not host:
            raise ValueError(f"Could not determine hostname from server url {scheme}://{location}.")
        if port and not (port.isascii() and port.isdigit() and int(port) < 65536):
            raise ValueError(f"A port is a number below 65536, but {port!r} was found in {scheme}://{location}.")
        path = f"{parts.path.rstrip('/')}{PATH}"
        self.secure = scheme == "https"
        self.url = f"{scheme}://{location}"
        self.handshake_url = f"{self.url}{path}"
        self._socket_url = f"{'wss' if self.secure else 'ws'}://{location}{path}websocket/"
        self.socket_headers = headers = dict(config.headers or {})
        if "user-agent" not in map(str.lower, headers):
            headers["User-Agent"] = "rxhub"
        if config.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in config.cookies.items())
        credentials = {"ftrack-user": config.user, "ftrack-api-key": config.key}
        # Custom ones take precedence, as in ftrack's client.
        self.handshake_headers = {name: value for name, value in credentials.items() if value is not None} | headers
        for name, value in self.handshake_headers.items():
            _check(name, value)

    def socket_url(self, sid: str) -> str:
        return f"{self._socket_url}{sid}"


def _host_and_port(location: str) -> tuple[str, str]:
    if location.startswith("["):
        host, _, rest = location[1:].partition("]")
        return host, rest.removeprefix(":")
    host, _, port = location.partition(":")
    return host, port


def _check(name: str, value: str) -> None:
    """Refuse headers that would be truncated or altered. Messages do not show the value, which may be a key."""
    if not isinstance(name, str) or not _FIELD_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a valid name of an HTTP header.")
    if not isinstance(value, str):
        raise TypeError(f"The header {name} needs a string, but {type(value).__name__} was given.")
    if any(character < " " or character == "\x7f" for character in value):
        raise ValueError(f"The value of the header {name} has a line break or another control character.")
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(
            f"The value of the header {name} has characters beyond Latin-1, which HTTP headers cannot contain."
        ) from None
