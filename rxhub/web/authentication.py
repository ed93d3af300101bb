"""Finds the user of a request.

`Authorization: Bearer USER:KEY` and Basic authentication use the same users and keys. The token contains the name of
the user, because keys are stored as salted hashes: without the name, the server would have to compute the slow hash of
every user.
"""

from __future__ import annotations

import logging
from typing import Final

from starlette.requests import Request

from rxhub.errors import RxHubError
from rxhub.server.authentication import NotAuthenticated, TooManyAttempts
from rxhub.server.key_removal import authorization_of
from rxhub.server.request_auth import address
from rxhub.server.users import User
from rxhub.web.problems import Problem
from rxhub.web.site import Site

__all__ = ["authenticate", "check_access"]

# Not Basic, for which browsers open a dialog of their own.
_CHALLENGE: Final = {"www-authenticate": 'Bearer realm="rxhub"'}

_logger = logging.getLogger("rxhub.server")


async def authenticate(site: Site, request: Request) -> User:
    """The user of a request.

    Raises:
        Problem: 401 without valid credentials, 429 after too many wrong ones, and as `check_access`.
    """
    await check_access(site, request)
    server, scope = site.server, request.scope
    credentials = authorization_of(scope)
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
        raise Problem(401, str(error), _CHALLENGE) from None
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
