"""Who a command connects as: the user and the key always come from one source.

The sources, in order: the command line (the options, and the URL if it was typed), a URL that a variable holds, the
variables of the URL's scheme. The variables of ftrack hold an API key, which must not be sent to a NATS server.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import typer

from rxhub.transport.nats.address import SCHEMES, Address, without_credentials

__all__ = ["FTRACK", "NATS", "SERVER_OPTIONS", "Access", "Options", "credentials"]

FTRACK = ("FTRACK_API_USER", "FTRACK_API_KEY")
NATS = ("RXHUB_NATS_USER", "RXHUB_NATS_PASSWORD")

_URLS = ("FTRACK_SERVER", "RXHUB_NATS")
_WEB = ("http", "https")
_TYPED = "the command line"


class Access(NamedTuple):
    """A server, and who connects to it.

    Attributes:
        url: without a user and a key.
        user: None for nobody, or if a token says it.
        secret: the key or password of the user, or a token of NATS if there is no user.
    """

    url: str
    user: str | None = None
    secret: str | None = None


class Options(NamedTuple):
    """The names of the two options, for error messages."""

    user: str = "--user"
    secret: str = "--key"


SERVER_OPTIONS = Options()


class _Source(NamedTuple):
    """Where a user and a key may come from.

    Attributes:
        name: for error messages.
        user: None if this source has none.
        secret: likewise.
        is_token: whether the source itself says that the secret belongs to no user.
    """

    name: str
    user: str | None
    secret: str | None
    is_token: bool = False


def credentials(url: str, user: str | None, secret: str | None, options: Options = SERVER_OPTIONS) -> Access:
    """The user and the key or password to connect with.

    Args:
        url: of the server, as it was typed or as a variable holds it.
        user: by an option; None or empty if it was not given.
        secret: likewise.
        options: the names of the two options.

    Raises:
        typer.BadParameter: if what was typed contradicts itself, or if the first source has only one of the two and
            another source has the other: they would belong to different users.
    """
    scheme = url.partition("://")[0].strip().lower()
    if scheme not in (*SCHEMES, *_WEB):
        return Access(url, user or None, secret or None)
    in_url, plain = _of_nats(url) if scheme in SCHEMES else _of_web(url)
    typed = _Source(_TYPED, user or None, secret or None)
    variable = next((name for name in _URLS if os.environ.get(name) == url), None)
    if variable is None:
        sources = [_merged(typed, in_url, options)]
    else:
        sources = [typed, in_url._replace(name=f"the URL in {variable}")]
    pair = FTRACK if scheme in _WEB else NATS
    sources.append(_Source(" and ".join(pair), _variable(pair[0]), _variable(pair[1])))
    found = _first(sources, options, scheme in SCHEMES)
    return Access(plain, found.user, found.secret)


def _merged(typed: _Source, in_url: _Source, options: Options) -> _Source:
    """The options and a typed URL, which are one source and must agree."""
    remedy = f"Give {options.user} and {options.secret} with a URL that has neither, or give only the URL."
    if in_url.is_token and (typed.user or typed.secret not in (None, in_url.secret)):
        raise typer.BadParameter(
            f"The URL has a token already (in a NATS URL, a name without a password is a token). {remedy}",
            param_hint=options.user if typed.user else options.secret,
        )
    for name, typed_one, in_url_one in (
        (options.user, typed.user, in_url.user),
        (options.secret, typed.secret, in_url.secret),
    ):
        if typed_one and in_url_one and typed_one != in_url_one:
            raise typer.BadParameter(f"The URL has another one. {remedy}", param_hint=name)
    return _Source(_TYPED, typed.user or in_url.user, typed.secret or in_url.secret, in_url.is_token)


def _first(sources: Sequence[_Source], options: Options, has_tokens: bool) -> _Source:
    """The first source that has something, complete or not to be completed."""
    place = next((place for place, source in enumerate(sources) if source.user or source.secret), None)
    if place is None:
        return sources[-1]
    found, others = sources[place], sources[place + 1 :]
    if (found.user and found.secret) or found.is_token:
        return found
    if found.user:
        for other in others:
            if other.user == found.user and other.secret:
                return other
    other = next((other for other in others if (other.secret if found.user else other.user)), None)
    if other is None:
        return found
    has, lacks = ("user", "key") if found.user else ("key", "user")
    token = " A token of NATS is written nats://TOKEN@host." if has_tokens and not found.user else ""
    raise typer.BadParameter(
        f"{found.name} has a {has} but no {lacks}. The {lacks} of {other.name} may belong to another user and is not "
        f"used. Give both {options.user} and {options.secret}, or neither to use {other.name}.{token}",
        param_hint=f"{options.user}, {options.secret}",
    )


def _of_web(url: str) -> tuple[_Source, str]:
    try:
        parts = urlsplit(url)
        named, given = unquote(parts.username or "") or None, unquote(parts.password or "") or None
    except ValueError:
        return _Source("the URL", None, None), url
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if "@" in parts.netloc else url
    return _Source("the URL", named, given), plain


def _of_nats(url: str) -> tuple[_Source, str]:
    try:
        address = Address.parse(url)
    except ValueError:
        return _Source("the URL", None, None), url  # whoever connects reports it
    is_token = address.user is None and address.password is not None
    return _Source("the URL", address.user, address.password, is_token), without_credentials(url)


def _variable(name: str) -> str | None:
    return os.environ.get(name) or None
