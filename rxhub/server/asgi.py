"""The ASGI application: handshake, WebSocket, health, statistics, metrics."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

from rxhub.errors import Refused, RxHubError
from rxhub.server.access_logs import install_log_filter
from rxhub.server.authentication import NotAuthenticated, TooManyAttempts
from rxhub.server.connection import CloseReason
from rxhub.server.counters import prometheus
from rxhub.server.event_server import EventServer
from rxhub.server.forwarded import ForwardedHeaders, trusted_networks
from rxhub.server.key_removal import KeyRemoval, session_id, shown_basic, shown_credentials
from rxhub.server.limits import Limits, SlowConsumer
from rxhub.server.receive_memory import UNREAD
from rxhub.server.request_auth import (
    address,
    is_exposed,
    is_origin_allowed,
    origin_of,
)
from rxhub.server.users import Users
from rxhub.transport.socketio.protocol import PATH

if TYPE_CHECKING:
    from rxhub.server.backplane import Backplane

__all__ = ["application", "create_app"]

_logger = logging.getLogger("rxhub.server")

_PLAIN_TEXT_REFUSED: Final = (
    "Keys and events would travel in plain text. Use https. A proxy that does must send X-Forwarded-Proto, and the "
    "server must trust it (--trusted-proxy, trusted_proxies=). If the network is to be trusted, start the server with "
    "--plain-text (plain_text=True)."
)


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
) -> Starlette:
    """An event server as an ASGI application, to be run by itself or mounted in another one.

    API keys are removed from requests before they are logged, and from what uvicorn logs of requests that an
    application around this one answers itself. Under another server, wrap the outermost application in
    `rxhub.server.key_removal.KeyRemoval` for these.

    uvicorn's defaults are not made for it: run it by `rxhub serve`, or with
    `ws="rxhub.server.uvicorn_protocols:WebSocket"`, `ws_per_message_deflate=False`, `ws_ping_interval=None` and
    `ws_max_size` at your limit.

    Args:
        users: who may connect.
        limits: what they may do.
        origins: web pages that may connect beside the server's own, as browsers name them: `https://studio.example`.
        plain_text: also serve what does not come from this machine without TLS.
        heartbeat: seconds between two heartbeats; ftrack's JavaScript client leaves after 15 seconds without one.
        heartbeat_timeout: seconds after which a client that sends nothing is gone.
        slow_consumer: what happens to a client that does not read.
        backplane: what joins it with other servers; alone if it is not given.
        trusted_proxies: addresses or networks of the proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are
            believed; none if it is not given. It has no effect on what the web server itself believes: uvicorn
            trusts 127.0.0.1 unless it is started with `proxy_headers=False` (`--no-proxy-headers`).

    Raises:
        ValueError: if a trusted proxy is not an address or a network.

    Returns:
        The application. Its lifespan joins the backplane at the start and lets go of the clients in order at the end;
        where an application that mounts it runs no lifespan but its own, the first request joins.
    """
    install_log_filter()
    server = EventServer(
        users,
        limits=limits,
        heartbeat=heartbeat,
        heartbeat_timeout=heartbeat_timeout,
        slow_consumer=slow_consumer,
        backplane=backplane,
    )
    return create_app(server, origins=origins, plain_text=plain_text, trusted_proxies=trusted_proxies)


def create_app(
    server: EventServer,
    *,
    origins: Collection[str] = (),
    plain_text: bool = False,
    trusted_proxies: Collection[str] = (),
) -> Starlette:
    """The application of a server that was made before."""
    endpoints = _Endpoints(server, frozenset(origins), plain_text)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        await server.start()
        yield
        await server.close()

    app = Starlette(
        lifespan=lifespan,
        middleware=[Middleware(KeyRemoval), Middleware(ForwardedHeaders, trusted_networks(trusted_proxies))],
        routes=[
            *_get_routes(PATH, endpoints.handshake),
            WebSocketRoute(f"{PATH}websocket/{{sid}}", _WebSocket(endpoints)),
            *_get_routes("/health", endpoints.health),
            *_get_routes("/stats", endpoints.stats),
            *_get_routes("/metrics", endpoints.metrics),
        ],
    )
    # A redirection would repeat the query without the key.
    app.router.redirect_slashes = False
    return app


def _get_routes(path: str, endpoint: Callable[[Request], Awaitable[Response]]) -> list[Route]:
    """The endpoint with and without a slash at the end of its path."""
    bare = path.rstrip("/")
    return [Route(bare, endpoint, methods=["GET"]), Route(f"{bare}/", endpoint, methods=["GET"])]


class _Endpoints:
    """The endpoints."""

    def __init__(self, server: EventServer, origins: frozenset[str], plain_text: bool) -> None:
        self.server = server
        self._origins = origins
        self._plain_text = plain_text

    def refusal_reason(self, scope: Scope) -> str:
        """Why this request is refused whoever makes it; empty if it is not."""
        if not self._plain_text and is_exposed(scope):
            return _PLAIN_TEXT_REFUSED
        if not is_origin_allowed(scope, self._origins):
            return "Pages of this origin may not connect; start the server with it among its origins."
        return ""

    async def handshake(self, request: Request) -> Response:
        """Answer `GET /socket.io/1/` with a session id."""
        scope = request.scope
        shown = shown_credentials(scope)
        server = self.server
        headers = _cors_headers(scope)
        if server.is_closing:
            return PlainTextResponse("The server shuts down.", 503, {"retry-after": "5", **headers})
        if refusal_reason := self.refusal_reason(scope):
            server.counters.handshakes_refused += 1
            server.refusals.warning("A handshake from %s was refused: %s", address(scope), refusal_reason)
            return PlainTextResponse(refusal_reason, 403)
        if await self._backplane_failed():
            return PlainTextResponse("The server's backplane cannot be reached.", 503, {"retry-after": "5", **headers})
        try:
            if shown is None:
                raise NotAuthenticated(
                    "Show a user and a key: headers ftrack-user and ftrack-api-key, or api_user and api_key in a query."
                )
            user = await server.authenticate(shown, address(scope))
            line = server.handshake(user)
        except NotAuthenticated as error:
            server.counters.handshakes_refused += 1
            user_name = None if shown is None else shown.user[:100]
            server.refusals.warning(
                "A handshake from %s as %r was refused: %s", address(scope), user_name, error.reason
            )
            return PlainTextResponse(str(error), 401, headers)
        except TooManyAttempts as error:
            server.counters.handshakes_refused += 1
            server.refusals.warning("A handshake from %s was refused: %s", address(scope), error)
            return PlainTextResponse(str(error), 429, {"retry-after": "2", **headers})
        return PlainTextResponse(line, headers={"cache-control": "no-store", **headers})

    async def health(self, request: Request) -> Response:
        """Whether clients are let in; for load balancers, without credentials."""
        if self.server.is_closing:
            return JSONResponse({"status": "closing"}, 503)
        if self.server.backplane is None:
            return JSONResponse({"status": "ok"})
        if await self._backplane_failed() or not self.server.backplane.is_connected:
            return JSONResponse({"status": "disconnected", "backplane": "disconnected"}, 503)
        if self.server.backplane.trouble:
            # The reason names a directory, and this request shows no credentials: it is in the log.
            return JSONResponse({"status": "not storing", "backplane": "connected"}, 503)
        return JSONResponse({"status": "ok", "backplane": "connected"})

    async def stats(self, request: Request) -> Response:
        """The statistics as JSON."""
        return await self._check_access(request) or JSONResponse(self.server.stats())

    async def metrics(self, request: Request) -> Response:
        """The same for Prometheus."""
        refusal = await self._check_access(request)
        return refusal or PlainTextResponse(
            prometheus(self.server.stats()), media_type="text/plain; version=0.0.4; charset=utf-8"
        )

    async def _backplane_failed(self) -> bool:
        """Whether it is part of no backplane though it should be; that is tried again each time."""
        try:
            await self.server.start()
        except RxHubError as error:
            _logger.error("%s", error)
            return True
        return False

    async def _check_access(self, request: Request) -> Response | None:
        """What to answer instead to somebody who may not know; None if they may."""
        scope = request.scope
        shown = shown_credentials(scope) or shown_basic(scope)
        if refusal_reason := self.refusal_reason(scope):
            return PlainTextResponse(refusal_reason, 403)
        try:
            if shown is None:
                raise NotAuthenticated("Show a user and a key.")
            await self.server.authenticate(shown, address(scope))
        except NotAuthenticated as error:
            return PlainTextResponse(str(error), 401, {"www-authenticate": 'Basic realm="rxhub"'})
        except TooManyAttempts as error:
            return PlainTextResponse(str(error), 429, {"retry-after": "2"})
        return None


class _WebSocket:
    """The WebSocket's endpoint, as bare ASGI: nothing stands between a packet and its connection."""

    def __init__(self, endpoints: _Endpoints) -> None:
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        server = self._endpoints.server
        shown = shown_credentials(scope)
        sid = session_id(scope)
        await receive()  # the request to connect
        try:
            if refusal_reason := self._endpoints.refusal_reason(scope):
                raise Refused(refusal_reason)
            connection = server.admit(sid, shown)
        except Refused as error:
            server.refusals.warning("A WebSocket from %s was refused: %s", address(scope), error)
            await send({"type": "websocket.close", "code": 1008, "reason": ""})  # before it is accepted: HTTP 403
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


def _cors_headers(scope: Scope) -> dict[str, Any]:
    """What lets a page of an allowed origin read the answer; ftrack's JavaScript client asks with credentials."""
    origin = origin_of(scope)
    if origin is None:
        return {}
    return {"access-control-allow-origin": origin, "access-control-allow-credentials": "true", "vary": "Origin"}
