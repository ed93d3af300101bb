"""Runs a server with uvicorn: in the foreground, or in a thread for a notebook or a test."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Collection, Generator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from rxhub.concurrency.supervise import supervise
from rxhub.errors import HubConnectionError, PlainTextRefused
from rxhub.server.acceptor import Acceptor
from rxhub.server.asgi import create_app
from rxhub.server.authentication import Credentials
from rxhub.server.collection import collect_when_idle, short_collections
from rxhub.server.event_server import EventServer
from rxhub.server.forwarded import trusted_networks
from rxhub.server.key_hash import new_key
from rxhub.server.limits import Limits, SlowConsumer, limits_for_descriptors, raise_soft_limit
from rxhub.server.options import AccessOptions, ServerOptions
from rxhub.server.request_auth import is_loopback
from rxhub.server.users import User, Users
from rxhub.server.uvicorn_protocols import Http, WebSocket, protocol_factory

if TYPE_CHECKING:
    from rxhub.server.backplane import Backplane

__all__ = ["PORT", "Running", "running", "serve"]

PORT: Final = 8765
"""The default port of a server."""

LOCAL_USER: Final = "rxhub"
"""The user that `running` creates."""

_START_TIMEOUT_S: Final = 15.0
_BACKLOG_CONNECTIONS: Final = 128

_logger = logging.getLogger("rxhub.server")


def serve(
    users: Users,
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    certificate: Path | str | None = None,
    private_key: Path | str | None = None,
    plain_text: bool = False,
    origins: Collection[str] = (),
    limits: Limits | None = None,
    heartbeat: float = 10.0,
    heartbeat_timeout: float = 30.0,
    slow_consumer: SlowConsumer = SlowConsumer.DISCONNECT,
    grace: float = 5.0,
    backplane: Backplane | None = None,
    trusted_proxies: Collection[str] = (),
    webhooks: Path | str | None = None,
    sign_in: Credentials | None = None,
    on_start: Callable[[str], None] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM, then send the queued messages and return. A second SIGINT discards them.

    The process should do nothing else: `serve` raises the soft limit of file descriptors, and the garbage collector
    freezes objects that survive (`gc.freeze`), so that collections do not delay clients.

    Args:
        users: who may connect.
        host: address to listen on. Addresses other than loopback need a certificate, or `plain_text`.
        port: port to listen on; 0 selects a free one.
        certificate: PEM file with the certificate and its chain, for https and wss.
        private_key: PEM file with its key, if that is in another file.
        plain_text: accept requests without TLS from other machines.
        origins: web pages that may connect in addition to the server's own.
        limits: what users may do.
        heartbeat: seconds between two heartbeats.
        heartbeat_timeout: seconds without a message after which a client counts as disconnected.
        slow_consumer: what happens to a client that reads too slowly.
        grace: seconds to send queued messages during the shutdown.
        backplane: joins the server with others; None for a single server.
        trusted_proxies: addresses (`10.0.0.10`) or networks (`10.0.0.0/24`) of the proxies whose `X-Forwarded-For` and
            `X-Forwarded-Proto` are used. By default, no proxy is trusted, not even one on this machine.
        webhooks: file with the incoming webhooks; see "Over HTTP" in the documentation.
        sign_in: a user, and as the key a token. The first browser that opens `URL/#token=TOKEN` is signed in to the
            console as this user.
        on_start: called with the server's URL when it listens.

    Raises:
        PlainTextRefused: if keys and events would be sent over a network in plain text.
        HubConnectionError: if the address or the certificate cannot be used, or the backplane cannot be reached.
        StreamError: if a stream of the backplane cannot be created.
        ValueError: if a trusted proxy is not an address or a network, or the heartbeat is not below its timeout.
        WebhookError: if the webhooks cannot be used.
    """
    trusted_networks(trusted_proxies)
    if not is_loopback(host) and certificate is None and not plain_text:
        raise PlainTextRefused(
            f"Cannot serve at {host}: without TLS, keys and events would be sent in plain text. Set a certificate "
            "(certificate=…, --certificate FILE), listen on 127.0.0.1 behind a proxy that has one, or allow plain text "
            "on a trusted network (plain_text=True, --plain-text)."
        )
    if certificate is not None:
        _check_certificate(certificate, private_key)
    raise_soft_limit()
    wanted, limits = limits or Limits(), limits_for_descriptors(limits or Limits())
    if limits.connections < wanted.connections:
        _logger.warning(
            "The limit of open files allows %d clients instead of %d. Raise it with LimitNOFILE= in a systemd unit, or "
            "with `ulimit -n`.",
            limits.connections,
            wanted.connections,
        )
    options = ServerOptions(
        limits=limits,
        heartbeat=heartbeat,
        heartbeat_timeout=heartbeat_timeout,
        slow_consumer=slow_consumer,
        grace=grace,
        backplane=backplane,
    )
    access = AccessOptions(
        origins=origins, plain_text=plain_text, trusted_proxies=trusted_proxies, webhooks=webhooks, sign_in=sign_in
    )
    with _listening_socket(host, port, heartbeat_timeout) as listener:
        server = _Server(EventServer(users, options), listener, access, certificate, private_key)
        server.collects_when_idle = True
        if on_start is not None:
            server.on_start = lambda: on_start(server.url)
        with short_collections():
            server.run(sockets=[listener])


