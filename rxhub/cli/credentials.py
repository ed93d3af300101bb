"""Who connects: what is typed takes precedence over the environment, and each kind of server has its own variables.

The order is: options, then the URL, then the variables of the URL's scheme. The variables of ftrack hold an API key,
which must not be sent to a NATS server.
"""

from __future__ import annotations

import os
from urllib.parse import unquote, urlsplit

from rxhub.transport.nats.address import SCHEMES, Address

__all__ = ["FTRACK", "NATS", "credentials"]

FTRACK = ("FTRACK_API_USER", "FTRACK_API_KEY")
NATS = ("RXHUB_NATS_USER", "RXHUB_NATS_PASSWORD")


def credentials(url: str, user: str | None, secret: str | None) -> tuple[str | None, str | None]:
    """The user and the key or password to connect with.

    Args:
        url: of the server.
        user: by an option; None if it was not given.
        secret: likewise.

    Returns:
        None for what a NATS URL itself tells, and for what was given nowhere.
    """
    scheme = url.partition("://")[0].strip().lower()
    if scheme in SCHEMES:
        return (user, secret) if _has_credentials(url) else (user or _variable(NATS[0]), secret or _variable(NATS[1]))
    if scheme in ("http", "https"):
        named, given = _of_web(url)
        user, secret = user or named, secret or given
        return user or _variable(FTRACK[0]), secret or _variable(FTRACK[1])
    return user, secret


def _of_web(url: str) -> tuple[str | None, str | None]:
    try:
        parts = urlsplit(url)
    except ValueError:
        return None, None
    return unquote(parts.username or "") or None, unquote(parts.password or "") or None


def _has_credentials(url: str) -> bool:
    try:
        address = Address.parse(url)
    except ValueError:
        return False  # whoever connects reports it
    return address.user is not None or address.password is not None


def _variable(name: str) -> str | None:
    return os.environ.get(name) or None
