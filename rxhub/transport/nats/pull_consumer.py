"""Messages from a pull consumer, requested ahead of time and bounded in number and bytes.

A pull requests a number of messages, and is open until they have arrived or it expires. The next one is sent when half
of the messages in flight (requested, or arrived and not done) are done, so that one is always open. A pull also ends
after a number of bytes, and none is sent while half as many are held. After two missing idle heartbeats, the consumer
is checked. The server closes a pull with a status, which states how many messages it will not send.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from rxhub.errors import StreamError
from rxhub.event import Event
from rxhub.telemetry.trace_carrier import add_carrier, carrier_of, has_context
from rxhub.transport.json_payload import read_stored
from rxhub.transport.nats.connection import NatsConnection
from rxhub.transport.nats.direct_client import parse_headers
from rxhub.transport.nats.streams import NO_CONSUMER, NO_STREAM

__all__ = ["ConsumerGone", "Message", "PullConsumer", "PullRefused", "create_ephemeral_consumer"]

_PULL_EXPIRES_S = 30.0
# A consumer with one replica is lost with its server, which only silence reveals.
_IDLE_HEARTBEAT_S = 1.0
_INFO_TIMEOUT_S = 2.0
# The server deletes an ephemeral consumer of a reader that is gone.
_FORGOTTEN_AFTER_S = 60
# Below this number, each message may take minutes, so a pull is sent for each.
_PULL_SINGLY_BELOW = 32
_NANOSECONDS = 1_000_000_000
# With two pulls open and half as much held, a reader may hold about 160 MiB.
_MAX_PULL_BYTES = 64 * 1024 * 1024
# Smaller messages are bounded by their number.
_LARGE_MESSAGE_BYTES = 64 * 1024
# Statuses of a pull that was filled, by messages or by bytes.
_PULL_COMPLETED = ("Batch Completed", "Message Size Exceeds MaxBytes")
# Until a pull is sent again that was rejected for a transient reason, such as an election.
_REFUSED_PULL_DELAY_S = 0.25

logger = logging.getLogger("rxhub")


class ConsumerGone(StreamError):
    """The consumer does not exist any more: it was deleted, or lost with its server."""

    def __init__(self, consumer: str, why: str) -> None:
        super().__init__(404, NO_CONSUMER, why, f"a pull of {consumer}")


class PullRefused(StreamError):
    """The consumer rejects the pull: it is configured differently."""

    def __init__(self, consumer: str, why: str) -> None:
        super().__init__(400, 0, why, f"a pull of {consumer}")


class Message:
    """One message of a stream, as a consumer delivers it.

    Its metadata is in the subject of its acknowledgement (NATS ADR-15):
    `$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<turn>.<time>.<pending>`; newer servers may put a domain and
    an account hash before the stream, and a token behind.

    Attributes:
        reply: where it is acknowledged.
        sequence: its place in the stream.
        consumer_sequence: its number among the deliveries of this consumer, from 1.
    """

    __slots__ = ("_at", "_headers", "_tokens", "consumer_sequence", "data", "reply", "sequence", "subject")

    def __init__(self, subject: str, reply: str, data: bytes, headers: bytes) -> None:
        self.subject = subject
        self.data = data
        self.reply = reply
        self._headers = headers
        # Every reader uses these; the rest is parsed on demand.
        self._tokens = tokens = reply.split(".")
        self._at = at = 4 if len(tokens) == 9 else 6
        self.sequence = int(tokens[at + 1])
        self.consumer_sequence = int(tokens[at + 2])

    @property
    def headers(self) -> Mapping[str, str]:
        return parse_headers(self._headers) if self._headers else _NO_HEADERS

    def read_event(self) -> Event:
        """The event, with the trace context of its headers if another program has stored it.

        Raises ProtocolError if it is not JSON, EventError if it is not an event.
        """
        event = read_stored(self.data)
        # OpenTelemetry's Go and Java libraries write the name with a capital letter.
        if b"raceparent" in self._headers and not has_context(event):
            add_carrier(event, carrier_of({name.lower(): value for name, value in self.headers.items()}))
        return event

    @property
    def delivered(self) -> int:
        """The number of deliveries, including this one."""
        return int(self._split()[self._at])

    @property
    def pending(self) -> int:
        """The number of messages that the consumer still had when it was sent."""
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
        """Keep only what acknowledging and reading it again need."""
        self.data, self._headers, self._tokens = b"", b"", []

    def _split(self) -> list[str]:
        return self._tokens or self.reply.split(".")


_NO_HEADERS: Mapping[str, str] = {}


async def create_ephemeral_consumer(
    line: NatsConnection, stream: str, subjects: Sequence[str], start: int | datetime | None = None, name: str = ""
) -> tuple[str, int]:
    """Create a consumer without acknowledgements, which the server deletes a minute after its last pull.

    Returns its name and how many messages there are for it. `subjects` must not overlap; empty is everything. `start`
    is the sequence to continue after, or an aware time; None is now.
    """
    name = name or f"rxhub-{line.inbox().rpartition('.')[2]}"
    config: dict[str, Any] = {
        "name": name,
        "ack_policy": "none",
        "mem_storage": True,
        "num_replicas": 1,
        "inactive_threshold": _FORGOTTEN_AFTER_S * _NANOSECONDS,
    }
    if len(subjects) == 1:
        config["filter_subject"] = subjects[0]
    else:
        config["filter_subjects"] = list(subjects)
    if isinstance(start, int):
        config |= {"deliver_policy": "by_start_sequence", "opt_start_seq": start + 1}
    elif start is not None:
        time = start.astimezone(UTC).isoformat().replace("+00:00", "Z")
        config |= {"deliver_policy": "by_start_time", "opt_start_time": time}
    else:
        config["deliver_policy"] = "new"
    told = await line.js_request(
        f"CONSUMER.CREATE.{stream}.{name}", {"stream_name": stream, "config": config, "action": "create"}
    )
    return name, told["num_pending"]


class PullConsumer:
    """Pulls from an existing consumer (`rxhub.transport.nats.reconnecting.ConnectionTask`).

    Args:
        group: the priority group of the pulls; see `pin`.
        expires: seconds until a pull expires.
        is_drained: whether messages in flight are still delivered at the end, instead of being redelivered later.
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
        self.ahead = ahead  # as given; may change at any time
        self.held = 0  # the number of messages that arrived and are not done
        self.pin = ""  # the server's id for us while we are the pinned client of the priority group; otherwise empty
        self._stream = stream
        self._consumer = consumer
        self._take = take
        self._group = group
        self._expires = expires
        self._is_drained = is_drained
        self._requested = 0
        # An estimate of the large messages held, since `done` reports only a number.
        self._bytes = 0
        self._wake = asyncio.Event()
        self._gone = ""
        self._refused = ""
        self._paused = False
        self._heard = False
        self._is_finished = False

    def done(self, count: int = 1) -> None:
        """Report that `count` messages are done."""
        if self._bytes:
            self._bytes -= self._bytes * count // max(self.held, count, 1)
        self.held -= count
        if self._has_room:
            self._wake.set()

    def hold(self) -> None:
        """Count a message as held again that was done."""
        self.held += 1

    @property
    def is_full(self) -> bool:
        """Whether no pull is open because too much is held."""
        return not self._has_room and not self._requested

    @property
    def _has_room(self) -> bool:
        """Whether to send a pull: for half of many messages, or for each of few."""
        ahead = self.ahead
        if self._bytes > _MAX_PULL_BYTES // 2:
            return False
        return self._requested + self.held <= (ahead // 2 if ahead > _PULL_SINGLY_BELOW else ahead - 1)

    def fail(self, why: str) -> None:
        """Make `run` raise `ConsumerGone`."""
        self._gone = why
        self._wake.set()

    def finish(self) -> None:
        """Make `run` return."""
        self._is_finished = True
        self._wake.set()

    async def run(self, line: NatsConnection) -> None:
        """Pull until cancelled, or finished. Raises ConsumerGone, or PullRefused if the settings differ."""
        inbox = line.inbox()
        self._requested, self._gone, self._refused, self._paused = 0, "", "", False
        end = await line.subscribe(inbox, self._receive, self._is_drained)
        try:
            while not self._is_finished:
                # First, so that what happens during the awaits below is seen in the next iteration.
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
                        logger.info("The consumer %s of %s is silent; checking it.", self._consumer, self._stream)
                        self._requested = 0
                        await self._check(line)
        finally:
            await end()

    async def _pull(self, line: NatsConnection, inbox: str, count: int) -> None:
        request: dict[str, Any] = {
            "batch": count,
            "expires": int(self._expires * _NANOSECONDS),
            # The server rejects more than half of the expiry.
            "idle_heartbeat": int(min(_IDLE_HEARTBEAT_S, 0.4 * self._expires) * _NANOSECONDS),
        }
        if count * line.max_payload > _MAX_PULL_BYTES:
            # The server counts the headers too, and never sends a message above this limit.
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
            # A message may be empty, but it always has a reply subject for its acknowledgement.
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
            # Another client is pinned now.
            self.pin = ""
        missing = headers.get("Nats-Pending-Messages", "")
        self._requested = max(0, self._requested - int(missing)) if missing.isdigit() else 0
        if status == "409" and "consumer deleted" in description.lower():
            self._gone = description
        elif status == "400":
            self._refused = description
        elif status not in ("404", "408", "423") and not description.startswith(_PULL_COMPLETED):
            # No leader, an election, a server that shuts down, or a limit of the consumer.
            self._paused = True
        self._wake.set()
