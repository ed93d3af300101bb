"""The routes of the HTTP interface."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Mount, Route

from rxhub.server.event_server import EventServer
from rxhub.server.options import AccessOptions
from rxhub.web.account import account_routes
from rxhub.web.administration import administration_routes
from rxhub.web.clients import client_routes
from rxhub.web.console_files import console_routes
from rxhub.web.explaining import explain_routes
from rxhub.web.openapi import openapi_routes
from rxhub.web.problems import exception_handlers
from rxhub.web.publishing import publishing_routes
from rxhub.web.request_tracing import TracedRequests
from rxhub.web.signing_in import session_routes
from rxhub.web.site import Site
from rxhub.web.stored import stored_routes
from rxhub.web.streaming import streaming_routes
from rxhub.web.webhooks import webhook_routes

__all__ = ["routes"]


def routes(server: EventServer, access: AccessOptions) -> list[BaseRoute]:
    """The routes of a server, to be placed after its own.

    Args:
        server: the users, clients and subscriptions.
        access: which requests are accepted.
    """
    site = Site(server, access)
    parts = (
        account_routes,
        session_routes,
        publishing_routes,
        streaming_routes,
        client_routes,
        explain_routes,
        stored_routes,
        administration_routes,
        openapi_routes,
    )
    return [
        _mount("/api", access, [route for part in parts for route in part(site)]),
        _mount("/hooks", access, webhook_routes(site)),
        *console_routes(site),
    ]


def _mount(path: str, access: AccessOptions, routes: list[Route]) -> Mount:
    """An application whose errors are problem details, and whose responses the pages of allowed origins may read."""
    app = Starlette(
        routes=routes,
        exception_handlers=exception_handlers(),
        middleware=[
            Middleware(TracedRequests, path, routes),
            Middleware(
                CORSMiddleware,
                allow_origins=list(access.origins),
                allow_methods=["GET", "POST", "PATCH", "DELETE"],
                allow_headers=["*"],
                allow_credentials=True,
                expose_headers=["retry-after"],
            ),
        ],
    )
    # A redirect would repeat the query without its values.
    app.router.redirect_slashes = False
    return Mount(path, app)
