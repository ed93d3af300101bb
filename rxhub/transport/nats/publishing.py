"""Publish from the outbox into the stream: wait for acknowledgements, and resend under the same message id.

The reply subject of a message ends in its number, which it keeps when it is resent. The server's answer (PubAck)
confirms that a majority of the replicas stores it. When the connection breaks, an answer is overdue, or the cluster has
no leader, all messages in flight are sent again; the stream detects duplicates by message id within its duplicate
window. After three quarters of that window, the publisher gets an error that the message may or may not be stored.
Permanent rejections (a full stream, missing permissions) are not retried.

If the server of a stream with one replica fails to write to a full disk, it acknowledges nothing until it is restarted
(nats-server: `setWriteErrLocked`). So when an answer is overdue, the stream is asked twice for its last sequence. If
both answers are prompt and equal, it does not store, and all publishers get an error.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from hashlib import sha256
from itertools import count
from time import monotonic
from typing import Any, cast

import msgspec

from rxhub.concurrency.backoff import Backoff
from rxhub.errors import EventError, HubConnectionError, Refused, StreamError
from rxhub.telemetry.trace_carrier import carrier_of
from rxhub.transport.nats.connection import NatsConnection
from rxhub.transport.nats.direct_client import encode_publish
from rxhub.transport.nats.ordered_consumer import OrderedConsumer
from rxhub.transport.outbox import Outbox, PendingPublish

__all__ = ["MESSAGE_ID", "JetStreamPublisher", "StoredPublish", "message_id", "resend_window"]

MESSAGE_ID = "Nats-Msg-Id"

MAX_IN_FLIGHT = 512  # the largest number of messages in flight
ACK_TIMEOUT_S = 5.0  # seconds until an unanswered message is resent; doubled each time without any answer
_MAX_ACK_TIMEOUT_S = 40.0
# The same while the stream does not store; the interval and timeout of the checks of its last sequence.
_NOT_STORING_ACK_TIMEOUT_S = 2.0
_STREAM_CHECK_INTERVAL_S = 1.0
_STREAM_CHECK_TIMEOUT_S = 2.0
# How long a rejection counts as the state of the stream.
_REFUSAL_VALID_S = 60.0
# The share of the duplicate window in which a message is resent.
_RESEND_WINDOW_SHARE = 0.75
_NANOSECONDS = 1_000_000_000
# Transient errors: no leader, a busy server, or another copy of the message that is being stored.
_TRANSIENT_CODES = (409, 429, 503)
# Permanent errors with a transient code: the store is full, or may not grow.
_STORE_FAILED, _NO_RESOURCES, _ACCOUNT_FULL = 10077, 10023, 10002
_MAX_ID_LENGTH = 200
_WRITE_BATCH_BYTES = 64 * 1024
_HASHED = "sha256:"

logger = logging.getLogger("rxhub")


class StoredPublish(PendingPublish):
    """An event on its way into a stream."""

    __slots__ = ("headers", "number", "subject")

    def __init__(self, topic: str, argument: str, subject: str, identifier: str, source: object = None) -> None:
        super().__init__(topic, argument)
        self.subject = subject
        headers = f"{MESSAGE_ID}: {message_id(identifier or argument)}\r\n{_trace(source)}"
        self.headers = f"NATS/1.0\r\n{headers}\r\n".encode()
        # Identifies its answer; 0 until it is first written.
        self.number = 0


class _PubError(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _PubAck(msgspec.Struct):
    """The answer of the server; without an error, the message is stored."""

    error: _PubError | None = None
    duplicate: bool = False


def message_id(identifier: str) -> str:
    """The id of an event as a header value; a hash if the header cannot carry it."""
    if (
        identifier
        and len(identifier) <= _MAX_ID_LENGTH
        and identifier.isascii()
        and identifier.isprintable()
        and " " not in identifier
    ):
        return identifier
    return _HASHED + sha256(identifier.encode("utf-8", "surrogatepass")).hexdigest()


def _trace(source: object) -> str:
    """The headers for the trace context in the source of an event, for other programs on NATS."""
    if not isinstance(source, Mapping) or not ("traceparent" in source or "baggage" in source):
        return ""
    return "".join([f"{name}: {value}\r\n" for name, value in carrier_of(cast("object", source)).items()])


def resend_window(stream: Mapping[str, Any]) -> float:
    """Seconds in which a message may be resent to a stream of this configuration without being stored twice."""
    return _RESEND_WINDOW_SHARE * stream["duplicate_window"] / _NANOSECONDS


class JetStreamPublisher:
    """Publishes from an outbox to JetStream (`rxhub.transport.nats.reconnecting.ConnectionTask`).

    `horizon` is the time in seconds after which a message that may be stored is not resent. Publishing waits until
    `reading` is synced, so that our subscribers receive what is published after they subscribed.
    """

    def __init__(
        self, outbox: Outbox, horizon: float, reading: OrderedConsumer | None = None, stream: str | None = None
    ) -> None:
        self.horizon = horizon
        self._stream = stream
        self._not_storing = ""
        self._full: tuple[str, float] | None = None
        self._outbox = outbox
        self._reading = reading
        self._ack_timeout = ACK_TIMEOUT_S
        self._prefix = 0
        self._in_flight = 0
        self._retry_reason = ""

    @property
    def trouble(self) -> str:
        """Why the stream does not store events at present; empty if it does or that is unknown."""
        if self._full is not None and monotonic() - self._full[1] < _REFUSAL_VALID_S:
            return self._full[0]
        return self._not_storing

    async def run(self, line: NatsConnection) -> None:
        outbox = self._outbox
        inbox = line.inbox()
        self._prefix = len(inbox) + 1
        self._ack_timeout = ACK_TIMEOUT_S
        self._not_storing = ""
        self._requeue_in_flight()
        backoff = Backoff(0.1, 2.0)
        end = await line.subscribe(f"{inbox}.*", self._on_ack)
        line.on_denied = self._on_denied
        try:
            while True:
                if self._retry_reason:
                    logger.debug("Publishing waits: %s", self._retry_reason)
                    await asyncio.sleep(backoff.delay())
                    self._requeue_in_flight()
                elif not self._in_flight:
                    backoff.reset()
                if outbox.waiting and self._reading is not None and not self._reading.is_synced:
                    await self._reading.synced()
                await self._write(line, inbox)
                outbox.wakeup.clear()
                if (outbox.waiting and self._in_flight < MAX_IN_FLIGHT) or self._retry_reason:
                    continue
                await self._wait(line)
        finally:
            await end()

    async def _write(self, line: NatsConnection, inbox: str) -> None:
        outbox, reading, write, limit = self._outbox, self._reading, line.client.write, line.max_payload
        now = monotonic()
        commands: list[bytes] = []
        size = 0
        # Checked when there is something to send: a caller may subscribe and then publish at this moment.
        while (
            self._in_flight < MAX_IN_FLIGHT
            and not self._retry_reason
            and outbox.waiting
            and (reading is None or reading.is_synced)
        ):
            letter = outbox.take()
            assert isinstance(letter, StoredPublish)
            letter.number = letter.number or next(_numbers)
            payload = letter.argument.encode()
            outbox.wrote(letter, letter.number, now)
            self._in_flight += 1
            if letter.first < now - self.horizon:
                self._resolve(letter.number, self._expired_error(letter))
            elif len(payload) + len(letter.headers) > limit:
                self._resolve(letter.number, _too_large(letter, len(payload) + len(letter.headers), limit))
            else:
                command = encode_publish(letter.subject, f"{inbox}.{letter.number}", letter.headers, payload)
                commands.append(command)
                size += len(command)
                if size > _WRITE_BATCH_BYTES:
                    await write(commands)
                    commands, size = [], 0
        if commands:
            await write(commands)

    async def _wait(self, line: NatsConnection) -> None:
        eldest = self._outbox.oldest_in_flight
        patience = None if eldest is None else max(0.0, eldest.written + self._ack_timeout - monotonic())
        if not await self._outbox.wakeup.wait(patience):
            if self._outbox.oldest_in_flight is not eldest:
                return
            is_storing = await self._is_storing(line)
            if self._outbox.oldest_in_flight is not eldest:
                return
            if is_storing:
                self._retry_reason = f"no answer has come for {self._ack_timeout:g} s"
                self._ack_timeout = min(2 * self._ack_timeout, _MAX_ACK_TIMEOUT_S)
            else:
                self._fail_all()

    async def _is_storing(self, line: NatsConnection) -> bool:
        """Whether the stream stores; True if unknown."""
        first = await self._last_sequence(line)
        if first is None:
            return True
        await asyncio.sleep(_STREAM_CHECK_INTERVAL_S)
        return await self._last_sequence(line) != first

    async def _last_sequence(self, line: NatsConnection) -> int | None:
        """The last sequence of a stream with one replica; None without a prompt answer."""
        if self._stream is None:
            return None
        try:
            info = await line.js_request(f"STREAM.INFO.{self._stream}", timeout=_STREAM_CHECK_TIMEOUT_S)
        except (StreamError, HubConnectionError):
            return None
        # A cluster replaces a leader that cannot write.
        return info["state"]["last_seq"] if info["config"]["num_replicas"] == 1 else None

    def _fail_all(self) -> None:
        error = Refused(
            f"The stream {self._stream} does not store: its NATS server answers, but acknowledges nothing. The disk of "
            "that server is probably full; its log names the reason. Free up space and restart it (a private server "
            "restarts itself). What was published may be stored all the same: publish it again under the same id."
        )
        if not self._not_storing:
            logger.error("%s", error)
        self._not_storing = str(error)
        self._ack_timeout = _NOT_STORING_ACK_TIMEOUT_S
        self._in_flight = 0
        self._outbox.fail_all(error)

    def _on_ack(self, subject: str, reply: str, data: bytes, headers: bytes) -> None:
        number = int(subject[self._prefix :])
        self._ack_timeout = ACK_TIMEOUT_S
        if not data:
            answer = _NO_STREAM
        else:
            try:
                answer = _decoder.decode(data)
            except msgspec.MsgspecError as error:
                logger.warning("A published message got an answer that is not from JetStream: %s", error)
                return
        if answer.error is None:
            self._not_storing, self._full = "", None
            letter = self._outbox[number] if answer.duplicate else None
            if letter is not None and not letter.resent:
                logger.info("%s was stored before under the same id, and is not stored again.", letter.topic)
            self._resolve(number, None)
        else:
            self._on_refused(number, answer.error)
        if self._outbox.waiting and self._in_flight <= MAX_IN_FLIGHT // 2:
            self._outbox.wakeup.set()

    def _on_refused(self, number: int, error: _PubError) -> None:
        letter = self._outbox[number]
        if letter is None:
            return
        stays = error.err_code == _NO_RESOURCES or (
            # A closed store belongs to a server that shuts down.
            error.err_code == _STORE_FAILED and "closed" not in error.description
        )
        if error.code in _TRANSIENT_CODES and not stays:
            # All messages in flight are resent in order.
            self._retry_reason = error.description
            self._outbox.wakeup.set()
            return
        refused = Refused(f"The stream does not take {letter.topic}: {error.description}.")
        if error.err_code in (_STORE_FAILED, _NO_RESOURCES, _ACCOUNT_FULL):
            self._full = str(refused), monotonic()
        self._resolve(number, refused)

    def _on_denied(self, subject: str) -> None:
        """The server does not permit a subject, which it reports in lower case."""
        for letter in self._outbox.publishes_in_flight:
            assert isinstance(letter, StoredPublish)
            if letter.subject.lower() == subject:
                self._resolve(
                    letter.number,
                    Refused(f"The NATS server does not permit to publish {letter.topic}, as {letter.subject}."),
                )

    def _resolve(self, number: int, error: Exception | None) -> None:
        letter = self._outbox.acknowledged(number)
        # A requeued message is not in flight, although its answer may still arrive.
        if letter is not None:
            self._in_flight -= 1
            letter.resolve(error)

    def _requeue_in_flight(self) -> None:
        self._retry_reason, self._in_flight = "", 0
        for letter in self._outbox.requeue_in_flight(monotonic() - self.horizon):
            letter.resolve(self._expired_error(letter))

    def _expired_error(self, letter: PendingPublish) -> HubConnectionError:
        error = HubConnectionError(
            f"Gave up publishing {letter.topic}: it was not acknowledged within {self.horizon:g} s, after which "
            "the stream no longer detects duplicates. It may or may not be stored."
        )
        logger.error("%s", error)
        return error


_decoder = msgspec.json.Decoder(_PubAck)
# Without responders, the stream or JetStream is missing.
_NO_STREAM = _PubAck(_PubError(503, description="there is no stream for it"))
# Global, since a message may be resent by a later publisher.
_numbers = count(1)


def _too_large(letter: PendingPublish, size: int, limit: int) -> EventError:
    return EventError(
        f"The event {letter.topic} has {size} bytes, but the NATS server accepts at most {limit} (its max_payload). "
        "Store the large part where receivers can fetch it, and send its address."
    )
