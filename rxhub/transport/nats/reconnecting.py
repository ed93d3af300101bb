"""A connection to a NATS system that is kept up: line after line, with what runs on each of them.

Theory of operation. A link tries the servers of its address in random order until one lets it in. What is to run on
the connection (publishing, consumers) is attached as a `Part`; each part runs as a task of its own on every line. When
the line breaks the tasks are cancelled, and run again on the next line; so a part keeps in its attributes what is to
outlive a line. A part that raises has not broken the line: it alone is tried again, after a pause that grows.

The first connection must succeed, or the link is over. After that it is tried for ever, with growing pauses.

All of it runs on the asyncio loop in which it was started.
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
from rxhub.transport.nats.address import Address
from rxhub.transport.nats.cancellation import cancel_and_wait
from rxhub.transport.nats.connection import NatsConnection

__all__ = ["ConnectionTask", "ReconnectingClient"]

# A line that broke sooner has not held, and the pauses go on growing.
_STABLE_AFTER_S = 10.0
_MAX_BACKOFF_S = 5.0

logger = logging.getLogger("rxhub")


class ConnectionTask(Protocol):
    """What runs on a connection, from line to line."""

    async def run(self, line: NatsConnection) -> None:
        """Do it until cancelled; when it returns it is done for good."""
        ...


class ReconnectingClient:
    """A connection that is made again whenever it breaks.

    Args:
        address: where to.
        name: of the connection, as the servers' statistics show it.
        on_state: told whether there is a connection, why not, and the number of the attempt that begins, if one does.

    Attributes:
        line: the present connection; None while there is none.
        is_closed: whether it is over.
    """

    def __init__(
        self, address: Address, name: str = "rxhub", on_state: Callable[[bool, str, int], object] | None = None
    ) -> None:
        self.address = address
        self.connection: NatsConnection | None = None
        self.is_closed = False
        self._name = name
        self._on_state = on_state or _ignore_state
        self._tasks: dict[ConnectionTask, asyncio.Task[None] | None] = {}
        self._last_connection: NatsConnection | None = None
        self._connected = asyncio.Event()
        self._retry_requested = asyncio.Event()
        self._reconnect_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect, and stay connected from now on.

        Raises:
            HubConnectionError: if no server of the address can be reached or lets us in.
        """
        line = await self._connect()
        self._set_connection(line)
        self._reconnect_task = supervise(self._keep_connected, "reconnecting to NATS", restart=True)

    def attach(self, part: ConnectionTask) -> None:
        """Run a part on this line and all further ones."""
        if part not in self._tasks:
            self._tasks[part] = None
            if self.connection is not None:
                self._start_task(part, self.connection)

    async def detach(self, part: ConnectionTask) -> None:
        """End a part; returns when it has ended."""
        await cancel_and_wait(self._tasks.pop(part, None))

    async def ready(self, timeout: float | None = None) -> NatsConnection:
        """The line, once there is one.

        Args:
            timeout: seconds to wait for it; None is as long as it takes.

        Raises:
            HubConnectionError: if the link is closed, or there is no line within the time.
        """
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
        """Ask JetStream for something, as `Line.ask`; waits for a connection no longer than for the answer.

        Raises:
            StreamError: if the answer is an error.
            HubConnectionError: if there is no answer.
        """
        return await (await self.ready(timeout)).js_request(api, body, timeout)

    async def publish(self, subject: str, payload: bytes = b"") -> bool:
        """Send something that nobody confirms, such as an acknowledgement; whether there was a line to send it by."""
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
        """On how many servers something new is stored unless somebody says otherwise: three, where there are three."""
        line = self.connection
        known = 1 if line is None else len(line.client.servers)
        return 3 if max(known, len(self.address.servers)) >= 3 else 1

    def retry_now(self) -> None:
        """Do not wait for the next attempt."""
        self._retry_requested.set()

    def abandon(self) -> None:
        """Let go of the socket; for a child process."""
        if self.connection is not None:
            self.connection.abandon()

    async def close(self) -> None:
        """End all parts, hang up, and be over."""
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
        raise HubConnectionError(" ".join(errors))

    def _set_connection(self, line: NatsConnection) -> None:
        self.connection = self._last_connection = line
        self._connected.set()
        for part in self._tasks:
            self._start_task(part, line)
        self._on_state(True, "", 0)

    async def _keep_connected(self) -> None:
        backoff = Backoff(0.1, _MAX_BACKOFF_S)
        while True:
            # After an internal error this begins again, with a line that is gone: each step may be taken twice.
            line = self._last_connection
            assert line is not None, "it has been connected"
            began = monotonic()
            reason = await asyncio.shield(line.closed)
            self.connection = None
            self._connected.clear()
            # First: a part may be waiting for the dead line to take what it says.
            await line.close()
            for part, task in list(self._tasks.items()):
                await cancel_and_wait(task)
                if part in self._tasks:
                    self._tasks[part] = None
            logger.warning("The connection to NATS at %s ended, and is made again: %s.", line.server, reason)
            if monotonic() - began > _STABLE_AFTER_S:
                backoff.reset()
            line = await self._reconnect(reason, backoff)
            logger.info("Connected to NATS at %s again.", line.server)

    async def _reconnect(self, reason: str, backoff: Backoff) -> NatsConnection:
        attempts = 0
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
                logger.log(logging.WARNING if attempts == 1 else logging.DEBUG, "Not connected again yet: %s", reason)
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
                logger.warning("%s, and is tried again.", str(error).rstrip("."))
            except Exception as error:
                if line.is_closed:
                    return
                report(f"{type(part).__name__} on NATS", error)
            if monotonic() - began > _STABLE_AFTER_S:
                backoff.reset()
            await asyncio.sleep(backoff.delay())


def _ignore_state(connected: bool, reason: str, attempts: int) -> None:
    """Nobody wants to know."""
