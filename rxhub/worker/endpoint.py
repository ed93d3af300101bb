"""A small HTTP endpoint for probes and metrics, in threads of its own: it answers while handlers run."""

from __future__ import annotations

import errno
import json
import logging
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6, gaierror
from socketserver import TCPServer
from threading import Thread
from typing import NamedTuple

from rxhub.errors import RxHubError
from rxhub.telemetry.probes import LIVENESS_PATH, READINESS_PATH, Readiness

__all__ = ["EndpointError", "HttpEndpoint", "Response", "Routes", "metrics_route", "parse_address", "probe_routes"]

logger = logging.getLogger("rxhub.worker")

METRICS_PATH = "/metrics"
_REQUEST_TIMEOUT_S = 5.0


class EndpointError(RxHubError):
    """The endpoint cannot listen."""


class Response(NamedTuple):
    """An answer to a GET request."""

    body: bytes
    content_type: str = "application/json"
    status: int = 200


Routes = Mapping[str, Callable[[], Response]]
"""What answers a path."""


def parse_address(text: str) -> tuple[str, int]:
    """`PORT` or `ADDRESS:PORT` as a pair; without an address, only this machine can connect. Raises ValueError."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65_535:
        raise ValueError(f"{text!r} is not a port or ADDRESS:PORT. Examples: 8080, 0.0.0.0:8080, [::]:8080.")
    return host.strip("[]") or "127.0.0.1", int(port)


def probe_routes(liveness: Callable[[], Readiness], readiness: Callable[[], Readiness]) -> Routes:
    """The routes of `/healthz` and `/readyz`."""
    return {LIVENESS_PATH: lambda: _answer(liveness()), READINESS_PATH: lambda: _answer(readiness())}


def metrics_route(directory: str | None = None) -> Routes:
    """The route of `/metrics`: of this process, or of those that share a directory."""
    from rxhub.telemetry.metrics import exposition

    return {METRICS_PATH: lambda: Response(*exposition(directory=directory))}


def _answer(readiness: Readiness) -> Response:
    return Response(json.dumps(readiness.to_json()).encode() + b"\n", status=readiness.http_status)


def _call(route: Callable[[], Response]) -> Response:
    try:
        return route()
    except Exception as error:
        logger.error("A request could not be answered: %s", error, exc_info=error)
        return Response(b'{"status": "error", "reason": "The log contains the error."}\n', status=500)


class HttpEndpoint:
    """Answers GET requests until it is closed. Raises EndpointError if the address cannot be used."""

    def __init__(self, host: str, port: int, routes: Routes) -> None:
        try:
            self._server = _HttpServer(host, port, routes)
        except OSError as error:
            is_foreign = isinstance(error, gaierror) or error.errno == errno.EADDRNOTAVAIL
            remedy = "Use an address of this machine, for example 0.0.0.0" if is_foreign else "Choose another port"
            raise EndpointError(
                f"Could not listen on port {port} of {host}: {error.strerror or error}. {remedy}."
            ) from None
        Thread(target=self._server.serve_forever, name="rxhub-endpoint", daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens, also if port 0 was given."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _HttpServer(ThreadingHTTPServer):
    def __init__(self, host: str, port: int, routes: Routes) -> None:
        self.routes = routes
        self.address_family = AF_INET6 if ":" in host else AF_INET
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        # HTTPServer's own looks up the name of the host, which takes seconds without a name server.
        TCPServer.server_bind(self)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing about clients that disconnect."""


class _Handler(BaseHTTPRequestHandler):
    timeout = _REQUEST_TIMEOUT_S
    server_version = "rxhub"
    sys_version = ""

    def do_GET(self) -> None:
        assert isinstance(self.server, _HttpServer)
        route = self.server.routes.get(self.path.partition("?")[0])
        response = Response(b'{"status": "not found"}\n', status=404) if route is None else _call(route)
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(response.body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Log no requests: a probe comes every few seconds."""
