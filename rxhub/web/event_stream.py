"""A client that reads events over HTTP.

It has a subscription and a send queue like a WebSocket, and the same policy if it reads too slowly. A response has no
acknowledgements, so a client whose connection does not accept data for the heartbeat timeout is disconnected.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, MutableMapping
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from rxhub.concurrency.supervise import supervise
from rxhub.errors import HubConnectionError, Refused, StreamError
from rxhub.server.client import CloseReason, ServerClient
from rxhub.server.envelope import OutgoingEvent
from rxhub.server.event_server import EventServer
from rxhub.server.subscription import RoutedSubscription
from rxhub.server.users import User
from rxhub.server.uvicorn_protocols import ABORT
from rxhub.web.problems import Problem
from rxhub.web.stream_format import StreamFormat

__all__ = ["HttpEventStream"]

_ACTIVATION_TIMEOUT_S: Final = 10.0
_CLOSE_TIMEOUT_S: Final = 1.0


class HttpEventStream(ServerClient[bytes]):
    """One reader.

    Args:
        server: the server.
        account: the user.
        address: of the client.
        format: of the events.
        metadata: of the subscriber, with its `id`.
        accepts: which events are sent, of those that match the subscription.
        most: number of events after which the stream ends; None is unlimited.

    Attributes:
        server: as given.
        format: as given.
        replayed: number of stored events that were sent.
    """

    __slots__ = (
        "_accepts",
        "_blocked_since",
        "_ended",
        "_is_live",
        "_last",
        "_left",
        "_metadata",
        "_timer",
        "format",
        "replayed",
        "server",
    )

    protocol = "http"

    def __init__(
        self,
        server: EventServer,
        account: User,
        address: str,
        format: StreamFormat,
        metadata: dict[str, Any],
        accepts: Callable[[OutgoingEvent], bool] | None = None,
        most: int | None = None,
    ) -> None:
        super().__init__(server.options, account, address)
        self.server = server
        self.format = format
        self._metadata = metadata
        self._accepts = accepts
        self._left = most
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._timer: asyncio.TimerHandle | None = None
        # When the send began that waits for the client.
        self._blocked_since: float | None = None
        self._is_live = False
        self.replayed = 0
        # The highest sequence so far.
        self._last = 0

    @property
    def is_congested(self) -> bool:
        """Not while stored events are sent: new events wait for them, and would delay other clients."""
        return self._is_live and super().is_congested

    @property
    def sent(self) -> int:
        """The number of events that were sent."""
        return super().sent + self.replayed

    def parsed(self, text: str) -> RoutedSubscription[ServerClient[Any]]:
        """The subscription of this reader, without adding it.

        Raises:
            Refused: if it is invalid, or the user may not receive what it matches.
        """
        return self.server.router.parsed(self, self._metadata, text, self._account.subscribe)

    def open(self) -> None:
        """Become a client of the server.

        Raises:
            Problem: 429 if there are too many.
        """
        try:
            self.server.add(self)
        except Refused as error:
            raise Problem(429, str(error), {"retry-after": "5"}) from None

    async def subscribe(self, text: str, lease: bool = False) -> int:
        """Subscribe, and wait until the subscription is active.

        Args:
            text: the subscription.
            lease: reserve the id of the subscriber for the user, on all servers of a backplane.

        Returns:
            With a backplane, the sequence above which events are queued; otherwise 0.

        Raises:
            Refused: if the subscription is invalid, or the user may not receive what it matches.
            HubConnectionError: if it was not active in time.
        """
        server = self.server
        activate = server.router.subscribe(self, self._metadata, text, self._account.subscribe)
        backplane = server.options.backplane
        if backplane is None:
            return 0

        def enter(last: int) -> None:
            activate(last)
            self._last = last

        identifier = self._metadata["id"] if lease else None
        outcome = backplane.activate(identifier, self.user, enter)
        done = asyncio.Event()
        outcome.add_done_callback(lambda _: done.set())
        try:
            await asyncio.wait_for(done.wait(), _ACTIVATION_TIMEOUT_S)
        except TimeoutError:
            raise HubConnectionError(
                f"The subscription was not active within {_ACTIVATION_TIMEOUT_S:g} s. Try again later."
            ) from None
        outcome.result()
        return self._last

    async def run(self, scope: Scope, receive: Receive, send: Send, first: AsyncGenerator[bytes] | None = None) -> None:
        """Send events until the client disconnects, or the stream ends.

        Args:
            scope: of the request.
            receive: of the request, whose body was read.
            send: of the request, whose response was started.
            first: frames that are sent before those of the queue.
        """
        loop, options = asyncio.get_running_loop(), self.server.options
        self._timer = loop.call_later(options.heartbeat, self._heartbeat)
        # When the client has disconnected, sending raises OSError or RuntimeError, depending on the ASGI server.
        expected = (OSError, RuntimeError, HubConnectionError, StreamError, Refused)
        writer = supervise(lambda: self._write(send, first), "writing to a stream", expected=expected)
        reader = supervise(lambda: _until_disconnected(receive), "waiting for the end of a stream")
        try:
            await asyncio.wait({writer, reader, self._ended}, return_when=asyncio.FIRST_COMPLETED)
            is_complete = writer.done() and not writer.cancelled() and writer.exception() is None
            if self._send_queue.overflowed:
                self.close_reason = CloseReason.SLOW
            elif self.close_reason not in {None, CloseReason.SLOW} and not is_complete:
                self._send_queue.close()
                is_shutdown = self.close_reason is CloseReason.SHUTDOWN
                await asyncio.wait({writer}, timeout=options.grace if is_shutdown else _CLOSE_TIMEOUT_S)
                is_complete = writer.done() and writer.exception() is None
            if is_complete and self.close_reason is not CloseReason.SLOW:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            elif (abort := scope.get("extensions", {}).get(ABORT)) is not None:
                # Otherwise, the server would wait until the client reads what was sent.
                abort()
                await asyncio.sleep(0)
            self.close_reason = self.close_reason or CloseReason.GONE
        finally:
            self._timer.cancel()
            reader.cancel()
            writer.cancel()
            # Their errors have been handled above, or are caused by the lost connection.
            await asyncio.gather(reader, writer, return_exceptions=True)

    def close(self) -> None:
        """The stream has ended."""
        self.close_reason = self.close_reason or CloseReason.GONE
        self.server.remove(self, dropped=self.dropped)
        self._send_queue.clear()

    def deliver(self, event: OutgoingEvent) -> bool:
        if self.close_reason is not None or (self._accepts is not None and not self._accepts(event)):
            return False
        if event.sequence:
            if event.sequence <= self._last:
                self._put(self.format.gap({"reason": "The stream was created again, or its server has lost its end."}))
            self._last = event.sequence
        before = self.dropped
        is_open = self._put(event.encoded(self.format.frame), is_event=True)
        if self.dropped > before:
            self._send_queue.put_first(
                self.format.gap({"reason": "This client reads too slowly.", "events": self.dropped - before})
            )
        if self._left is not None:
            self._left -= 1
            if not self._left:
                self.finish()
        return is_open

    def finish(self) -> None:
        """End the stream when the queued events have been sent."""
        self._send_queue.close()

    def end(self, reason: CloseReason) -> None:
        if self.close_reason is None:
            self.close_reason = reason
        if not self._ended.done():
            self._ended.set_result(None)

    async def _write(self, send: Send, first: AsyncGenerator[bytes] | None) -> None:
        loop = asyncio.get_running_loop()

        async def send_frame(frame: bytes) -> None:
            self._blocked_since = loop.time()
            await send({"type": "http.response.body", "body": frame, "more_body": True})
            self._blocked_since = None

        if first is not None:
            async for frame in first:
                await send_frame(frame)
        self._is_live = True
        await self._send_queue.write(send_frame, self.server.writing)

    def _heartbeat(self) -> None:
        """Send a heartbeat, or close the connection if it has not accepted data for too long."""
        loop, options = asyncio.get_running_loop(), self.server.options
        # First: an error below must not end the heartbeats.
        self._timer = loop.call_later(options.heartbeat, self._heartbeat)
        self.server.refresh_users()
        if self._blocked_since is not None:
            if loop.time() - self._blocked_since > options.heartbeat_timeout:
                self.end(CloseReason.SLOW)
        elif not self.waiting:
            self._put(self.format.heartbeat)


async def _until_disconnected(receive: Callable[[], Any]) -> None:
    message: MutableMapping[str, Any] = {}
    while message.get("type") != "http.disconnect":
        message = await receive()
