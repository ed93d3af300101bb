"""The user and the key of a command. Both always come from the same source.

The sources, in order: the command line (the options, and the URL if it was typed), a URL in a variable, and the
variables for the scheme of the URL. ftrack's variables contain an API key, which is never sent to a NATS server. For
NATS, a settings file comes after the command line if it was typed, otherwise last.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import typer

from rxhub.cli.nats_options import NO_FILES, NatsFiles
from rxhub.transport.nats.address import SCHEMES, without_settings
from rxhub.transport.nats.options import LOGIN, NatsOptions, first_settings, variable_settings

__all__ = ["NATS_OPTIONS", "SERVER_OPTIONS", "OptionNames", "ServerAccess", "credentials", "names_servers"]

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
    settings: Mapping[str, Any] = MappingProxyType({})  # of NATS

    @property
    def has_file(self) -> bool:
        """Whether there is a login of NATS in a file."""
        return bool({*self.settings}.intersection(LOGIN))

    @property
    def has_login(self) -> bool:
        return bool(self.user or self.secret) or self.has_file


def credentials(
    url: str,
    user: str | None,
    secret: str | None,
    options: OptionNames = SERVER_OPTIONS,
    files: NatsFiles = NO_FILES,
) -> ServerAccess:
    """Return the server and the credentials to connect with, given the URL and the values of the options.

    Without a URL, the servers are those of the settings file for NATS. Settings for NATS, such as a credentials file,
    become part of the URL.

    Raises `typer.BadParameter` if the options contradict a typed URL, if there are several kinds of login in one
    source, or if the first source has a user or a key but not both, and another source has the other: they could belong
    to different users.
    """
    scheme = url.partition("://")[0].strip().lower()
    if scheme in _WEB:
        if files.is_typed:
            raise typer.BadParameter("These options are for NATS, but the URL is that of an event server.")
        in_url, plain = _of_web(url)
        user_name, key = (os.environ.get(name) or None for name in _FTRACK)
        variables = _Source(" and ".join(_FTRACK), user_name, key)
        found = _first([*_typed_sources(url, in_url, user, secret, options, {}), variables], options, False)
        return ServerAccess(plain, found.user, found.secret)
    if url and scheme not in SCHEMES:
        return ServerAccess(url, user or None, secret or None)
    config = os.environ.get("RXHUB_NATS_CONFIG")
    configured, in_config = _load(files.config, "--nats-config"), _load(config, "RXHUB_NATS_CONFIG") or NatsOptions()
    with _bad_parameters("RXHUB_NATS_…"):
        in_variables = NatsOptions(**variable_settings())
    url = url or ",".join((configured or in_config).servers or in_config.servers)
    if not url:
        raise typer.BadParameter("Specify the NATS servers, or set RXHUB_NATS.", param_hint="--nats")
    in_url, plain = _of_nats(url)
    typed, *in_variable = _typed_sources(url, in_url, user, secret, options, files.settings)
    sources = [
        typed,
        *([] if configured is None else [_of_options(f"{files.config}", configured)]),
        *in_variable,
        _of_options(" and ".join(_NATS), in_variables),
        _of_options(f"{config}", in_config),
    ]
    found = _first(sources, options, True)
    if found.has_file and (found.secret or (found.user and found is not typed)):
        raise typer.BadParameter(f"{found.name} has several logins. Give a user and a password, or a file.")
    settings = first_settings(*[source.settings for source in sources])
    login = {name: value for name, value in found.settings.items() if name in LOGIN}
    with _bad_parameters("--nats-…"):
        query = NatsOptions(**{name: value for name, value in settings.items() if name not in LOGIN}, **login).query
    return ServerAccess(plain + query, found.user, found.secret)


def names_servers(files: NatsFiles) -> bool:
    """Whether a settings file for NATS, typed or in the variable, names servers."""
    loaded = (_load(files.config, "--nats-config"), _load(os.environ.get("RXHUB_NATS_CONFIG"), "RXHUB_NATS_CONFIG"))
    return any(options is not None and options.servers for options in loaded)


def _load(path: Path | str | None, hint: str) -> NatsOptions | None:
    with _bad_parameters(hint):
        return NatsOptions.load(path) if path else None


def _typed_sources(
    url: str,
    in_url: _Source,
    user: str | None,
    secret: str | None,
    options: OptionNames,
    settings: Mapping[str, Any],
) -> list[_Source]:
    """Return the command line, and the URL if it was not typed but is that of a variable."""
    typed = _Source(_TYPED, user or None, secret or None, settings=settings)
    variable = next((name for name in _URLS if url and os.environ.get(name) == url), None)
    if variable is None:
        return [_merged(typed, in_url, options)]
    return [typed, in_url._replace(name=f"the URL in {variable}")]


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
    settings = first_settings(typed.settings, in_url.settings)
    return _Source(_TYPED, typed.user or in_url.user, typed.secret or in_url.secret, in_url.is_token, settings)


def _first(sources: Sequence[_Source], options: OptionNames, has_tokens: bool) -> _Source:
    """Return the first source with a user or a key, completed by a source with the same user."""
    place = next((place for place, source in enumerate(sources) if source.has_login), None)
    if place is None:
        return sources[-1]
    found, others = sources[place], sources[place + 1 :]
    if (found.user and found.secret) or found.is_token or found.has_file:
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
        options = NatsOptions(url)
    except ValueError:
        return _Source("the URL"), url  # connecting reports the error
    return _of_options("the URL", options), without_settings(url)


def _of_options(name: str, options: NatsOptions) -> _Source:
    settings = {key: value for key, value in options.settings.items() if key not in ("user", "password", "token")}
    return _Source(name, options.user, options.password or options.token, options.token is not None, settings)


@contextmanager
def _bad_parameters(hint: str) -> Generator[None]:
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=hint) from None
