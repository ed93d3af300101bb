"""`NatsOptions`: the servers of a NATS system, the login and TLS, from arguments, URLs, variables and files.

There are four kinds of login: user and password, token, credentials file, and NKEY or JWT files. A login always comes
from one source, since a password belongs to its user. The other settings are taken from the first source that has them.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from pathlib import Path
from typing import Any, Final, Self, cast
from urllib.parse import urlencode

from rxhub.transport.nats.address import URL_SETTINGS, parse_urls, shown_path
from rxhub.transport.registry import TransportOptions

__all__ = ["LOGIN", "VARIABLES", "NatsOptions", "first_settings", "variable_settings"]

LOGIN: Final = ("user", "password", "token", "credentials", "nkey", "jwt")
"""The settings of a login."""

_GROUPS: Final = (LOGIN, ("ca",), ("certificate", "private_key"), ("tls_first",))
"""Settings that belong together and are taken from one source."""

VARIABLES: Final = {
    name: f"RXHUB_NATS_{name.upper()}" for name in (*LOGIN, "ca", "certificate", "private_key", "tls_first")
}
"""The environment variables of the settings. The servers are in `RXHUB_NATS`, a file of settings in `…_CONFIG`."""

_FILES: Final = tuple(name for name in URL_SETTINGS if name != "tls_first")
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True, repr=False)
class NatsOptions(TransportOptions):
    """The servers of a NATS system, and how to connect to them. Pass it instead of a URL.

    All files are read again for each connection, so a renewed file needs no restart. The representation contains no
    secret.

    Attributes:
        servers: one or several URLs, which may contain a login and settings; `nats://one,two` or a list. Normalized to
            one URL per server, with the scheme `tls` if the connection must be encrypted.
        user: the user name.
        password: of the user. Without a user, it is a token.
        token: a token.
        credentials: file with a JWT and an NKEY seed (`.creds`).
        nkey: file with the NKEY seed of a user.
        jwt: file with the JWT of a user. `nkey` is the file with its seed; a bearer JWT needs none.
        ca: file with the certificate authorities to trust. Default: those of the system.
        certificate: file with the client certificate.
        private_key: file with its private key, if that is not in the same file.
        tls_first: encrypt before the server sends anything, for servers with `handshake_first`.

    `ca`, `certificate` and `tls_first` require encryption: a server without TLS is rejected.

    Raises:
        ValueError: if a URL is invalid, if there are several kinds of login, or a private key without a certificate.
    """

    servers: str | Sequence[str] = ()
    user: str | None = None
    password: str | None = None
    _: KW_ONLY
    token: str | None = None
    credentials: str | os.PathLike[str] | None = None
    nkey: str | os.PathLike[str] | None = None
    jwt: str | os.PathLike[str] | None = None
    ca: str | os.PathLike[str] | None = None
    certificate: str | os.PathLike[str] | None = None
    private_key: str | os.PathLike[str] | None = None
    tls_first: bool | None = None

    def __post_init__(self) -> None:
        url = self.servers if isinstance(self.servers, str) else ",".join(self.servers)
        settings = self.settings
        servers: tuple[str, ...] = ()
        if url or self.servers:
            servers, user, password, token, in_url = parse_urls(url)
            if (token or {*in_url}.intersection(LOGIN)) and [name for name in LOGIN if name in settings] == ["user"]:
                # Such a login has no other user name.
                del settings["user"]
            settings = first_settings(settings, {"user": user, "password": password, "token": token} | in_url)
        settings = _checked(settings)
        if any(settings.get(name) for name in ("ca", "certificate", "tls_first")):
            servers = tuple(f"tls://{server.partition('://')[2]}" for server in servers)
        self.__dict__.update({name: settings.get(name) for name in VARIABLES} | {"servers": servers})

    def __repr__(self) -> str:
        """Without passwords and tokens, since representations are logged."""
        shown = [",".join(self.servers) or "no servers", self.login or "no login"]
        shown += [
            f"{name} {shown_path(value)}" for name in _FILES if name not in LOGIN and (value := self.settings.get(name))
        ]
        return f"{type(self).__name__}({', '.join([*shown, *(['TLS first'] if self.tls_first else [])])})"

    @property
    def url(self) -> str:
        """The URL without user, password and token.

        Raises:
            ValueError: if there are no servers.
        """
        if not self.servers:
            raise ValueError("No NATS servers were given. Set `servers`, for example nats://one,two, or RXHUB_NATS.")
        return ",".join(self.servers) + self.query

    @property
    def query(self) -> str:
        """The settings that a URL may contain, with their `?`; empty if there are none."""
        found: dict[str, str] = {name: os.fspath(self.settings[name]) for name in _FILES if name in self.settings}
        if self.tls_first:
            found["tls_first"] = "true"
        return "?" + urlencode(found, safe="/") if found else ""

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that are set, other than the servers."""
        return {name: value for name in VARIABLES if (value := self.__dict__[name]) not in (None, "")}

    @property
    def login(self) -> str:
        """What the server checks, for messages: for example `the password of joe`; empty without a login."""
        if self.credentials is not None:
            return f"the credentials file {shown_path(self.credentials)}"
        if self.jwt is not None:
            return f"the JWT in {shown_path(self.jwt)}"
        if self.nkey is not None:
            return f"the NKEY in {shown_path(self.nkey)}"
        if self.token is not None:
            return "the token"
        if self.user is not None:
            return f"the password of {self.user}"
        return "" if self.certificate is None else "the client certificate"

    def over(self, other: NatsOptions) -> Self:
        """These options, completed by others."""
        return type(self)(self.servers or other.servers, **first_settings(self.settings, other.settings))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a TOML file with the attributes as keys. Paths in it are relative to its directory.

        Raises:
            OSError: if the file cannot be read.
            ValueError: if it is not such a file. The message contains no values.
        """
        place = Path(path)
        try:
            found = tomllib.loads(place.read_text("utf-8"))
        except ValueError as error:
            where = f": {error}" if isinstance(error, tomllib.TOMLDecodeError) else ""
            raise ValueError(f"{place} is not a valid TOML file{where}.") from None
        known = [each.name for each in fields(cls)]
        if unknown := [name for name in found if name not in known]:
            raise ValueError(f"{place} has the unknown key {unknown[0]!r}. Known keys: {', '.join(known)}.")
        for name, value in found.items():
            _check_type(place, name, value)
        base = place.absolute().parent
        return cls(**{name: base / value if name in _FILES and value else value for name, value in found.items()})

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the variables `RXHUB_NATS` and `RXHUB_NATS_…`, and the file that `RXHUB_NATS_CONFIG` names.

        The URL in `RXHUB_NATS` takes precedence over the other variables, and these over the file. Empty variables
        count as unset.

        Raises:
            OSError: if the file cannot be read.
            ValueError: if a variable or the file is invalid. The message contains no values.
        """
        found = cls(environ.get("RXHUB_NATS", "")).over(cls(**variable_settings(environ)))
        config = environ.get("RXHUB_NATS_CONFIG")
        return found.over(cls.load(config)) if config else found


