"""The addresses and credentials of a NATS system."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

__all__ = ["SCHEMES", "Address", "hosts", "without_credentials"]

SCHEMES = ("nats", "tls")

_PORT = 4222
# nats://one,two is one URL; nats://one,nats://two are two, as NATS's own tools write them.
_BETWEEN_URLS = re.compile(r",(?=\s*[A-Za-z]+://)")


class Address(NamedTuple):
    """The servers of one NATS system."""

    servers: tuple[str, ...]  # URLs of one server each, `nats://host:port` or, with TLS, `tls://host:port`
    user: str | None = None  # None without credentials or with a token
    password: str | None = None  # of the user, or a token if there is no user

    @classmethod
    def parse(cls, url: str, user: str | None = None, password: str | None = None) -> Address:
        """Read `nats://host`, `nats://user:password@host:4222,other:4222`, `nats://host,nats://other` or `tls://…`.

        `user`: if this or `password` is given, neither a user nor a password is taken from the URL: a password is sent
        with no other user than its own. Raises ValueError if it is no such URL.
        """
        servers: list[str] = []
        credentials = ""
        for scheme, found, hosts in _split(url):
            if scheme.lower() not in SCHEMES:
                raise ValueError(
                    f"A NATS server is named nats://host:port or tls://host:port, but {_shown(url)} was given."
                )
            if "@" in found:
                raise ValueError(
                    f"{_shown(url)} has several users; name one, before the first host. An @ in a password is written "
                    "%40."
                )
            credentials = credentials or found
            servers += [_server(scheme.lower(), host, url) for host in map(str.strip, hosts.split(",")) if host]
        if not servers:
            raise ValueError(f"{_shown(url)} has no host. Use nats://host:port.")
        name, _, secret = credentials.partition(":")
        if name and not secret:
            # As in the tools of NATS: a single credential is a token.
            name, secret = "", name
        if not (user or password):
            user, password = unquote(name), unquote(secret)
        return cls(tuple(servers), user or None, password or None)

    def __repr__(self) -> str:
        """Without the password, since representations are logged."""
        return f"Address({','.join(self.servers)} as {self.user!r})"


def hosts(url: str) -> str:
    """The hosts of a URL, separated by commas and without credentials, for display."""
    return ",".join([found for _, _, found in _split(url)])


def without_credentials(url: str) -> str:
    """The URL without a user, password or token."""
    return ",".join([f"{scheme}://{found}" for scheme, _, found in _split(url)]) if "@" in url else url


def _split(url: str) -> Iterator[tuple[str, str, str]]:
    """Scheme, credentials and hosts of each URL in a list."""
    for named in _BETWEEN_URLS.split(url):
        scheme, _, rest = named.strip().partition("://")
        credentials, _, hosts = rest.rpartition("@")
        yield scheme, credentials, hosts.removesuffix("/")


def _shown(url: str) -> str:
    return repr(without_credentials(url))


def _server(scheme: str, host: str, url: str) -> str:
    try:
        parts = urlsplit(f"{scheme}://{host}")
        port = parts.port or _PORT
        name = parts.hostname
    except ValueError as error:
        raise ValueError(f"{host!r} in {_shown(url)} is not a valid server address: {error}.") from None
    if not name or parts.path or parts.query or parts.fragment:
        raise ValueError(
            f"{host!r} in {_shown(url)} is not a valid server address. Use nats://host:port without path or options."
        )
    return f"{scheme}://[{name}]:{port}" if ":" in name else f"{scheme}://{name}:{port}"
