"""`GET /api/user`: the user of a request, so that a page shows only what the user may do."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rxhub.web.authentication import authenticate
from rxhub.web.parameters import parameters
from rxhub.web.site import Site

__all__ = ["account_routes"]


def account_routes(site: Site) -> list[Route]:
    """The route of the user's own account."""

    async def account(request: Request) -> Response:
        user = await authenticate(site, request)
        parameters(request)
        return JSONResponse(
            {"name": user.name, "publish": user.publish.patterns, "subscribe": user.subscribe.patterns},
            headers={"cache-control": "no-store"},
        )

    return [Route("/user", account, methods=["GET"])]
