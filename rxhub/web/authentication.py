"""Finds the user of a request.

`Authorization: Bearer USER:KEY` and Basic authentication use the same users and keys. The token contains the name of
the user, because keys are stored as salted hashes: without the name, the server would have to compute the slow hash of
every user. Pages of the console send the cookie of a session instead (`rxhub.web.sessions`).
"""

from __future__ import annotations

import logging
from typing import Final

from starlette.requests import Request

from rxhub.errors import RxHubError
from rxhub.server.authentication import Credentials, NotAuthenticated, TooManyAttempts
from rxhub.server.key_removal import original
from rxhub.server.request_auth import address, authorization
from rxhub.server.users import User
from rxhub.web.problems import Problem
from rxhub.web.sessions import ConsoleSession, ForgedRequest
from rxhub.web.site import Site

__all__ = ["CHALLENGE", "authenticate", "check_access", "session_of", "verify"]

# Not Basic, for which browsers open a dialog of their own.
CHALLENGE: Final = {"www-authenticate": 'Bearer realm="rxhub"'}

_logger = logging.getLogger("rxhub.server")


async def authenticate(site: Site, request: Request) -> User:
    """The user of a request: of its credentials, or of its session.

    Raises:
        Problem: 401 without valid credentials, 429 after too many wrong ones, and as `check_access` and `session_of`.
    """
    await check_access(site, request)
    credentials = authorization(original(request.scope))
    if credentials is None and (session := session_of(site, request)) is not None:
        return session.user
    return await verify(site, request, credentials)


def session_of(site: Site, request: Request) -> ConsoleSession | None:
    """The console's session of a request; None if it has no valid one.

    Raises:
        Problem: 403 if another page may have caused the request.
    """
    site.server.refresh_users(now=True)
    try:
        return site.sessions.find(request.scope)
    except ForgedRequest as error:
        site.server.counters.http_requests_refused += 1
        site.server.rejections.warning("Rejected a request from %s: %s", address(request.scope), error)
        raise Problem(403, str(error)) from None


async def verify(site: Site, request: Request, credentials: Credentials | None) -> User:
    """The user with these credentials.

    Raises:
        Problem: 401 if they are missing or wrong, 429 after too many wrong ones.
    """
    server, scope = site.server, request.scope
    try:
        if credentials is None:
            raise NotAuthenticated(
                "Send a user and key: `Authorization: Bearer USER:KEY`, or Basic authentication (curl -u USER:KEY)."
            )
        return await server.authenticate(credentials, address(scope))
    except NotAuthenticated as error:
        server.counters.http_requests_refused += 1
        name = None if credentials is None else credentials.user[:100]
        server.rejections.warning("Rejected a request from %s as %r: %s", address(scope), name, error.reason)
        raise Problem(401, str(error), CHALLENGE) from None
    except TooManyAttempts as error:
        server.counters.http_requests_refused += 1
        server.rejections.warning("Rejected a request from %s: %s", address(scope), error)
        raise Problem(429, str(error), {"retry-after": "2"}) from None


async def check_access(site: Site, request: Request) -> None:
    """Check what does not depend on the user, and connect the backplane if it is not connected.

    Raises:
        Problem: 403 for plain text from another machine and for pages of other origins, 503 if the server is closing or
            its backplane cannot be reached.
    """
    server, scope = site.server, request.scope
    if refusal_reason := site.access.refusal_reason(scope):
        server.counters.http_requests_refused += 1
        server.rejections.warning("Rejected a request from %s: %s", address(scope), refusal_reason)
        raise Problem(403, refusal_reason)
    if server.is_closing:
        raise Problem(503, "The server is shutting down.", {"retry-after": "5"})
    try:
        await server.start()
    except RxHubError as error:
        _logger.error("%s", error)
        raise Problem(503, "The server's backplane cannot be reached.", {"retry-after": "5"}) from None