def variable_settings(environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The settings in the variables `RXHUB_NATS_…`; empty variables count as unset."""
    return {name: value for name, variable in VARIABLES.items() if (value := environ.get(variable))}


def first_settings(*sources: Mapping[str, Any]) -> dict[str, Any]:
    """For each group of settings, those of the first source that has any."""
    found: dict[str, Any] = {}
    for group in _GROUPS:
        for source in sources:
            if mine := {name: source[name] for name in group if source.get(name) not in (None, "")}:
                found |= mine
                break
    return found


def _checked(settings: dict[str, Any]) -> dict[str, Any]:
    """Check the settings of one object, and convert a flag from text."""
    if "password" in settings and "user" not in settings:
        settings = {name: value for name, value in settings.items() if name != "password"} | (
            {"token": settings["password"]} if "token" not in settings else {}
        )
    kinds = [
        kind
        for kind in (("user",), ("token",), ("credentials",), ("nkey", "jwt"))
        if any(name in settings for name in kind)
    ]
    if len(kinds) > 1:
        given = ", ".join(name for kind in kinds for name in kind if name in settings)
        raise ValueError(
            f"Several logins were given: {given}. Give one: user and password, token, credentials, or nkey and jwt."
        )
    if "private_key" in settings and "certificate" not in settings:
        raise ValueError("A private key was given without its certificate. Set `certificate` too.")
    flag = settings.get("tls_first")
    if isinstance(flag, str):
        if flag.lower() not in (*_TRUE, *_FALSE):
            raise ValueError("The value of tls_first is not valid. Use true or false.")
        settings = settings | {"tls_first": flag.lower() in _TRUE}
    return settings


def _check_type(place: Path, name: str, value: object) -> None:
    is_list = name == "servers" and isinstance(value, list) and {*map(type, cast("list[object]", value))} <= {str}
    if not (is_list or isinstance(value, bool if name == "tls_first" else str)):
        wanted = (
            "true or false"
            if name == "tls_first"
            else "a string or a list of strings"
            if name == "servers"
            else "a string"
        )
        raise ValueError(f"The value of {name} in {place} is not valid. Use {wanted}.")
