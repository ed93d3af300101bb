"""A server in this process, run by uvicorn: in the foreground, or beside a notebook or a test."""

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
from rxhub.server.collection import collect_when_idle, short_collections
from rxhub.server.descriptors import limits_for_descriptors, raise_soft_limit
from rxhub.server.event_server import EventServer
from rxhub.server.forwarded import trusted_networks
from rxhub.server.key_hash import new_key
from rxhub.server.limits import Limits, SlowConsumer
from rxhub.server.request_auth import is_loopback
from rxhub.server.users import User, Users
from rxhub.server.uvicorn_protocols import Http, WebSocket, protocol_factory

if TYPE_CHECKING:
    from rxhub.server.backplane import Backplane

__all__ = ["PORT", "Running", "running", "serve"]

PORT: Final = 8765
"""Where a server listens if it is not told otherwise."""

LOCAL_USER: Final = "rxhub"
"""Who may connect to a server that was given no users."""

_START_TIMEOUT_S = 15.0
_BACKLOG = 128

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
    on_start: Callable[[str], None] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM, then let the queues run empty and end; a second SIGINT ends it at once.

    It is meant to be all that its process does: the soft limit of file descriptors is raised, and the garbage collector
    freezes what it has looked at (`gc.freeze`), so that no collection holds up the clients.

    Args:
        users: who may connect.
        host: the address to listen at. Anything but loopback needs a certificate, or `plain_text`.
        port: where; 0 takes a free one.
        certificate: a PEM file with the certificate and its chain, for https and wss.
        private_key: a PEM file with its key, if that is not in the same file.
        plain_text: serve without TLS on a network all the same.
        origins: web pages that may connect beside the server's own.
        limits: what users may do.
        heartbeat: seconds between two heartbeats.
        heartbeat_timeout: seconds after which a client that sends nothing is gone.
        slow_consumer: what happens to a client that does not read.
        grace: seconds for which the end waits until what is in the queues has been sent.
        backplane: what joins it with other servers; alone if it is not given.
        trusted_proxies: addresses (`10.0.0.10`) or networks (`10.0.0.0/24`) of the proxies whose `X-Forwarded-For` and
            `X-Forwarded-Proto` are believed; none if it is not given, not even one on this machine.
        on_start: called with the server's URL once it listens.

    Raises:
        PlainTextRefused: if keys and events would travel over a network in plain text.
        HubConnectionError: if nobody can listen there, the certificate cannot be used, or the backplane not be reached.
        StreamError: if the backplane has no place for a stream.
        ValueError: if a trusted proxy is not an address or a network.
    """
    trusted_networks(trusted_proxies)
    if not is_loopback(host) and certificate is None and not plain_text:
        raise PlainTextRefused(
            f"Cannot serve at {host}: without TLS, keys and events would cross the network in plain text. Name a "
            "certificate (certificate=…, --certificate FILE), listen on 127.0.0.1 behind a proxy that has one, or "
            "allow plain text on a trusted network (plain_text=True, --plain-text)."
        )
    if certificate is not None:
        _check_certificate(certificate, private_key)
    raise_soft_limit()
    wanted, limits = limits or Limits(), limits_for_descriptors(limits or Limits())
    if limits.connections < wanted.connections:
        _logger.warning(
            "The limit of open files allows %d clients instead of %d. Raise it: LimitNOFILE= in a unit of systemd, or "
            "`ulimit -n`.",
            limits.connections,
            wanted.connections,
        )
    events = EventServer(
        users,
        limits=limits,
        heartbeat=heartbeat,
        heartbeat_timeout=heartbeat_timeout,
        slow_consumer=slow_consumer,
        grace=grace,
        backplane=backplane,
    )
    with _listening_socket(host, port, heartbeat_timeout) as listener:
        server = _Server(events, listener, origins, plain_text, certificate, private_key, trusted_proxies)
        server.collects_when_quiet = True
        if on_start is not None:
            server.on_start = lambda: on_start(server.url)
        with short_collections():
            server.run(sockets=[listener])


class Running:
    """A server that runs in a thread of this process.

    Attributes:
        url: where it is.
        api_user: a user who may connect.
        api_key: the user's key.
    """

    def __init__(self, url: str, api_user: str, api_key: str, events: EventServer) -> None:
        self.url = url
        self.api_user = api_user
        self.api_key = api_key
        self._events = events

    @property
    def stats(self) -> dict[str, float]:
        """What there is and what has been counted, by name."""
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
) -> Generator[Running]:
    """Run a server on the loopback interface, for a notebook, a test or a demo, as long as the `with` block lasts.

    Args:
        users: who may connect beside the one whom it makes, and whose key it tells.
        port: where; 0 takes a free one.
        api_key: the key of the user whom it makes; a new one if it is not given. With it and the port, clients of a
            server that was here before come back.
        limits: what users may do.
        heartbeat: seconds between two heartbeats.
        heartbeat_timeout: seconds after which a client that sends nothing is gone.
        slow_consumer: what happens to a client that does not read.
        grace: seconds for which the end waits until what is in the queues has been sent.
        backplane: what joins it with other servers; alone if it is not given.

    Yields:
        The server, with its `url`, `api_user` and `api_key`.

    Raises:
        HubConnectionError: if nobody can listen there, or the backplane cannot be reached.
        StreamError: if the backplane has no place for a stream.
    """
    key = new_key() if api_key is None else api_key
    events = EventServer(
        Users([*(users or ()), User.with_key(LOCAL_USER, key)]),
        limits=limits_for_descriptors(limits or Limits()),
        heartbeat=heartbeat,
        heartbeat_timeout=heartbeat_timeout,
        slow_consumer=slow_consumer,
        grace=grace,
        backplane=backplane,
    )
    with _listening_socket("127.0.0.1", port, heartbeat_timeout) as listener:
        server = _Server(events, listener)
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
    """uvicorn, with the settings that an event server needs."""

    def __init__(
        self,
        events: EventServer,
        listener: socket.socket,
        origins: Collection[str] = (),
        plain_text: bool = False,
        certificate: Path | str | None = None,
        private_key: Path | str | None = None,
        trusted_proxies: Collection[str] = (),
    ) -> None:
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        self.url = f"{'http' if certificate is None else 'https'}://{shown}:{port}"
        self.on_start: Callable[[], None] | None = None
        self._events = events
        self._listener = listener
        self._tasks: list[asyncio.Task[None]] = []
        self.collects_when_quiet = False
        limits = events.limits
        super().__init__(
            uvicorn.Config(
                create_app(events, origins=origins, plain_text=plain_text, trusted_proxies=trusted_proxies),
                http=Http,
                ws=WebSocket,
                # More than is taken: at the end of the connection ftrack's Python client would learn nothing.
                ws_max_size=4 * limits.message,
                ws_per_message_deflate=False,  # a kilobyte costs more to deflate than to send
                ws_ping_interval=None,  # Socket.IO has heartbeats of its own, which its clients wait for
                lifespan="off",
                # Logging is the program's own; `rxhub serve` sets it up.
                log_config=None,
                log_level=None,
                access_log=False,
                server_header=False,
                # It would trust loopback and FORWARDED_ALLOW_IPS; the application knows the proxies to trust.
                proxy_headers=False,
                timeout_graceful_shutdown=max(1, round(events.grace)),
                ssl_certfile=certificate,
                ssl_keyfile=private_key,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self._events.start()
        await super().startup([])  # it accepts nothing itself
        limits = self._events.limits
        acceptor = Acceptor(
            self._listener,
            self._events.sockets,
            protocol_factory(self, limits.request_timeout),
            self.config.ssl,
            limits.request_timeout,
        )
        self._tasks.append(supervise(acceptor.run, "accepting connections", restart=True))
        if self.collects_when_quiet:
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
        # First, since uvicorn says goodbye with a closing frame, after which ftrack's Python client never comes back.
        await self._events.close(lambda: self.force_exit)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await super().shutdown(sockets)


def _check_certificate(certificate: Path | str, private_key: Path | str | None) -> None:
    """Load a certificate as uvicorn will, to be able to say what is wrong with it."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, private_key)
    except OSError as error:
        files = certificate if private_key is None else f"{certificate} and {private_key}"
        raise HubConnectionError(f"Cannot use the certificate in {files}: {error}.") from error


@contextmanager
def _listening_socket(host: str, port: int, patience: float) -> Generator[socket.socket]:
    """A socket that listens.

    Args:
        host: where.
        port: where; 0 takes a free one.
        patience: seconds for which a peer may take nothing of what is sent to it.
    """
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise HubConnectionError(f"Cannot listen at {host}:{port}: {error}.") from error
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        user_timeout: Any = getattr(socket, "TCP_USER_TIMEOUT", None)
        if user_timeout is not None:
            # A connection that is closed here stays in the kernel, with all that was sent, until its peer has read it.
            # Longer than the timeout of heartbeats, so that this comes first, and is counted.
            listener.setsockopt(socket.IPPROTO_TCP, user_timeout, int(1.5 * patience * 1_000))
        try:
            listener.bind(where)
            listener.listen(_BACKLOG)
        except OSError as error:
            raise HubConnectionError(f"Cannot listen at {host}:{port}: {error}.") from error
        yield listener