class Running:
    """A server that runs in a thread of this process.

    Attributes:
        url: of the server.
        api_user: name of a user who may connect.
        api_key: the user's key.
    """

    def __init__(self, url: str, api_user: str, api_key: str, events: EventServer) -> None:
        self.url = url
        self.api_user = api_user
        self.api_key = api_key
        self._events = events

    @property
    def stats(self) -> dict[str, float]:
        """Gauges and counters by name."""
        return self._events.stats()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url} for {self.api_user!r}>"


@contextmanager
def running(
    *,
    users: Users | None = None,
    port: int = 0,
    api_key: str | None = None,
    limits: Limits | None = None,
    heartbeat: float = 10.0,
    heartbeat_timeout: float = 30.0,
    slow_consumer: SlowConsumer = SlowConsumer.DISCONNECT,
    grace: float = 5.0,
    backplane: Backplane | None = None,
    webhooks: Path | str | None = None,
) -> Generator[Running]:
    """Run a server on the loopback interface while the `with` block runs, for a notebook, a test or a demo.

    Args:
        users: who may connect, in addition to the user that it creates.
        port: port to listen on; 0 selects a free one.
        api_key: key of the created user; None creates a new one. If you restart a server with the same key and port,
            its clients reconnect.
        limits: what users may do.
        heartbeat: seconds between two heartbeats.
        heartbeat_timeout: seconds without a message after which a client counts as disconnected.
        slow_consumer: what happens to a client that reads too slowly.
        grace: seconds to send queued messages during the shutdown.
        backplane: joins the server with others; None for a single server.
        webhooks: file with the incoming webhooks; see "Over HTTP" in the documentation.

    Yields:
        The server, with its `url`, `api_user` and `api_key`.

    Raises:
        HubConnectionError: if the port cannot be used, or the backplane cannot be reached.
        StreamError: if a stream of the backplane cannot be created.
        ValueError: if the heartbeat is not below its timeout.
        WebhookError: if the webhooks cannot be used.
    """
    key = new_key() if api_key is None else api_key
    options = ServerOptions(
        limits=limits_for_descriptors(limits or Limits()),
        heartbeat=heartbeat,
        heartbeat_timeout=heartbeat_timeout,
        slow_consumer=slow_consumer,
        grace=grace,
        backplane=backplane,
    )
    events = EventServer(Users([*(users or ()), User.with_key(LOCAL_USER, key, is_admin=True)]), options)
    with _listening_socket("127.0.0.1", port, heartbeat_timeout) as listener:
        server = _Server(events, listener, AccessOptions(webhooks=webhooks))
        started: Future[None] = Future()
        server.on_start = lambda: started.set_result(None)

        def run() -> None:
            try:
                server.run([listener])
            except BaseException as error:
                if started.done():
                    raise
                started.set_exception(error)

        thread = threading.Thread(target=run, name="rxhub-server", daemon=True)
        thread.start()
        try:
            try:
                started.result(_START_TIMEOUT_S)
            except TimeoutError:
                raise HubConnectionError(f"The server did not start within {_START_TIMEOUT_S:g} s.") from None
            yield Running(server.url, LOCAL_USER, key, events)
        finally:
            server.should_exit = True
            thread.join(grace + _START_TIMEOUT_S)


