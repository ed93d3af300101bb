"""`/api/session`: signing in to the console, and out."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Final

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rxhub.redaction import secrets
from rxhub.redaction.secret_names import ABOUT, ASKING
from rxhub.redaction.strings import LABELS, VALUE_KEYS
from rxhub.server.authentication import Credentials
from rxhub.web.authentication import CHALLENGE, check_access, session_of, verify
from rxhub.web.parameters import parameters
from rxhub.web.problems import Problem
from rxhub.web.sessions import ConsoleSession, set_cookie
from rxhub.web.site import Site

__all__ = ["session_routes"]

_MAX_BODY_BYTES: Final = 8_192
_BODY_TIMEOUT_S: Final = 5.0
_NOT_STORED: Final = {"cache-control": "no-store"}


class _SignIn(msgspec.Struct, forbid_unknown_fields=True):
    """What a page signs in with: a user and key, or the token of a sign-in link."""

    user: str = ""
    key: str = ""
    token: str = ""


def session_routes(site: Site) -> list[Route]:
    """The routes of sessions."""
    return [
        Route("/session", partial(_show, site), methods=["GET"]),
        Route("/session", partial(_sign_in, site), methods=["POST"]),
        Route("/session", partial(_sign_out, site), methods=["DELETE"]),
    ]


async def _show(site: Site, request: Request) -> Response:
    """The session of a page, and what its user may do."""
    await check_access(site, request)
    parameters(request)
    return JSONResponse(_content(site, _session(site, request)), headers=_NOT_STORED)


async def _sign_in(site: Site, request: Request) -> Response:
    """Begin a session."""
    await check_access(site, request)
    parameters(request)
    # Pages of other origins can send forms, but not this type.
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Problem(415, "Sign in with a body of the type application/json.")
    try:
        wanted = msgspec.json.decode(await _read(request), type=_SignIn)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Problem(400, f'Send {{"user": …, "key": …}}, or {{"token": …}} of a sign-in link: {error}.') from None
    if wanted.token:
        user = site.server.users.get(site.links.pop(wanted.token, ""))
        if user is None:
            raise Problem(401, "This sign-in link is invalid, or was used before. Sign in with a user and key.")
    else:
        user = await verify(site, request, Credentials(wanted.user, wanted.key))
    session = site.sessions.create(user)
    cookie = set_cookie(request.scope, session.cookie)
    return JSONResponse(_content(site, session), headers={"set-cookie": cookie, **_NOT_STORED})


async def _read(request: Request) -> bytes:
    """The body of an unknown client. Unlike `read_body`, this keeps the limits of the server for these."""
    body = b""
    try:
        async with asyncio.timeout(_BODY_TIMEOUT_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > _MAX_BODY_BYTES:
                    raise Problem(413, f"A sign-in may have {_MAX_BODY_BYTES:,} bytes at most.")
    except TimeoutError:
        raise Problem(408, f"The sign-in was not complete within {_BODY_TIMEOUT_S:g} s.") from None
    except ClientDisconnect:
        raise Problem(400, "The connection ended before the sign-in was complete.") from None
    return body


async def _sign_out(site: Site, request: Request) -> Response:
    """End the session of a page."""
    await check_access(site, request)
    parameters(request)
    site.sessions.revoke(_session(site, request))
    return Response(status_code=204, headers={"set-cookie": set_cookie(request.scope, "")})


def _session(site: Site, request: Request) -> ConsoleSession:
    if (session := session_of(site, request)) is None:
        raise Problem(401, "You are not signed in. Send a user and key, or the token of a sign-in link.", CHALLENGE)
    return session


def _content(site: Site, session: ConsoleSession) -> dict[str, Any]:
    user = session.user
    return {
        "user": user.name,
        "publish": user.publish.patterns,
        "subscribe": user.subscribe.patterns,
        "is_admin": user.is_admin,
        "heartbeat": site.server.options.heartbeat,
        "stores": site.server.options.backplane is not None,
        "csrf_token": session.csrf_token,
        # The console hides secrets in events by the rules of `rxhub.redaction`.
        "secret_names": {
            "names": list(secrets),
            "about": sorted(ABOUT),
            "asking": sorted(ASKING),
            "labels": sorted({label.lower() for label in LABELS}),
            "values": sorted(VALUE_KEYS),
        },
    }
