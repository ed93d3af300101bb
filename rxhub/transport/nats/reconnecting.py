"""A client of NATS servers that reconnects, and the tasks that run on each of its connections.

It tries the servers of its address in random order. The first connection must succeed; later ones are retried without
limit, with backoff. Publishing and consumers are `ConnectionTask`s: when a connection breaks, they are cancelled and
run again on the next one, so a task keeps in its attributes what must outlive a connection. A task that raises is
retried alone, with backoff.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic
from typing import Any, Protocol

import nats.errors

from rxhub.concurrency.backoff import Backoff, shuffled
from rxhub.concurrency.supervise import report, supervise
from rxhub.errors import HubConnectionError, StreamError
from rxhub.transport.nats.cancellation import cancel_and_wait
from rxhub.transport.nats.connection import NatsConnection
from rxhub.transport.nats.options import NatsOptions

__all__ = ["ConnectionTask", "ReconnectingClient"]

# A connection that broke sooner does not reset the backoff.
_STABLE_AFTER_S = 10.0
_MAX_BACKOFF_S = 5.0
_PUBLISH_TIMEOUT_S = 5.0
_MAX_LOGGED = 5
"""Different reasons of one outage that are logged as warnings."""

logger = logging.getLogger("rxhub")


class ConnectionTask(Protocol):
    """A task that runs on every connection in turn."""

    async def run(self, line: NatsConnection) -> None:
        """Run until cancelled. A task that returns is not run again."""


class ReconnectingClient:
    """Connects to NATS, and reconnects whenever the connection breaks.

    Args:
        on_state: called with whether there is a connection, the reason if not, and the number of the attempt that
            begins (0 if none does).
    """

    def __init__(
        self, address: NatsOptions, name: str = "rxhub", on_state: Callable[[bool, str, int], object] | None = None
    ) -> None:
        self.address = address
        self.connection: NatsConnection | None = None
        self.is_closed = False
        self._name = name
        self._on_state: Callable[[bool, str, int], object] = on_state or (lambda _up, _why, _attempt: None)
        self._tasks: dict[ConnectionTask, asyncio.Task[None] | None] = {}
        self._last_connection: NatsConnection | None = None
        self._connected = asyncio.Event()
        self._retry_requested = asyncio.Event()
        self._reconnect_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect, and stay connected from now on. Raises HubConnectionError if no server accepts the connection."""
        line = await self._connect()
        self._set_connection(line)
        self._reconnect_task = supervise(self._keep_connected, "reconnecting to NATS", restart=True)

    def attach(self, part: ConnectionTask) -> None:
        """Run a task on this connection and all further ones."""
        if part not in self._tasks:
            self._tasks[part] = None
            if self.connection is not None:
                self._start_task(part, self.connection)

    async def detach(self, part: ConnectionTask) -> None:
        await cancel_and_wait(self._tasks.pop(part, None))

    async def ready(self, timeout: float | None = None) -> NatsConnection:
        """Wait up to `timeout` seconds for a connection; raises HubConnectionError without one, or after `close`."""
        try:
            async with asyncio.timeout(timeout):
                while (line := self.connection) is None:
                    if self.is_closed:
                        raise HubConnectionError("The connection to NATS was closed.")
                    await self._connected.wait()
                return line
        except TimeoutError:
            raise HubConnectionError(f"There is no connection to NATS at {', '.join(self.address.servers)}.") from None

    async def js_request(self, api: str, body: Mapping[str, Any] | None = None, timeout: float = 5.0) -> dict[str, Any]:
        """Send a JetStream API request, as `NatsConnection.js_request`. Waits up to `timeout` for a connection."""
        return await (await self.ready(timeout)).js_request(api, body, timeout)

    async def publish_and_wait(self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None) -> int:
        """As `NatsConnection.publish_and_wait`. Waits up to five seconds for a connection."""
        return await (await self.ready(_PUBLISH_TIMEOUT_S)).publish_and_wait(subject, payload, headers)

    async def publish(self, subject: str, payload: bytes = b"") -> bool:
        """Send a message without confirmation, such as an acknowledgement. Returns whether there was a connection."""
        line = self.connection
        if line is None:
            return False
        try:
            await line.client.publish(subject, payload)
        except (nats.errors.Error, OSError):
            return False
        return True

    @property
    def replicas(self) -> int:
        """The default number of replicas of a new stream: 3 in a cluster of at least 3 servers, else 1."""
        line = self.connection
        known = 1 if line is None else len(line.client.servers)
        return 3 if max(known, len(self.address.servers)) >= 3 else 1

    def retry_now(self) -> None:
        self._retry_requested.set()

    def abandon(self) -> None:
        """Close this process's copy of the socket; for a child process."""
        if self.connection is not None:
            self.connection.abandon()

    async def close(self) -> None:
        self.is_closed = True
        await cancel_and_wait(self._reconnect_task)
        for part in list(self._tasks):
            await self.detach(part)
        line, self.connection = self.connection, None
        self._connected.set()
        if line is not None:
            await line.close()
        self._on_state(False, "", 0)

    async def _connect(self) -> NatsConnection:
        errors: list[str] = []
        for server in shuffled(self.address.servers):
            try:
                return await NatsConnection.open(server, self.address, self._name)
            except HubConnectionError as error:
                errors.append(str(error))
        # In the same order at each attempt.
        raise HubConnectionError(" ".join(sorted(errors)))

    def _set_connection(self, line: NatsConnection) -> None:
        self.connection = self._last_connection = line
        self._connected.set()
        for part in self._tasks:
            self._start_task(part, line)
        self._on_state(True, "", 0)

    async def _keep_connected(self) -> None:
        backoff = Backoff(0.1, _MAX_BACKOFF_S)
        while True:
            # `supervise` restarts this after an internal error, with a closed connection: each step may be taken twice.
            line = self._last_connection
            assert line is not None, "start() has connected"
            began = monotonic()
            reason = await asyncio.shield(line.closed)
            self.connection = None
            self._connected.clear()
            # First, since a task may be waiting to write to the dead connection.
            await line.close()
            for part, task in list(self._tasks.items()):
                await cancel_and_wait(task)
                if part in self._tasks:
                    self._tasks[part] = None
            logger.warning("Lost the connection to NATS at %s: %s. Reconnecting.", line.server, reason)
            if monotonic() - began > _STABLE_AFTER_S:
                backoff.reset()
            line = await self._reconnect(reason, backoff)
            logger.info("Reconnected to NATS at %s.", line.server)

    async def _reconnect(self, reason: str, backoff: Backoff) -> NatsConnection:
        attempts = 0
        logged: set[str] = set()
        self._on_state(False, reason, attempts)
        while True:
            self._retry_requested.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(backoff.delay()):
                    await self._retry_requested.wait()
            attempts += 1
            self._on_state(False, reason, attempts)
            try:
                line = await self._connect()
            except HubConnectionError as error:
                reason = str(error)
                # The reason may change, for example from a refused connection to an expired login.
                is_new = reason not in logged and len(logged) < _MAX_LOGGED
                if is_new:
                    logged.add(reason)
                logger.log(logging.WARNING if is_new else logging.DEBUG, "Cannot reconnect yet: %s", reason)
            else:
                self._set_connection(line)
                return line

    def _start_task(self, part: ConnectionTask, line: NatsConnection) -> None:
        self._tasks[part] = supervise(lambda: self._run_task(part, line), f"{type(part).__name__} on NATS")

    async def _run_task(self, part: ConnectionTask, line: NatsConnection) -> None:
        backoff = Backoff(0.2, _MAX_BACKOFF_S)
        while True:
            began = monotonic()
            try:
                await part.run(line)
                self._tasks.pop(part, None)
                return
            except (HubConnectionError, StreamError, nats.errors.Error, OSError) as error:
                if line.is_closed:
                    return
                logger.warning("%s. Retrying.", str(error).rstrip("."))
            except Exception as error:
                if line.is_closed:
                    return
                report(f"{type(part).__name__} on NATS", error)
            if monotonic() - began > _STABLE_AFTER_S:
                backoff.reset()
            await asyncio.sleep(backoff.delay())
