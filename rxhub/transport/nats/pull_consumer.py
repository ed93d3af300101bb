"""Messages from a pull consumer, asked for in time, never more than can be held.

Theory of operation. A pull asks the consumer for a number of messages, and stands until they have come or its time is
over. The next pull is sent when half of what may be under way has been done with, so the server always knows of
one. Idle heartbeats tell a consumer that has nothing from one that is gone: after two that are missing, it is asked
again. The server ends a pull with a status, which tells how much of it will not come.

What is under way is what was asked for and has not come, and what has come and is not done with. It is bounded by bytes
too, for the sake of large messages: a pull ends after so many, and none is sent while half as many are held.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from rxhub.errors import StreamError
from rxhub.transport.nats.connection import NatsConnection
from rxhub.transport.nats.direct_client import parse_headers
from rxhub.transport.nats.streams import NO_CONSUMER, NO_STREAM

__all__ = ["ConsumerGone", "Message", "PullConsumer", "PullRefused"]

_PULL_EXPIRES_S = 30.0
# A consumer of one copy dies with its server, and nothing but silence tells of that.
_IDLE_HEARTBEAT_S = 1.0
_INFO_TIMEOUT_S = 2.0
# As many may be handled for minutes each.
_PULL_SINGLY_BELOW = 32
_NANOSECONDS = 1_000_000_000
# Of one pull; with two of them under way and half as much held, a reader may have some 160 MiB.
_MAX_PULL_BYTES = 64 * 1024 * 1024
# Of smaller ones, the number is bound enough.
_LARGE_MESSAGE_BYTES = 64 * 1024
# How the server tells that a pull has brought as many messages, or as many bytes, as it was to bring.
_PULL_COMPLETED = ("Batch Completed", "Message Size Exceeds MaxBytes")
# A pull that was refused for a moment's reason, such as an election, is sent again after that.
_REFUSED_PULL_DELAY_S = 0.25

logger = logging.getLogger("rxhub")


class ConsumerGone(StreamError):
    """The consumer is there no more: it was deleted, or lost with its server."""

    def __init__(self, consumer: str, why: str) -> None:
        super().__init__(404, NO_CONSUMER, why, f"a pull of {consumer}")


class PullRefused(StreamError):
    """The consumer is there, and does not take what is asked of it: it is another one than was thought."""

    def __init__(self, consumer: str, why: str) -> None:
        super().__init__(400, 0, why, f"a pull of {consumer}")


class Message:
    """One message of a stream, as a consumer sends it.

    What it tells of itself stands in the subject of its acknowledgement (NATS's ADR-15):
    `$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<turn>.<time>.<pending>`; newer servers may put a domain and
    an account hash before the stream, and a token behind.

    Attributes:
        subject: under which it is stored.
        data: its payload.
        reply: where it is acknowledged.
        sequence: its place in the stream.
        turn: its place among what this consumer has sent, 1 for the first.
    """

    __slots__ = ("_at", "_headers", "_tokens", "consumer_sequence", "data", "reply", "sequence", "subject")

    def __init__(self, subject: str, reply: str, data: bytes, headers: bytes) -> None:
        self.subject = subject
        self.data = data
        self.reply = reply
        self._headers = headers
        # Read at once is what every reader asks for.
        self._tokens = tokens = reply.split(".")
        self._at = at = 4 if len(tokens) == 9 else 6
        self.sequence = int(tokens[at + 1])
        self.consumer_sequence = int(tokens[at + 2])

    @property
    def headers(self) -> Mapping[str, str]:
        """Of the message."""
        return parse_headers(self._headers) if self._headers else _NO_HEADERS

    @property
    def delivered(self) -> int:
        """How often it has been sent, this time included."""
        return int(self._split()[self._at])

    @property
    def pending(self) -> int:
        """How many more there were for the consumer when it was sent."""
        return int(self._split()[self._at + 4])

    @property
    def nanoseconds(self) -> int:
        """When it was stored, in nanoseconds since the epoch."""
        return int(self._split()[self._at + 3])

    @property
    def time(self) -> float:
        """When it was stored, in seconds since the epoch."""
        return self.nanoseconds / _NANOSECONDS

    def drop_data(self) -> None:
        """Keep no more than is needed to acknowledge it, and to read it from the stream again."""
        self.data, self._headers, self._tokens = b"", b"", []

    def _split(self) -> list[str]:
        return self._tokens or self.reply.split(".")


_NO_HEADERS: Mapping[str, str] = {}


class PullConsumer:
    """Pulls from a consumer that is there; a part of a link (`rxhub.transport.nats.reconnecting.Part`).

    Args:
        stream: its stream.
        consumer: its name.
        take: called with each message, in order.
        ahead: how many messages may be under way.
        group: the priority group to pull in, where the consumer has one; see `pin`.
        expires: seconds for which a pull stands.
        is_drained: whether what is on its way is still taken at the end, instead of being lost until it comes again.

    Attributes:
        ahead: as given; may be changed at any time.
        held: how many messages have come that are not done with.
        pin: what the server calls us in the priority group while we are the one that gets messages; empty if not.
    """

    def __init__(
        self,
        stream: str,
        consumer: str,
        take: Callable[[Message], object],
        *,
        ahead: int = 512,
        group: str = "",
        expires: float = _PULL_EXPIRES_S,
        is_drained: bool = False,
    ) -> None:
        self.ahead = ahead
        self.held = 0
        self.pin = ""
        self._stream = stream
        self._consumer = consumer
        self._take = take
        self._group = group
        self._expires = expires
        self._is_drained = is_drained
        self._requested = 0
        # Of what is held and large, as far as that is known: of what is done with, only the number is told.
        self._bytes = 0
        self._wake = asyncio.Event()
        self._gone = ""
        self._refused = ""
        self._paused = False
        self._heard = False
        self._is_finished = False

    def done(self, count: int = 1) -> None:
        """So many messages less are held."""
        if self._bytes:
            self._bytes -= self._bytes * count // max(self.held, count, 1)
        self.held -= count
        if self._has_room:
            self._wake.set()

    def hold(self) -> None:
        """One more message is held, which was done with before."""
        self.held += 1

    @property
    def is_full(self) -> bool:
        """Whether nothing is asked for since too much is held."""
        return not self._has_room and not self._requested

    @property
    def _has_room(self) -> bool:
        """Whether to ask for more: of many at a time, or, where there are few, of each that there is room for."""
        ahead = self.ahead
        if self._bytes > _MAX_PULL_BYTES // 2:
            return False
        return self._requested + self.held <= (ahead // 2 if ahead > _PULL_SINGLY_BELOW else ahead - 1)

    def fail(self, why: str) -> None:
        """Have `run` end as if the consumer were gone."""
        self._gone = why
        self._wake.set()

    def finish(self) -> None:
        """Have `run` return."""
        self._is_finished = True
        self._wake.set()

    async def run(self, line: NatsConnection) -> None:
        """Pull until cancelled, or finished.

        Raises:
            ConsumerGone: if it is there no more.
            PullRefused: if it does not take such pulls.
        """
        inbox = line.inbox()
        self._requested, self._gone, self._refused, self._paused = 0, "", "", False
        end = await line.subscribe(inbox, self._receive, self._is_drained)
        try:
            while not self._is_finished:
                # First: what happens while something below is awaited is looked at by the next turn.
                self._wake.clear()
                self._heard = False
                if self._gone:
                    raise ConsumerGone(self._consumer, self._gone)
                if self._refused:
                    raise PullRefused(self._consumer, self._refused)
                if self._paused:
                    self._paused = False
                    await self._check(line)
                    await asyncio.sleep(_REFUSED_PULL_DELAY_S)
                if self._has_room:
                    await self._pull(line, inbox, self.ahead - self._requested - self.held)
                try:
                    async with asyncio.timeout(2.5 * _IDLE_HEARTBEAT_S):
                        await self._wake.wait()
                except TimeoutError:
                    if self._requested and not self._heard:
                        logger.info("The consumer %s of %s is silent, and asked again.", self._consumer, self._stream)
                        self._requested = 0
                        await self._check(line)
        finally:
            await end()

    async def _pull(self, line: NatsConnection, inbox: str, count: int) -> None:
        request: dict[str, Any] = {
            "batch": count,
            "expires": int(self._expires * _NANOSECONDS),
            # The server refuses more than half of what it expires after.
            "idle_heartbeat": int(min(_IDLE_HEARTBEAT_S, 0.4 * self._expires) * _NANOSECONDS),
        }
        if count * line.max_payload > _MAX_PULL_BYTES:
            # The server counts what is around a message too, and would never send one that is larger than that.
            request["max_bytes"] = max(_MAX_PULL_BYTES, 2 * line.max_payload)
        if self._group:
            request["group"] = self._group
            if self.pin:
                request["id"] = self.pin
        self._requested += count
        await line.client.publish(
            f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}", msgspec.json.encode(request), reply=inbox
        )

    async def _check(self, line: NatsConnection) -> None:
        try:
            await line.js_request(f"CONSUMER.INFO.{self._stream}.{self._consumer}", timeout=_INFO_TIMEOUT_S)
        except StreamError as error:
            if error.number in (NO_CONSUMER, NO_STREAM):
                raise ConsumerGone(self._consumer, error.description) from error
            raise

    def _receive(self, subject: str, reply: str, data: bytes, headers: bytes) -> None:
        self._heard = True
        if not reply.startswith("$JS.ACK."):
            # What holds no data may still be a message; but no message is without a place to acknowledge it.
            if headers and "Status" in (found := parse_headers(headers)):
                self._status(found)
            return
        message = Message(subject, reply, data, headers)
        if headers and self._group:
            self.pin = message.headers.get("Nats-Pin-Id", self.pin)
        self._requested -= 1
        self.held += 1
        if len(data) > _LARGE_MESSAGE_BYTES:
            self._bytes += len(data)
        self._take(message)

    def _status(self, headers: Mapping[str, str]) -> None:
        status, description = headers["Status"], headers.get("Description", "")
        if status == "100":
            return
        if status == "423":
            # Another one gets the messages now.
            self.pin = ""
        missing = headers.get("Nats-Pending-Messages", "")
        self._requested = max(0, self._requested - int(missing)) if missing.isdigit() else 0
        if status == "409" and "consumer deleted" in description.lower():
            self._gone = description
        elif status == "400":
            self._refused = description
        elif status not in ("404", "408", "423") and not description.startswith(_PULL_COMPLETED):
            # No leader, an election, a server that goes down, a limit of the consumer's.
            self._paused = True
        self._wake.set()
