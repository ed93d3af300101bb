"""One connection to one NATS server, from its handshake to its end. `reconnecting` opens the next one.

nats-py's own reconnection gives up at the first rejection, which a starting server may send, and does not report which
requests were in flight. Its `close` waits for a hung peer, so this module closes the socket after a timeout.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, cast

import msgspec
import nats.errors

from rxhub.concurrency.awaitables import ignore_error
from rxhub.concurrency.supervise import supervise
from rxhub.errors import HubConnectionError, StreamError
from rxhub.transport.io_thread import cut
from rxhub.transport.nats.cancellation import cancel_and_wait
from rxhub.transport.nats.direct_client import MessageHandler, NatsClient
from rxhub.transport.nats.login import LoginError, login_arguments, tls_context
from rxhub.transport.nats.options import NatsOptions
from rxhub.transport.nats.unreachable import NatsUnreachable, remedy

__all__ = ["NatsConnection"]

# For each step of the handshake.
_CONNECT_TIMEOUT_S = 3
# A silent server is noticed after two or three intervals.
_PING_INTERVAL_S = 3
_CLOSED_POLL_S = 0.5
# Longer than any caller waits.
_FLUSH_TIMEOUT_S = 60
_STORE_TIMEOUT_S = 5.0

_DENIED = re.compile(r'permissions violation for publish to "([^"]+)"')

logger = logging.getLogger("rxhub")


class NatsConnection:
    """An open connection to one server."""

    def __init__(self, server: str) -> None:
        self.client = NatsClient()
        self.server = server
        # Done when the connection has ended; its result is the reason.
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        # Called with a lower-case subject on which the server does not permit publishing.
        self.on_denied: Callable[[str], object] | None = None
        self._last_error_text = ""
        self._last_error: Exception | None = None
        self._watching: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, server: str, address: NatsOptions, name: str) -> NatsConnection:
        """Connect to one of the servers of `address`. Raises NatsUnreachable if that fails."""
        line = cls(server)

        def check_encrypted() -> None:
            if wants_tls and not line.is_encrypted:
                raise nats.errors.SecureConnWantedError

        wants_tls = server.startswith("tls://")
        line.client.check_login = check_encrypted
        try:
            login, certificates = login_arguments(address), tls_context(address)
        except LoginError as error:
            raise NatsUnreachable(server, str(error)) from error
        try:
            async with asyncio.timeout(4 * _CONNECT_TIMEOUT_S):
                await line.client.connect(
                    server,
                    name=name,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=_CONNECT_TIMEOUT_S,
                    ping_interval=_PING_INTERVAL_S,
                    max_outstanding_pings=2,
                    error_cb=line._on_error,
                    closed_cb=line._on_closed,
                    # Subjects are made by rxhub.transport.nats.subjects, which escapes what must not be in them.
                    skip_subject_validation=True,
                    tls=certificates,
                    tls_handshake_first=bool(address.tls_first),
                    **login,
                )
                if not line.client.is_connected:
                    raise nats.errors.ProtocolError
        except Exception as error:
            # Of any type: a peer that is not a NATS server can make the client fail anywhere.
            await line._discard()
            # nats-py raises only "no servers available", and passes the reason to its callback.
            cause = (
                line._last_error
                if isinstance(error, nats.errors.NoServersError) and line._last_error is not None
                else error
            )
            why = line._reason(error)
            raise NatsUnreachable(server, why, remedy(why, address)) from cause
        except BaseException:
            await line._discard()
            raise
        line._watching = supervise(
            line._watch, "watching a connection to NATS", failed=lambda error: line._end(_error_text(error))
        )
        return line

    @property
    def is_closed(self) -> bool:
        """Whether it has ended; `closed` may be set a moment later."""
        return self.closed.done() or self.client.is_closed

    @property
    def is_encrypted(self) -> bool:
        transport = cast("Any", self.client)._transport
        writer = getattr(transport, "_io_writer", None)
        return writer is not None and writer.get_extra_info("ssl_object") is not None

    @property
    def server_version(self) -> str:
        return str(cast("Any", self.client)._server_info.get("version", ""))

    @property
    def requires_credentials(self) -> bool:
        return bool(cast("Any", self.client)._server_info.get("auth_required"))

    @property
    def max_payload(self) -> int:
        """The largest payload that the server accepts, in bytes."""
        return self.client.max_payload

    async def js_request(self, api: str, body: Mapping[str, Any] | None = None, timeout: float = 5.0) -> dict[str, Any]:
        """Send a request to the JetStream API; `api` is the subject after `$JS.API.`, such as `STREAM.INFO.studio`.

        Raises StreamError if JetStream answers with an error, HubConnectionError without an answer: JetStream may be
        disabled, or have no leader at present.
        """
        payload = b"" if body is None else msgspec.json.encode(body)
        try:
            answer = await self.client.request(f"$JS.API.{api}", payload, timeout=timeout)
        except nats.errors.NoRespondersError:
            raise HubConnectionError(
                f"{api} has no responders at {self.server}: JetStream is not enabled or has no leader at present."
            ) from None
        except (nats.errors.Error, OSError, TimeoutError) as error:
            # A server reports a permission error to the connection, and does not answer the request.
            why = _error_text(error)
            if "permissions" in self._last_error_text:
                why = f"{self._last_error_text}. Grant this permission to the user in the configuration of NATS."
            raise HubConnectionError(f"{self.server} did not answer {api}: {why}") from error
        return self._read_answer(answer.data, api)

    async def publish_and_wait(self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None) -> int:
        """Publish a message, and return its sequence when the stream has stored it, or has one of the same message id.

        Raises StreamError if the stream refuses it, or there is none, HubConnectionError if no answer comes in five
        seconds.
        """
        try:
            answer = await self.client.request(
                subject, payload, timeout=_STORE_TIMEOUT_S, headers=None if headers is None else dict(headers)
            )
        except nats.errors.NoRespondersError:
            raise StreamError(503, 0, "no stream takes it at present", f"a message on {subject}") from None
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise HubConnectionError(f"A message on {subject} was not acknowledged: {error or 'no answer'}.") from error
        return self._read_answer(answer.data, subject)["seq"]

    def _read_answer(self, data: bytes, about: str) -> dict[str, Any]:
        try:
            told = msgspec.json.decode(data, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise HubConnectionError(
                f"The answer to {about} at {self.server} is not valid JSON; the responder is not JetStream."
            ) from error
        if error := told.get("error"):
            reason = str(error.get("description", "unknown error"))
            raise StreamError(error.get("code", 0), error.get("err_code", 0), reason, about)
        return told

    async def subscribe(
        self, subject: str, take: MessageHandler, is_drained: bool = False
    ) -> Callable[[], Awaitable[None]]:
        """Call `take`, which must not block, with each message, in order. Returns a function that unsubscribes."""
        subscription = await self.client.subscribe_directly(subject, take)

        async def end() -> None:
            with suppress(nats.errors.Error, OSError, TimeoutError):
                if is_drained and not self.closed.done():
                    async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                        await subscription.drain()
                else:
                    await subscription.unsubscribe()
            self.client.forget(subscription)

        return end

    async def flush(self) -> None:
        """Wait until the server has processed everything that was sent."""
        # Twice, since the first ping overtakes what the client has buffered.
        for _ in range(2):
            # Shielded, since nats-py ends the connection when a pong arrives for a cancelled ping.
            flushing = asyncio.ensure_future(self.client.flush(_FLUSH_TIMEOUT_S))
            ignore_error(flushing)
            await asyncio.shield(flushing)

    def inbox(self) -> str:
        return self.client.new_inbox()

    async def close(self) -> None:
        """Disconnect. Buffered data is sent if the server reads it within the timeout."""
        if self.closed.done():
            await self._close_socket()
        self._end("it was closed")
        try:
            with suppress(Exception):
                async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                    await self.client.close()
        finally:
            await self._close_socket()

    async def _discard(self) -> None:
        """Close a connection that was not established. nats-py would wait for the end of a failed TLS handshake."""
        self._end("it was closed")
        await self._close_socket()

    def abandon(self) -> None:
        """Close this process's copy of the socket and send nothing; for a child process."""
        writer = getattr(cast("Any", self.client)._transport, "_bare_io_writer", None)
        socket = None if writer is None else getattr(writer.get_extra_info("socket"), "_sock", None)
        if socket is not None:
            socket.close()

    async def _close_socket(self) -> None:
        """Close the socket and cancel the client's tasks, which may wait for a peer that does not read."""
        client: Any = self.client
        for name in ("_bare_io_writer", "_io_writer"):
            writer = getattr(client._transport, name, None)
            if writer is not None:
                cut(writer.transport)
        # Publishers wait here for data that will never be sent.
        while client._flush_queue is not None and not client._flush_queue.empty():
            flushed = client._flush_queue.get_nowait()
            if not flushed.done():
                flushed.set_result(None)
        readers = [subscription._wait_for_msgs_task for subscription in client._subs.values()]
        await cancel_and_wait(client._ping_interval_task, client._flusher_task, client._reading_task, *readers)

    async def _on_error(self, error: Exception) -> None:
        self._last_error_text, self._last_error = _error_text(error), error
        if isinstance(error, (nats.errors.Error, OSError, TimeoutError)):
            logger.debug("NATS at %s: %s", self.server, self._last_error_text)
            if self.on_denied is not None and (found := _DENIED.search(self._last_error_text)):
                self.on_denied(found[1])
        else:
            logger.error("Internal error: %s", self._last_error_text, exc_info=error)

    def _reason(self, error: Exception) -> str:
        if isinstance(error, nats.errors.SecureConnWantedError):
            return "it does not offer TLS, so nothing was sent. Use nats:// if the network is trusted."
        if isinstance(error, nats.errors.NoServersError):
            why = self._last_error_text or _error_text(error)
        elif isinstance(error, TimeoutError):
            why = f"it accepts connections, but did not complete the NATS handshake within {_CONNECT_TIMEOUT_S} s"
        elif isinstance(error, (OSError, nats.errors.Error)):
            why = _error_text(error)
        else:
            why = f"its response is not that of a NATS server ({_error_text(error)})."
        return why

    async def _watch(self) -> None:
        """Notice that the client has closed itself: it does not call back if an error occurs while it closes."""
        while not self.client.is_closed:
            await asyncio.sleep(_CLOSED_POLL_S)
        await self._on_closed()

    async def _on_closed(self) -> None:
        last = self.client.last_error
        self._end(self._last_error_text or "it ended" if last is None else _error_text(last))

    def _end(self, reason: str) -> None:
        if not self.closed.done():
            self.closed.set_result(reason)
        if self._watching is not None:
            self._watching.cancel()


def _error_text(error: BaseException) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    text = str(error)
    if isinstance(error, nats.errors.Error):
        text = text.removeprefix("nats: ").strip("'")
    return text or type(error).__name__
