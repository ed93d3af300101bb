"""The user and the key of a command. Both always come from the same source.

The sources, in order: the command line (the options, and the URL if it was typed), a URL in a variable, and the two
variables for the scheme of the URL. ftrack's variables contain an API key, which is never sent to a NATS server.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import typer

from rxhub.transport.nats.address import SCHEMES, Address, without_credentials

__all__ = ["NATS_OPTIONS", "SERVER_OPTIONS", "OptionNames", "ServerAccess", "credentials"]

_FTRACK = ("FTRACK_API_USER", "FTRACK_API_KEY")
_NATS = ("RXHUB_NATS_USER", "RXHUB_NATS_PASSWORD")
_URLS = ("FTRACK_SERVER", "RXHUB_NATS")
_WEB = ("http", "https")
_TYPED = "the command line"


class ServerAccess(NamedTuple):
    """A server, and who connects to it. Without a user, the secret is a token of NATS. The URL contains neither."""

    url: str
    user: str | None = None
    secret: str | None = None


class OptionNames(NamedTuple):
    """The names of the two options, for error messages."""

    user: str = "--user"
    secret: str = "--key"


SERVER_OPTIONS = OptionNames()
NATS_OPTIONS = OptionNames("--nats-user", "--nats-password")


class _Source(NamedTuple):
    """A source of a user and a key. A token of NATS has no user."""

    name: str
    user: str | None = None
    secret: str | None = None
    is_token: bool = False


def credentials(url: str, user: str | None, secret: str | None, options: OptionNames = SERVER_OPTIONS) -> ServerAccess:
    """Return the server and the credentials to connect with, given the URL and the values of the two options.

    Raises `typer.BadParameter` if the options contradict a typed URL, or if the first source has a user or a key but
    not both, and another source has the other: they could belong to different users.
    """
    scheme = url.partition("://")[0].strip().lower()
    if scheme not in (*SCHEMES, *_WEB):
        return ServerAccess(url, user or None, secret or None)
    in_url, plain = _of_nats(url) if scheme in SCHEMES else _of_web(url)
    typed = _Source(_TYPED, user or None, secret or None)
    variable = next((name for name in _URLS if os.environ.get(name) == url), None)
    if variable is None:
        sources = [_merged(typed, in_url, options)]
    else:
        sources = [typed, in_url._replace(name=f"the URL in {variable}")]
    pair = _FTRACK if scheme in _WEB else _NATS
    sources.append(_Source(" and ".join(pair), os.environ.get(pair[0]) or None, os.environ.get(pair[1]) or None))
    found = _first(sources, options, scheme in SCHEMES)
    return ServerAccess(plain, found.user, found.secret)


def _merged(typed: _Source, in_url: _Source, options: OptionNames) -> _Source:
    """Merge the options and a typed URL, which are one source and must agree."""
    remedy = f"Give {options.user} and {options.secret} with a URL that has neither, or give only the URL."
    if in_url.is_token and (typed.user or typed.secret not in (None, in_url.secret)):
        raise typer.BadParameter(
            f"The URL has a token already (in a NATS URL, a name without a password is a token). {remedy}",
            param_hint=options.user if typed.user else options.secret,
        )
    for name, typed_one, in_url_one in zip(options, typed[1:3], in_url[1:3], strict=True):
        if typed_one and in_url_one and typed_one != in_url_one:
            raise typer.BadParameter(f"The URL has a different value. {remedy}", param_hint=name)
    return _Source(_TYPED, typed.user or in_url.user, typed.secret or in_url.secret, in_url.is_token)


def _first(sources: Sequence[_Source], options: OptionNames, has_tokens: bool) -> _Source:
    """Return the first source with a user or a key, completed by a source with the same user."""
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
    token = " Write a NATS token as nats://TOKEN@host." if has_tokens and not found.user else ""
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
        return _Source("the URL"), url
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if "@" in parts.netloc else url
    return _Source("the URL", named, given), plain


def _of_nats(url: str) -> tuple[_Source, str]:
    try:
        address = Address.parse(url)
    except ValueError:
        return _Source("the URL"), url  # connecting reports the error
    is_token = address.user is None and address.password is not None
    return _Source("the URL", address.user, address.password, is_token), without_credentials(url)
