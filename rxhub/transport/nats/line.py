"""One connection to one NATS server, from its handshake to its end; `rxhub.transport.nats.link` makes the next one.

nats-py could connect again by itself, but gives up for good at the first refusal, which a server that just starts may
give, and does not tell which requests were on their way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, cast

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from rxhub.errors import HubConnectionError, StreamError
from rxhub.transport.nats.address import Address

__all__ = ["Line"]

# Seconds for each step of the handshake.
_PATIENCE = 3
# A server that was stopped, or whose cable was pulled, is noticed after that times two or three.
_PING_INTERVAL = 3
# Seconds between two looks whether the client has closed itself.
_LOOK = 0.5
# More than any window of ours keeps under way: nats-py drops what comes beyond it.
_MOST_PENDING = 1_000_000

logger = logging.getLogger("rxhub")


class Line:
    """A connection that stands.

    Attributes:
        client: of nats-py.
        server: its URL, without credentials.
        gone: done when the connection has ended; its result says why.
    """

    def __init__(self, server: str) -> None:
        self.client = Client()
        self.server = server
        self.gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._trouble = ""
        self._watching: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, server: str, address: Address, name: str) -> Line:
        """Connect to one of the servers of `address`.

        Args:
            server: which.
            address: tells who we are.
            name: of the connection, as the server's statistics show it.

        Raises:
            HubConnectionError: if it cannot be reached or does not let us in; says why.
        """
        line = cls(server)
        who: dict[str, Any] = {}
        if address.user is not None:
            who = {"user": address.user, "password": address.password or ""}
        elif address.password is not None:
            who = {"token": address.password}
        try:
            async with asyncio.timeout(4 * _PATIENCE):
                await line.client.connect(
                    server,
                    name=name,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=_PATIENCE,
                    ping_interval=_PING_INTERVAL,
                    max_outstanding_pings=2,
                    error_cb=line._note,
                    closed_cb=line._closed,
                    # Subjects are made by rxhub.transport.nats.subjects, which escapes what must not be in them.
                    skip_subject_validation=True,
                    **who,
                )
        except (OSError, nats.errors.Error, TimeoutError) as error:
            await line.close()
            why = line._trouble or _told(error)
            raise HubConnectionError(f"Cannot connect to NATS at {server}: {why}{_hint(why)}") from error
        except BaseException:
            await line.close()
            raise
        line._watching = asyncio.create_task(line._watch())
        return line

    @property
    def limit(self) -> int:
        """How many bytes of payload the server takes in one message."""
        return self.client.max_payload

    async def ask(self, api: str, body: Mapping[str, Any] | None = None, timeout: float = 5.0) -> dict[str, Any]:
        """Ask JetStream for something.

        Args:
            api: the subject of the request behind `$JS.API.`, such as `STREAM.INFO.studio`.
            body: what to send as JSON.
            timeout: seconds.

        Returns:
            The answer.

        Raises:
            StreamError: if the answer is an error.
            HubConnectionError: if there is no answer; JetStream may be off, or have no leader at the moment.
        """
        payload = b"" if body is None else msgspec.json.encode(body)
        try:
            answer = await self.client.request(f"$JS.API.{api}", payload, timeout=timeout)
        except nats.errors.NoRespondersError:
            raise HubConnectionError(
                f"Nobody answers {api} at {self.server}: JetStream is not enabled there, or has no leader at present."
            ) from None
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise HubConnectionError(f"{api} was not answered by {self.server}: {_told(error)}") from error
        told: dict[str, Any] = msgspec.json.decode(answer.data)
        if error := told.get("error"):
            raise StreamError(
                error.get("code", 0), error.get("err_code", 0), str(error.get("description", "unknown error")), api
            )
        return told

    async def subscribe(
        self, subject: str, take: Callable[[Msg], Awaitable[None]], is_drained: bool = False
    ) -> Callable[[], Awaitable[None]]:
        """Have `take` called with what comes on a subject.

        Args:
            subject: which.
            take: called with each message, one after the other.
            is_drained: whether it is still called with what was on its way when it is ended.

        Returns:
            What ends it.
        """
        subscription = await self.client.subscribe(  # pyright: ignore[reportUnknownMemberType]
            subject, cb=take, pending_msgs_limit=_MOST_PENDING, pending_bytes_limit=0
        )

        async def end() -> None:
            with suppress(nats.errors.Error, OSError, TimeoutError):
                if is_drained and not self.gone.done():
                    async with asyncio.timeout(_PATIENCE):
                        await subscription.drain()
                else:
                    await subscription.unsubscribe()

        return end

    def inbox(self) -> str:
        """A new subject of our own."""
        return self.client.new_inbox()

    async def close(self) -> None:
        """Hang up."""
        with suppress(Exception):
            async with asyncio.timeout(_PATIENCE):
                await self.client.close()
        self._end("it was closed")

    def abandon(self) -> None:
        """Let go of the socket without a word; for a child process, where it is the parent's."""
        transport = cast("Any", self.client)._transport
        writer = getattr(transport, "_bare_io_writer", None)
        sock = None if writer is None else writer.get_extra_info("socket")
        if sock is not None:
            import os

            with suppress(OSError):
                os.close(sock.fileno())

    async def _note(self, error: Exception) -> None:
        self._trouble = _told(error)
        logger.debug("NATS at %s: %s", self.server, self._trouble)

    async def _watch(self) -> None:
        """Notice that the client has closed itself, which it does not tell if an error came while it hung up."""
        while not self.client.is_closed:
            await asyncio.sleep(_LOOK)
        await self._closed()

    async def _closed(self) -> None:
        last = self.client.last_error
        self._end(self._trouble or ("the connection ended" if last is None else _told(last)))

    def _end(self, reason: str) -> None:
        if not self.gone.done():
            self.gone.set_result(reason)
        if self._watching is not None:
            self._watching.cancel()


def _told(error: BaseException) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "the connection was refused"  # asyncio tells an address once more, and a number
    text = str(error).removeprefix("nats: ")
    return text or type(error).__name__


def _hint(why: str) -> str:
    if "authorization" in why.lower():
        return ". Give the hub the user and password of the NATS server: EventHub(url, user, password)."
    if "refused" in why.lower():
        return ". Is the server running there? `nats-server -js` starts one, as does `rxhub serve --store DIRECTORY`."
    return "."
