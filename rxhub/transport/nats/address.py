"""Where the servers of a NATS system are, and who we are to them."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote, urlsplit

__all__ = ["SCHEMES", "Address"]

SCHEMES = ("nats", "tls")

_PORT = 4222


class Address(NamedTuple):
    """The servers of one NATS system.

    Attributes:
        servers: URLs of one server each, `nats://host:port` or, with TLS, `tls://host:port`.
        user: who we are; None for nobody, or if a token says it.
        password: the user's, or a token if there is no user.
    """

    servers: tuple[str, ...]
    user: str | None = None
    password: str | None = None

    @classmethod
    def parse(cls, url: str, user: str | None = None, password: str | None = None) -> Address:
        """Read `nats://host`, `nats://user:password@host:4222,other:4222` or `tls://…`.

        Args:
            url: of one server, or of several with commas between them.
            user: instead of the one in the URL.
            password: instead of the one in the URL.

        Raises:
            ValueError: if it is no such URL.
        """
        scheme, separator, rest = url.partition("://")
        if not separator or scheme.lower() not in SCHEMES:
            raise ValueError(f"A NATS server is named nats://host:port or tls://host:port, but {url!r} was given.")
        credentials, _, hosts = rest.partition("/")[0].rpartition("@")
        servers = tuple([_server(scheme.lower(), host.strip(), url) for host in hosts.split(",") if host.strip()])
        if not servers:
            raise ValueError(f"No host is named in {url!r}; a NATS server is named nats://host:port.")
        name, _, secret = credentials.partition(":")
        if name and not secret:
            # As NATS's own tools read it: what stands alone is a token.
            name, secret = "", name
        return cls(servers, user or unquote(name) or None, password or unquote(secret) or None)

    def __repr__(self) -> str:
        """Without the password, since representations are logged."""
        return f"Address({','.join(self.servers)} as {self.user!r})"


def _server(scheme: str, host: str, url: str) -> str:
    try:
        parts = urlsplit(f"{scheme}://{host}")
        port = parts.port or _PORT
        name = parts.hostname
    except ValueError as error:
        raise ValueError(f"{host!r} in {url!r} names no server: {error}.") from error
    if not name:
        raise ValueError(f"{host!r} in {url!r} names no server.")
    return f"{scheme}://[{name}]:{port}" if ":" in name else f"{scheme}://{name}:{port}"