class _Server(uvicorn.Server):
    """uvicorn, with the settings of an event server."""

    def __init__(
        self,
        events: EventServer,
        listener: socket.socket,
        access: AccessOptions,
        certificate: Path | str | None = None,
        private_key: Path | str | None = None,
    ) -> None:
        host, port = listener.getsockname()[:2]
        bracketed = f"[{host}]" if ":" in host else host
        self.url = f"{'http' if certificate is None else 'https'}://{bracketed}:{port}"
        self.on_start: Callable[[], None] | None = None
        self.collects_when_idle = False
        self._events = events
        self._listener = listener
        self._tasks: list[asyncio.Task[None]] = []
        super().__init__(
            uvicorn.Config(
                create_app(events, access),
                http=Http,
                ws=WebSocket,
                # Above the limit of the server, which reports an error. uvicorn would close the connection.
                ws_max_size=4 * events.options.limits.message,
                ws_per_message_deflate=False,  # compressing a kilobyte costs more than sending it
                ws_ping_interval=None,  # Socket.IO clients wait for its own heartbeats
                lifespan="off",
                # The program configures logging.
                log_config=None,
                log_level=None,
                server_header=False,
                # uvicorn would trust loopback. `ForwardedHeaders` trusts the configured proxies only.
                proxy_headers=False,
                timeout_graceful_shutdown=max(1, round(events.options.grace)),
                ssl_certfile=certificate,
                ssl_keyfile=private_key,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self._events.start()
        await super().startup([])  # `Acceptor` accepts connections
        limits = self._events.options.limits
        acceptor = Acceptor(
            self._listener,
            self._events.sockets,
            protocol_factory(self, limits.request_timeout),
            self.config.ssl,
            limits.request_timeout,
        )
        self._tasks.append(supervise(acceptor.run, "accepting connections", restart=True))
        if self.collects_when_idle:
            events = self._events
            self._tasks.append(
                supervise(
                    lambda: collect_when_idle(events.disconnects, lambda: events.counters.events_received),
                    "collecting garbage",
                    restart=True,
                )
            )
        if self.on_start is not None:
            self.on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # First: uvicorn would send a closing frame, after which ftrack's Python client does not reconnect.
        await self._events.close(lambda: self.force_exit)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await super().shutdown(sockets)


def _check_certificate(certificate: Path | str, private_key: Path | str | None) -> None:
    """Load a certificate as uvicorn does, for a better error."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, private_key)
    except OSError as error:
        files = certificate if private_key is None else f"{certificate} and {private_key}"
        raise HubConnectionError(f"Cannot use the certificate in {files}: {error}.") from error


@contextmanager
def _listening_socket(host: str, port: int, timeout: float) -> Generator[socket.socket]:
    """A listening socket.

    Args:
        host: address.
        port: 0 selects a free port.
        timeout: seconds for which a peer may not acknowledge data.
    """
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _cannot_listen(host, port, error) from error
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        user_timeout: Any = getattr(socket, "TCP_USER_TIMEOUT", None)
        if user_timeout is not None:
            # The kernel keeps a closed connection, with its unsent data, until the peer has read it. Longer than the
            # timeout of heartbeats, which comes first and is counted.
            listener.setsockopt(socket.IPPROTO_TCP, user_timeout, int(1.5 * timeout * 1_000))
        try:
            listener.bind(where)
            listener.listen(_BACKLOG_CONNECTIONS)
        except OSError as error:
            raise _cannot_listen(host, port, error) from error
        yield listener


def _cannot_listen(host: str, port: int, error: OSError) -> HubConnectionError:
    return HubConnectionError(
        f"Cannot listen on {host}:{port}: {error}. Choose another port (port=…, --port) or address (host=…, --host)."
    )
