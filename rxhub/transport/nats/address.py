"""URLs of NATS servers, and what of them may be shown."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from rxhub.text.safe_repr import safe_repr

__all__ = [
    "SCHEMES",
    "URL_SETTINGS",
    "ServerUrls",
    "hosts",
    "parse_urls",
    "shown_path",
    "without_credentials",
    "without_settings",
]

SCHEMES = ("nats", "tls")

URL_SETTINGS = ("credentials", "nkey", "jwt", "ca", "certificate", "private_key", "tls_first")
"""What may follow a `?`: names of files, and a flag. They contain no secret."""

_PORT = 4222
# nats://one,two is one URL; nats://one,nats://two are two, as NATS's own tools write them.
_BETWEEN_URLS = re.compile(r",(?=\s*[A-Za-z]+://)")
_SETTING = re.compile(rf"\?(?:{'|'.join(URL_SETTINGS)})=")
_SECRET = re.compile(r"[A-Z2-7]{20}|eyJ|BEGIN |[\r\n]")


class ServerUrls(NamedTuple):
    """What the URLs of one NATS system contain; everything but the servers may be empty."""

    servers: tuple[str, ...]  # one server each, `nats://host:port` or, with TLS, `tls://host:port`
    user: str
    password: str
    token: str
    settings: dict[str, str]  # of URL_SETTINGS

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {','.join(self.servers)}>"


def parse_urls(url: str) -> ServerUrls:
    """Read `nats://host`, `nats://user:password@host:4222,other:4222?ca=FILE`, `nats://host,nats://other`, `tls://…`.

    Raises ValueError if it is no such URL. The message contains no credentials.
    """
    servers: list[str] = []
    credentials = ""
    settings: dict[str, str] = {}
    for scheme, found, hosts, query in _split(url):
        if scheme.lower() not in SCHEMES:
            raise ValueError(
                f"A NATS server is named nats://host:port or tls://host:port, but {_shown(url)} was given."
            )
        if "@" in found:
            raise ValueError(
                f"{_shown(url)} has several users; name one, before the first host. An @ in a password is written %40."
            )
        if _SETTING.search(found):
            raise ValueError(
                f"An @ in a file name is written %40. It separates credentials and hosts in {_shown(url)}."
            )
        if found and credentials and found != credentials:
            raise ValueError(f"{_shown(url)} has several logins; write one, before the first host.")
        credentials = credentials or found
        servers += [_server(scheme.lower(), host, url) for host in map(str.strip, hosts.split(",")) if host]
        for name, value in _settings(query, url).items():
            if settings.setdefault(name, value) != value:
                raise ValueError(f"{_shown(url)} has several values of {name}; write one, at the end of the URL.")
    if not servers:
        raise ValueError(f"{_shown(url)} has no host. Use nats://host:port.")
    user, _, password = credentials.partition(":")
    if user and not password:
        # As in the tools of NATS: a single credential is a token.
        return ServerUrls(tuple(servers), "", "", unquote(user), settings)
    return ServerUrls(tuple(servers), unquote(user), unquote(password), "", settings)


def hosts(url: str) -> str:
    """The hosts of a URL, separated by commas and without credentials, for display."""
    return ",".join([hosts for _, _, hosts, _ in _split(url)])


def without_credentials(url: str) -> str:
    """The URL without a user, password or token."""
    return ",".join([f"{scheme}://{hosts}{query}" for scheme, _, hosts, query in _split(url)]) if "@" in url else url


def without_settings(url: str) -> str:
    """The URL without credentials, and without the settings after a question mark."""
    return ",".join([f"{scheme}://{hosts}" for scheme, _, hosts, _ in _split(url)])


def shown_path(path: str | os.PathLike[str]) -> str:
    """A file name for messages, unless it looks like a secret."""
    name = os.fspath(path)
    return (
        "(not shown, since it looks like a secret; give the name of a file)"
        if _SECRET.search(name)
        else safe_repr(name, 200)
    )


def _split(url: str) -> Iterator[tuple[str, str, str, str]]:
    """Scheme, credentials, hosts and query (with its `?`) of each URL in a list."""
    for named in _BETWEEN_URLS.split(url):
        scheme, _, rest = named.strip().partition("://")
        credentials, _, found = rest.rpartition("@")
        hosts, mark, query = found.partition("?")
        yield scheme, credentials, hosts.removesuffix("/"), mark + query


def _settings(query: str, url: str) -> dict[str, str]:
    settings = dict(parse_qsl(query.removeprefix("?"), keep_blank_values=True))
    if unknown := next((name for name in settings if name not in URL_SETTINGS), None):
        # The name of an unknown setting may be a password with a question mark.
        known = ", ".join(URL_SETTINGS)
        what = f"the setting {unknown!r}" if unknown in ("user", "password", "token") else "a setting"
        raise ValueError(
            f"The URL {_shown(url)} has {what} after its question mark that is not supported. Supported: {known}. "
            "Write a user and a password, or a token, before the host: nats://user:password@host."
        )
    return settings


def _shown(url: str) -> str:
    return repr(without_settings(url) if "://" in url else url)


def _server(scheme: str, host: str, url: str) -> str:
    try:
        parts = urlsplit(f"{scheme}://{host}")
        port = parts.port or _PORT
        name = parts.hostname
    except ValueError as error:
        raise ValueError(f"{host!r} in {_shown(url)} is not a valid server address: {error}.") from None
    if not name or parts.path or parts.fragment:
        raise ValueError(f"{host!r} in {_shown(url)} is not a valid server address. Use nats://host:port without path.")
    return f"{scheme}://[{name}]:{port}" if ":" in name else f"{scheme}://{name}:{port}"
