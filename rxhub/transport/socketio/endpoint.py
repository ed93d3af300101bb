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

    Raises ValueError if the URL has no host, or a header has an invalid name or value, TypeError if a header or cookie
    is not a string.

    Args:
        config: the user and the key are sent as `ftrack-user` and `ftrack-api-key` with the handshake alone; headers
            and cookies with both requests. A path in the URL is the prefix under which the server is mounted.
    """

    def __init__(self, config: TransportConfig) -> None:
        parts = urlsplit(config.url)
        scheme, location = parts.scheme, parts.netloc.rpartition("@")[2]
        host, port = _host_and_port(location)
        if not host:
            raise ValueError(f"Could not determine hostname from server url {scheme}://{location}.")
        if port and not (port.isascii() and port.isdigit() and int(port) < 65536):
            raise ValueError(f"A port is a number below 65536, but {port!r} was found in {scheme}://{location}.")
        self.url = f"{scheme}://{location}"
        self._path = f"{parts.path.rstrip('/')}{PATH}"
        self._location = location
        self.secure = scheme == "https"
        self._open = dict(config.headers or {})
        if "user-agent" not in map(str.lower, self._open):
            self._open["User-Agent"] = "rxhub"
        if config.cookies:
            self._open["Cookie"] = "; ".join(f"{name}={value}" for name, value in config.cookies.items())
        self._secret: dict[str, str] = {}
        if config.user is not None:
            self._secret["ftrack-user"] = config.user
        if config.key is not None:
            self._secret["ftrack-api-key"] = config.key
        for name, value in {**self._open, **self._secret}.items():
            _check(name, value)

    @property
    def handshake_url(self) -> str:
        return f"{self.url}{self._path}"

    @property
    def handshake_headers(self) -> dict[str, str]:
        """The headers of the handshake; custom ones take precedence, as in ftrack's client."""
        return {**self._secret, **self._open}

    def socket_url(self, sid: str) -> str:
        return f"{'wss' if self.secure else 'ws'}://{self._location}{self._path}websocket/{sid}"

    @property
    def socket_headers(self) -> dict[str, str]:
        """The headers of the WebSocket: not the key, which the session's id replaces."""
        return dict(self._open)


def _host_and_port(location: str) -> tuple[str, str]:
    if location.startswith("["):
        host, _, rest = location[1:].partition("]")
        return host, rest.removeprefix(":")
    host, _, port = location.partition(":")
    return host, port


def _check(name: str, value: str) -> None:
    """Refuse headers that would be truncated or altered. Messages do not show the value, which may be a key."""
    if not isinstance(name, str) or not _FIELD_NAME.fullmatch(name):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"{name!r} is not a valid name of an HTTP header.")
    if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"The header {name} needs a string, but {type(value).__name__} was given.")
    if any(character < " " or character == "\x7f" for character in value):
        raise ValueError(f"The value of the header {name} has a line break or another control character.")
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(
            f"The value of the header {name} has characters beyond Latin-1, which HTTP headers cannot contain."
        ) from None
