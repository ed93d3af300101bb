"""The ASGI application: handshake, WebSocket, probes, statistics, metrics, and the HTTP interface."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

from rxhub.errors import Refused, RxHubError
from rxhub.server import request_auth
from rxhub.server.authentication import NotAuthenticated, TooManyAttempts
from rxhub.server.client import CloseReason
from rxhub.server.event_server import EventServer
from rxhub.server.forwarded import ForwardedHeaders, trusted_networks
from rxhub.server.key_removal import KeyRemoval, install_log_filter, original, session_id
from rxhub.server.limits import Limits, SlowConsumer
from rxhub.server.metrics import ServerMetrics
from rxhub.server.options import AccessOptions, ServerOptions
from rxhub.server.readiness import readiness
from rxhub.server.receive_memory import UNREAD
from rxhub.server.request_auth import address, origin_of
from rxhub.server.users import Users
from rxhub.telemetry.probes import LIVENESS_PATH, READINESS_PATH, Readiness
from rxhub.transport.socketio.protocol import PATH

if TYPE_CHECKING:
    from rxhub.server.backplane import Backplane

__all__ = ["application", "create_app"]

_logger = logging.getLogger("rxhub.server")

_WEB: Final = "rxhub.web.routes:routes"
"""The routes of the HTTP interface, by name, because the package is above this one."""


def application(
    users: Users,
    *,
    limits: Limits | None = None,
    origins: Collection[str] = (),
    plain_text: bool = False,
    heartbeat: float = 10.0,
    heartbeat_timeout: float = 30.0,
    slow_consumer: SlowConsumer = SlowConsumer.DISCONNECT,
    backplane: Backplane | None = None,
    trusted_proxies: Collection[str] = (),
    webhooks: Path | str | None = None,
) -> Starlette:
    """An event server as an ASGI application, to be run alone or mounted in another application.

    API keys are removed from requests before they are logged, and from uvicorn's log of requests that an outer
    application answers itself. With another server, wrap the outermost application in
    `rxhub.server.key_removal.KeyRemoval` for these requests.

    Do not run it with uvicorn's defaults. Use `rxhub serve`, or `ws="rxhub.server.uvicorn_protocols:WebSocket"`,
    `ws_per_message_deflate=False`, `ws_ping_interval=None`, and `ws_max_size` at your limit.

    Args:
        users: who may connect.
        limits: what users may do.
        origins: web pages that may connect in addition to the server's own, in the form that browsers send:
            `https://studio.example`.
        plain_text: accept requests without TLS from other machines.
        heartbeat: seconds between two heartbeats. ftrack's JavaScript client disconnects after 15 s without one.
        heartbeat_timeout: seconds without a message after which a client counts as disconnected.
        slow_consumer: what happens to a client that reads too slowly.
        backplane: joins the server with others; None for a single server.
        trusted_proxies: addresses or networks of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are used. This
            does not affect the web server: uvicorn trusts 127.0.0.1 unless it is started with `proxy_headers=False`
            (`--no-proxy-headers`).
        webhooks: file with the incoming webhooks; see "Over HTTP" in the documentation.

    Returns:
        The application. Its lifespan connects the backplane, and closes the connections of clients during shutdown. If
        an outer application does not run this lifespan, the first request connects the backplane.

    Raises:
        ValueError: if a trusted proxy is not an address or a network, or the heartbeat is not below its timeout.
        WebhookError: if the webhooks cannot be used.
    """
    install_log_filter()
    options = ServerOptions(
        limits=limits or Limits(),
        heartbeat=heartbeat,
        heartbeat_timeout=heartbeat_timeout,
        slow_consumer=slow_consumer,
        backplane=backplane,
    )
    access = AccessOptions(origins=origins, plain_text=plain_text, trusted_proxies=trusted_proxies, webhooks=webhooks)
    return create_app(EventServer(users, options), access)


def create_app(server: EventServer, access: AccessOptions) -> Starlette:
    """The application of a server."""
    endpoints = _Endpoints(server, access)
    module, _, name = _WEB.partition(":")
    web_routes = getattr(import_module(module), name)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        await server.start()
        yield
        await server.close()

    app = Starlette(
        lifespan=lifespan,
        middleware=[Middleware(KeyRemoval), Middleware(ForwardedHeaders, trusted_networks(access.trusted_proxies))],
        routes=[
            *_get_routes(PATH, endpoints.handshake),
            WebSocketRoute(f"{PATH}websocket/{{sid}}", _WebSocket(endpoints)),
            *_get_routes("/health", endpoints.health),
            *_get_routes(LIVENESS_PATH, endpoints.liveness),
            *_get_routes(READINESS_PATH, endpoints.readiness),
            *_get_routes("/stats", endpoints.stats),
            *_get_routes("/metrics", endpoints.metrics),
            *web_routes(server, access),
        ],
    )
    # A redirect would repeat the query without the key.
    app.router.redirect_slashes = False
    return app


def _get_routes(path: str, endpoint: Callable[[Request], Awaitable[Response]]) -> list[Route]:
    """The endpoint with and without a trailing slash."""
    bare = path.rstrip("/")
    return [Route(bare, endpoint, methods=["GET"]), Route(f"{bare}/", endpoint, methods=["GET"])]


class _Endpoints:
    def __init__(self, server: EventServer, access: AccessOptions) -> None:
        self.server = server
        self.access = access
        self._metrics = ServerMetrics(server.stats)

    async def handshake(self, request: Request) -> Response:
        """Answer `GET /socket.io/1/` with a session id."""
        scope = request.scope
        credentials = request_auth.credentials(original(scope))
        server = self.server
        headers = _cors_headers(scope)
        if server.is_closing:
            return PlainTextResponse("The server is shutting down.", 503, {"retry-after": "5", **headers})
        if refusal_reason := self.access.refusal_reason(scope):
            server.counters.handshakes_refused += 1
            server.rejections.warning("Rejected a handshake from %s: %s", address(scope), refusal_reason)
            return PlainTextResponse(refusal_reason, 403)
        if await self._backplane_failed():
            return PlainTextResponse("The server's backplane cannot be reached.", 503, {"retry-after": "5", **headers})
        try:
            if credentials is None:
                raise NotAuthenticated(
                    "Send a user and key: headers ftrack-user and ftrack-api-key, or api_user and api_key in the query."
                )
            user = await server.authenticate(credentials, address(scope))
            line = server.handshake(user)
        except NotAuthenticated as error:
            server.counters.handshakes_refused += 1
            user_name = None if credentials is None else credentials.user[:100]
            server.rejections.warning("Rejected a handshake from %s as %r: %s", address(scope), user_name, error.reason)
            return PlainTextResponse(str(error), 401, headers)
        except TooManyAttempts as error:
            server.counters.handshakes_refused += 1
            server.rejections.warning("Rejected a handshake from %s: %s", address(scope), error)
            return PlainTextResponse(str(error), 429, {"retry-after": "2", **headers})
        return PlainTextResponse(line, headers={"cache-control": "no-store", **headers})

    async def health(self, request: Request) -> Response:
        """The state of the server, for load balancers. Needs no credentials."""
        if self.server.is_closing:
            return JSONResponse({"status": "closing"}, 503)
        if self.server.options.backplane is None:
            return JSONResponse({"status": "ok"})
        if await self._backplane_failed() or not self.server.options.backplane.is_connected:
            return JSONResponse({"status": "disconnected", "backplane": "disconnected"}, 503)
        if self.server.options.backplane.trouble:
            # The reason contains a directory, and this request has no credentials. The log contains the reason.
            return JSONResponse({"status": "not storing", "backplane": "connected"}, 503)
        return JSONResponse({"status": "ok", "backplane": "connected"})

    async def liveness(self, request: Request) -> Response:
        """Whether the event loop runs. Needs no credentials."""
        return _probe_response(Readiness())

    async def readiness(self, request: Request) -> Response:
        """Whether the server accepts clients and events, with the reason if not. Needs no credentials."""
        if not self.server.is_closing:
            await self._backplane_failed()
        return _probe_response(readiness(self.server))

    async def stats(self, request: Request) -> Response:
        return await self._check_access(request) or JSONResponse(self.server.stats())

    async def metrics(self, request: Request) -> Response:
        """The statistics for Prometheus."""
        if refusal := await self._check_access(request):
            return refusal
        body, content_type = self._metrics.exposition(request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    async def _backplane_failed(self) -> bool:
        """Try to connect the backplane, if there is one. True if that failed."""
        try:
            await self.server.start()
        except RxHubError as error:
            _logger.error("%s", error)
            return True
        return False

    async def _check_access(self, request: Request) -> Response | None:
        """The response to a request without valid credentials; None if they are valid."""
        scope = request.scope
        sent = original(scope)
        credentials = request_auth.credentials(sent) or request_auth.basic(sent)
        if refusal_reason := self.access.refusal_reason(scope):
            return PlainTextResponse(refusal_reason, 403)
        try:
            if credentials is None:
                raise NotAuthenticated("Send a user and a key.")
            await self.server.authenticate(credentials, address(scope))
        except NotAuthenticated as error:
            return PlainTextResponse(str(error), 401, {"www-authenticate": 'Basic realm="rxhub"'})
        except TooManyAttempts as error:
            return PlainTextResponse(str(error), 429, {"retry-after": "2"})
        return None


class _WebSocket:
    """The endpoint of WebSockets, as plain ASGI for speed."""

    def __init__(self, endpoints: _Endpoints) -> None:
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        server = self._endpoints.server
        credentials = request_auth.credentials(original(scope))
        sid = session_id(scope)
        await receive()  # the request to connect
        try:
            if refusal_reason := self._endpoints.access.refusal_reason(scope):
                raise Refused(refusal_reason)
            connection = server.connect(sid, credentials, address(scope))
        except Refused as error:
            server.rejections.warning("Rejected a WebSocket from %s: %s", address(scope), error)
            await send({"type": "websocket.close", "code": 1008, "reason": ""})  # before accepting it: HTTP 403
            return
        try:
            if (unread := scope.get("extensions", {}).get(UNREAD)) is not None:
                unread.attach(server.unread, connection.user)
            await send({"type": "websocket.accept"})
            await server.serve(connection, receive, send)
        finally:
            if connection.close_reason is None:
                connection.close_reason = CloseReason.GONE
            server.remove(connection)


def _probe_response(result: Readiness) -> Response:
    return JSONResponse(result.to_json(), result.http_status, {"cache-control": "no-store"})


def _cors_headers(scope: Scope) -> dict[str, Any]:
    """The headers that let a page read the response. ftrack's JavaScript client sends credentials."""
    origin = origin_of(scope)
    if origin is None:
        return {}
    return {"access-control-allow-origin": origin, "access-control-allow-credentials": "true", "vary": "Origin"}
