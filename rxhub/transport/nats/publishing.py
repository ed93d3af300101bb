"""From the outbox into the stream: acknowledged, or sent again under the same message id.

Theory of operation. A message goes out with a subject of ours to answer to, which ends in its number, and the server's
answer (the PubAck) says that it is stored: on most servers of the cluster, if the stream has several replicas. Many are
under way at a time. When the line breaks, when no answer has come for a while, or when the cluster has no leader, all
that is under way is sent again; the stream knows the ids of what it has stored lately (its duplicate window) and
stores none of them twice. Beyond that window nobody could tell, so what has been under way for three quarters of it is
given up, and its publisher is told that it may or may not be stored.

What the stream refuses for a reason that stays (it is full, the message is too large, we may not) is not sent again.

A stream of one replica whose server failed to write, on a full disk, answers no publisher until the server is
restarted, although it answers questions about itself (nats-server: `setWriteErrLocked`). So when no answer has come,
the stream is asked for its last sequence, twice: if it answers promptly and that has not changed, it does not store,
and all publishers get an error instead of waiting. A disk that is merely slow delays these answers too.

A copy keeps its number on a line, so that the answer to an earlier one counts: over a slow line it comes after the
message was sent again, and would else never come in time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from hashlib import sha256
from itertools import count
from time import monotonic
from typing import Any, Protocol

import msgspec

from rxhub.concurrency.backoff import Backoff
from rxhub.errors import EventError, HubConnectionError, Refused, StreamError
from rxhub.transport.nats.connection import NatsConnection
from rxhub.transport.nats.direct_client import encode_publish
from rxhub.transport.outbox import Outbox, PendingPublish

__all__ = ["MESSAGE_ID", "JetStreamPublisher", "StoredPublish", "Synced", "message_id", "resend_window"]

MESSAGE_ID = "Nats-Msg-Id"

MAX_IN_FLIGHT = 512
"""How many messages are under way at a time."""

ACK_TIMEOUT_S = 5.0
"""Seconds after which a message without an answer is sent again; longer each time that none has come meanwhile."""

_MAX_ACK_TIMEOUT_S = 40.0
# Seconds: the same while the stream is known not to store; between two looks at its last sequence; for one look.
_NOT_STORING_ACK_TIMEOUT_S = 2.0
_STREAM_CHECK_INTERVAL_S = 1.0
_STREAM_CHECK_TIMEOUT_S = 2.0
# Seconds for which a refusal counts as the state of the stream.
_REFUSAL_VALID_S = 60.0
# Of the time for which the stream knows ids: how long one of them is sent again.
_RESEND_WINDOW_SHARE = 0.75
_NANOSECONDS = 1_000_000_000
# Codes and numbers of answers that will be others soon: the cluster has no leader, the server is busy, or another copy
# of the message is on its way through it.
_TRANSIENT_CODES = (409, 429, 503)
# And such as are not, though their code says so: the store is full, or may not grow.
_STORE_FAILED, _NO_RESOURCES, _ACCOUNT_FULL = 10077, 10023, 10002
_MAX_ID_LENGTH = 200
# Bytes after which commands are written, instead of being gathered further.
_WRITE_BATCH_BYTES = 64 * 1024
_HASHED = "sha256:"

logger = logging.getLogger("rxhub")


class StoredPublish(PendingPublish):
    """An event on its way into a stream.

    Args:
        topic: of the event, for messages.
        argument: the event as JSON text.
        subject: to store it under.
        identifier: by which the stream tells a second copy.
    """

    __slots__ = ("headers", "number", "subject")

    def __init__(self, topic: str, argument: str, subject: str, identifier: str) -> None:
        super().__init__(topic, argument)
        self.subject = subject
        self.headers = f"NATS/1.0\r\n{MESSAGE_ID}: {message_id(identifier or argument)}\r\n\r\n".encode()
        # By which its answer is known; 0 before it was written.
        self.number = 0


class Synced(Protocol):
    """Who reads the stream (`rxhub.transport.nats.ordered_consumer.Ordered`)."""

    @property
    def is_synced(self) -> bool:
        """Whether what is stored from now on comes to all who want it."""
        ...

    async def synced(self) -> None:
        """Wait until it does."""
        ...


class _PubError(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _PubAck(msgspec.Struct):
    """What the server answers; without an error, the message is stored."""

    error: _PubError | None = None
    duplicate: bool = False


def message_id(identifier: str) -> str:
    """An event's id as a header's value; of one that a header cannot carry, a hash."""
    if (
        identifier
        and len(identifier) <= _MAX_ID_LENGTH
        and identifier.isascii()
        and identifier.isprintable()
        and " " not in identifier
    ):
        return identifier
    return _HASHED + sha256(identifier.encode("utf-8", "surrogatepass")).hexdigest()


def resend_window(stream: Mapping[str, Any]) -> float:
    """Seconds for which a message may be sent again into a stream of this configuration, and is not stored twice."""
    return _RESEND_WINDOW_SHARE * stream["duplicate_window"] / _NANOSECONDS


class JetStreamPublisher:
    """Empties an outbox into JetStream; a part of a link (`rxhub.transport.nats.reconnecting.Part`).

    Args:
        outbox: of parcels.
        horizon: seconds after which what was sent, and may be stored, is not sent again.
        reading: waited for before something is sent, so that our own subscribers see what is published after they came.
        stream: the name of the stream, which is asked whether it stores when it does not answer.
    """

    def __init__(
        self, outbox: Outbox, horizon: float, reading: Synced | None = None, stream: str | None = None
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
        """Why the stream does not store what is published, as far as is known; empty if it does."""
        if self._full is not None and monotonic() - self._full[1] < _REFUSAL_VALID_S:
            return self._full[0]
        return self._not_storing

    async def run(self, line: NatsConnection) -> None:
        """Send until cancelled."""
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
        # Whether new filters are in force is asked when a letter is there, since who subscribes first and publishes
        # then may do both in this moment.
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
        """Until there is something to do."""
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
        """Whether the stream stores; True if that cannot be found out."""
        first = await self._last_sequence(line)
        if first is None:
            return True
        await asyncio.sleep(_STREAM_CHECK_INTERVAL_S)
        return await self._last_sequence(line) != first

    async def _last_sequence(self, line: NatsConnection) -> int | None:
        """The last sequence of a stream with one replica; None if there is no prompt answer."""
        if self._stream is None:
            return None
        try:
            info = await line.js_request(f"STREAM.INFO.{self._stream}", timeout=_STREAM_CHECK_TIMEOUT_S)
        except (StreamError, HubConnectionError):
            return None
        # With more replicas, the cluster replaces a leader that cannot write.
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
                logger.warning("Something else than JetStream answers what is published: %s", error)
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
            # A store that is closed belongs to a server that ends.
            error.err_code == _STORE_FAILED and "closed" not in error.description
        )
        if error.code in _TRANSIENT_CODES and not stays:
            # All that is under way will be sent again, in its order.
            self._retry_reason = error.description
            self._outbox.wakeup.set()
            return
        refused = Refused(f"The stream does not take {letter.topic}: {error.description}.")
        if error.err_code in (_STORE_FAILED, _NO_RESOURCES, _ACCOUNT_FULL):
            self._full = str(refused), monotonic()
        self._resolve(number, refused)

    def _on_denied(self, subject: str) -> None:
        """The server forbids to publish under a subject, whose case it does not tell."""
        for letter in self._outbox.publishes_in_flight:
            assert isinstance(letter, StoredPublish)
            if letter.subject.lower() == subject:
                self._resolve(
                    letter.number,
                    Refused(f"The NATS server does not permit to publish {letter.topic}, as {letter.subject}."),
                )

    def _resolve(self, number: int, error: Exception | None) -> None:
        letter = self._outbox.acknowledged(number)
        # What was taken back is not under way, though its answer may come all the same.
        if letter is not None:
            self._in_flight -= 1
            letter.resolve(error)

    def _requeue_in_flight(self) -> None:
        self._retry_reason, self._in_flight = "", 0
        for letter in self._outbox.requeue_in_flight(monotonic() - self.horizon):
            letter.resolve(self._expired_error(letter))

    def _expired_error(self, letter: PendingPublish) -> HubConnectionError:
        error = HubConnectionError(
            f"{letter.topic} was given up: no answer has come for {self.horizon:g} s, and the stream would no "
            "longer tell a second copy of it. It may be stored, or may be not."
        )
        logger.error("%s", error)
        return error


_decoder = msgspec.json.Decoder(_PubAck)
# The stream is gone, or JetStream.
_NO_STREAM = _PubAck(_PubError(503, description="there is no stream for it"))
# A letter may outlive the one who has written it first.
_numbers = count(1)


def _too_large(letter: PendingPublish, size: int, limit: int) -> EventError:
    return EventError(
        f"The event {letter.topic} has {size} bytes, and the NATS server takes {limit} (its max_payload). Put the bulk "
        "of it where receivers can fetch it, and send the address."
    )
