"""The trace context of requests: a span for each request, and the context for the events that it publishes.

A response that streams events lasts as long as its reader, so its span ends with the headers of the response.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rxhub.telemetry import tracing
from rxhub.telemetry.trace_carrier import carrier_of

__all__ = ["TracedRequests", "carrier_for"]

_STREAMS: Final = ("text/event-stream", "application/x-ndjson")


class TracedRequests:
    """ASGI middleware that creates a span for each request while tracing is on.

    Args:
        app: the application.
        prefix: where it is mounted.
        routes: of the application.
    """

    def __init__(self, app: ASGIApp, prefix: str, routes: Iterable[Route]) -> None:
        self._app = app
        self._routes = {route.endpoint: f"{prefix}{route.path}" for route in routes}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if tracing.active is None or scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        span = tracing.active.request(scope["method"], scope["scheme"], scope["path"], Headers(scope=scope))
        status = 500

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if Headers(raw=message["headers"]).get("content-type", "").startswith(_STREAMS):
                    span.respond(self._route(scope), status)
            await send(message)

        with span:
            try:
                await self._app(scope, receive, note)
            finally:
                span.respond(self._route(scope), status)

    def _route(self, scope: Scope) -> str:
        endpoint: Any = scope.get("endpoint")
        return self._routes.get(endpoint, "")


def carrier_for(request: Request) -> dict[str, Any]:
    """The fields for the source of the events that a request publishes; those of its headers if tracing is off."""
    return carrier_of(request.headers) if tracing.active is None else dict(tracing.active.current_carrier())
