"""The sessions of the console: signed cookies, tokens against cross-site requests, and sign-in links.

A session is a cookie that names its user and its end. It is signed with a secret of the server and the hash of the
user's key, so that it ends when the user is removed or gets another key, and needs no memory of the server. With a
users file, the secret is stored in a file beside it, so that sessions survive a restart of the server, and are valid on
all servers with this file.

Browsers send a cookie with any request to its host, whichever page makes it. So the cookie is `SameSite=Strict`, a
request that changes something must repeat a token that only the console's own page can read, and `Sec-Fetch-Site`,
which pages cannot set, must name the server's own page. Another port of the host is the same site for cookies.
"""

from __future__ import annotations

import hmac
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from secrets import token_bytes, token_urlsafe
from time import time
from typing import Final, NamedTuple

from starlette.requests import cookie_parser
from starlette.types import Scope

from rxhub.concurrency.bounded_dict import BoundedDict
from rxhub.errors import RxHubError
from rxhub.server.key_removal import headers_of
from rxhub.server.users import User, Users, UsersFile

__all__ = [
    "SESSION_SECONDS",
    "ConsoleSession",
    "ConsoleSessions",
    "ForgedRequest",
    "cookie_name",
    "session_secret",
    "set_cookie",
]

SESSION_SECONDS: Final = 24 * 3600
"""Seconds for which a session is valid."""

_SAFE_METHODS: Final = {"GET", "HEAD", "OPTIONS"}
_MAX_COOKIES_LENGTH: Final = 8_192
_MAX_REVOKED: Final = 10_000
_SECRET_BYTES: Final = 32
_PROCESS_SECRET: Final = token_bytes(_SECRET_BYTES)


class ForgedRequest(RxHubError):
    """A request with a session that does not come from the console's page."""


class ConsoleSession(NamedTuple):
    """A session.

    Attributes:
        user: who has signed in.
        cookie: value of the cookie.
        csrf_token: what requests that change something must send as `X-CSRF-Token`.
    """

    user: User
    cookie: str
    csrf_token: str


class ConsoleSessions:
    """Creates and checks sessions.

    Args:
        users: who may sign in.
        clock: seconds since the epoch.
    """

    def __init__(self, users: Users, clock: Callable[[], float] = time) -> None:
        self._users = users
        self._clock = clock
        # Signatures of sessions that were ended before their time.
        self._revoked: BoundedDict[str, None] = BoundedDict(_MAX_REVOKED)

    def create(self, user: User) -> ConsoleSession:
        """A new session of a user."""
        name = urlsafe_b64encode(user.name.encode()).decode().rstrip("=")
        content = f"{name}.{int(self._clock()) + SESSION_SECONDS}.{token_urlsafe(9)}"
        return self._session(user, content)

    def find(self, scope: Scope) -> ConsoleSession | None:
        """The session of a request; None if it has no valid one.

        Raises:
            ForgedRequest: if it has one, and another page may have caused the request.
        """
        headers = headers_of(scope)
        cookies = headers.get("cookie", "")
        if not cookies or len(cookies) > _MAX_COOKIES_LENGTH:
            return None
        session = self._check(cookie_parser(cookies).get(cookie_name(scope), ""))
        if session is None:
            return None
        if headers.get("sec-fetch-site", "") not in {"", "none", "same-origin"}:
            raise ForgedRequest("Another page caused this request. Use the console of the server, or a key.")
        token = headers.get("x-csrf-token", "")
        if scope["method"] not in _SAFE_METHODS and not hmac.compare_digest(
            token.encode(), session.csrf_token.encode()
        ):
            raise ForgedRequest("The header X-CSRF-Token is missing or wrong. Send the token of GET /api/session.")
        return session

    @cached_property
    def _secret(self) -> bytes:
        return session_secret(self._users.path if isinstance(self._users, UsersFile) else None)

    def revoke(self, session: ConsoleSession) -> None:
        """End a session."""
        self._revoked[session.cookie] = None

    def _check(self, cookie: str) -> ConsoleSession | None:
        content, _, _ = cookie.rpartition(".")
        try:
            name, expires, _ = content.split(".")
            user = self._users.get(urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode())
            is_over = int(expires) <= self._clock()
        except ValueError:
            return None
        if user is None or is_over or cookie in self._revoked:
            return None
        session = self._session(user, content)
        return session if hmac.compare_digest(cookie.encode(), session.cookie.encode()) else None

    def _session(self, user: User, content: str) -> ConsoleSession:
        key = hmac.digest(self._secret, user.hash.text.encode(), "sha256")
        return ConsoleSession(user, f"{content}.{_signature(key, content)}", _signature(key, f"csrf {content}"))


def cookie_name(scope: Scope) -> str:
    """The name of the cookie. Cookies do not depend on the port, so the name does. TLS allows a safer prefix."""
    port = headers_of(scope).get("host", "").rpartition(":")[2]
    name = f"rxhub-{port}" if port.isdecimal() else "rxhub"
    return f"__Secure-{name}" if scope.get("scheme") == "https" else name


def set_cookie(scope: Scope, value: str) -> str:
    """The header `Set-Cookie` that stores a session in the browser; an empty value removes it."""
    # The path of the console, which an outer application may have mounted.
    path = f"{scope.get('root_path', '').removesuffix('/api')}/"
    secure = "; Secure" if scope.get("scheme") == "https" else ""
    seconds = SESSION_SECONDS if value else 0
    return f"{cookie_name(scope)}={value}; Max-Age={seconds}; Path={path}; HttpOnly; SameSite=Strict{secure}"


def session_secret(users_file: Path | None) -> bytes:
    """The secret that signs sessions: the one beside the users file, or one of this process.

    The file `.NAME.sessions` is created at the first sign-in, readable for its owner only. If it cannot be written,
    sessions end with the process.
    """
    if users_file is None:
        return _PROCESS_SECRET
    path = users_file.resolve()
    path = path.with_name(f".{path.name}.sessions")
    with suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(token_bytes(_SECRET_BYTES))
    try:
        secret = path.read_bytes()
    except OSError:
        return _PROCESS_SECRET
    return secret if len(secret) == _SECRET_BYTES else _PROCESS_SECRET


def _signature(key: bytes, text: str) -> str:
    return urlsafe_b64encode(hmac.digest(key, text.encode(), "sha256")).decode().rstrip("=")
