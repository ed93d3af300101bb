"""From the outbox into the stream: acknowledged, or sent again under the same message id.

Theory of operation. A message goes out with a subject of ours to answer to, which ends in its number, and the server's
answer (the PubAck) says that it is stored: on most servers of the cluster, if the stream has several replicas. Many are
under way at a time. When the line breaks, when no answer has come for a while, or when the cluster has no leader, all
that is under way is sent again; the stream knows the ids of what it has stored lately (its duplicate window) and
stores none of them twice. Beyond that window nobody could tell, so what has been under way for three quarters of it is
given up, and its publisher is told that it may or may not be stored.

What the stream refuses for a reason that stays (it is full, the message is too large) is not sent again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from hashlib import sha256
from time import monotonic
from typing import Any

import msgspec
from nats.aio.msg import Msg

from rxhub.errors import EventError, HubConnectionError, Refused
from rxhub.transport.backoff import Backoff
from rxhub.transport.nats.line import Line
from rxhub.transport.outbox import Letter, Outbox

__all__ = ["MESSAGE_ID", "Parcel", "Publishing", "message_id"]

MESSAGE_ID = "Nats-Msg-Id"

WINDOW = 512
"""How many messages are under way at a time."""

PATIENCE = 5.0
"""Seconds after which a message without an answer is sent again."""

_LONGEST_ID = 200
_HASHED = "sha256:"

logger = logging.getLogger("rxhub")


class Parcel(Letter):
    """An event on its way into a stream.

    Args:
        topic: of the event, for messages.
        argument: the event as JSON text.
        subject: to store it under.
        identifier: by which the stream tells a second copy.
        headers: further headers.
    """

    __slots__ = ("headers", "subject")

    def __init__(
        self, topic: str, argument: str, subject: str, identifier: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(topic, argument)
        self.subject = subject
        self.headers = {MESSAGE_ID: message_id(identifier), **(headers or {})}


def message_id(identifier: str) -> str:
    """An event's id as a header's value; of one that a header cannot carry, a hash."""
    if len(identifier) <= _LONGEST_ID and identifier.isascii() and identifier.isprintable() and " " not in identifier:
        return identifier
    return _HASHED + sha256(identifier.encode("utf-8", "surrogatepass")).hexdigest()


class Publishing:
    """Empties an outbox into JetStream; a part of a link (`rxhub.transport.nats.link.Part`).

    Args:
        outbox: of parcels.
        horizon: seconds after which what was sent, and may be stored, is not sent again.
        ready: waited for before something new is sent.
    """

    def __init__(
        self, outbox: Outbox, horizon: float, ready: Callable[[], Awaitable[None] | None] = lambda: None
    ) -> None:
        self.horizon = horizon
        self._outbox = outbox
        self._ready = ready
        self._number = 0
        self._prefix = 0
        self._under_way = 0
        self._wake = asyncio.Event()
        self._troubled = ""

    async def run(self, line: Line) -> None:
        """Send until cancelled."""
        outbox, loop = self._outbox, asyncio.get_running_loop()
        inbox = line.inbox()
        self._prefix = len(inbox) + 1
        self._take_back()
        backoff = Backoff(0.1, 2.0)
        end = await line.subscribe(f"{inbox}.*", self._answered)
        try:
            while True:
                if self._troubled:
                    logger.debug("Publishing waits: %s", self._troubled)
                    await asyncio.sleep(backoff.delay())
                    self._take_back()
                elif not self._under_way:
                    backoff.reset()
                if (waiting := self._ready()) is not None:
                    await waiting
                await self._write(line, inbox)
                self._wake.clear()
                # First the bell, then the look: who rings in between is not missed.
                outbox.bell = lambda: loop.call_soon_threadsafe(self._wake.set)
                if (outbox.waiting and self._under_way < WINDOW) or self._troubled:
                    continue
                await self._rest()
        finally:
            outbox.bell = None
            await end()

    async def _write(self, line: Line, inbox: str) -> None:
        outbox, publish, limit = self._outbox, line.client.publish, line.limit
        now = monotonic()
        while self._under_way < WINDOW and not self._troubled and (letter := outbox.take()) is not None:
            assert isinstance(letter, Parcel)
            payload = letter.argument.encode()
            self._number += 1
            outbox.wrote(letter, self._number, now)
            self._under_way += 1
            if len(payload) > limit:
                self._settle(self._number, _too_large(letter, len(payload), limit))
                continue
            await publish(letter.subject, payload, f"{inbox}.{self._number}", letter.headers)

    async def _rest(self) -> None:
        """Until there is something to do."""
        eldest = self._outbox.eldest
        try:
            async with asyncio.timeout(None if eldest is None else max(0.0, eldest.written + PATIENCE - monotonic())):
                await self._wake.wait()
        except TimeoutError:
            if self._outbox.eldest is eldest:
                self._troubled = f"no answer has come for {PATIENCE:g} s"

    async def _answered(self, msg: Msg) -> None:
        number = int(msg.subject[self._prefix :])
        data = msg.data
        if data and b'"error"' not in data:
            self._settle(number, None)
        else:
            self._refused(number, msg)
        if self._under_way <= WINDOW // 2:
            self._wake.set()

    def _refused(self, number: int, msg: Msg) -> None:
        letter = self._outbox[number]
        if letter is None:
            return
        told: dict[str, Any] = msgspec.json.decode(msg.data)["error"] if msg.data else {"code": 503}
        description = str(told.get("description", "nobody stores it"))
        if told.get("code") == 503:
            # No leader at present, or not yet: all that is under way will be sent again, in its order.
            self._troubled = description
            self._wake.set()
            return
        self._settle(number, Refused(f"The stream does not take {letter.topic}: {description}."))

    def _settle(self, number: int, error: Exception | None) -> None:
        letter = self._outbox.acknowledged(number)
        # What was taken back is not under way, though its answer may come all the same.
        if letter is not None:
            self._under_way -= 1
            letter.settle(error)

    def _take_back(self) -> None:
        self._troubled, self._under_way = "", 0
        for letter in self._outbox.again(monotonic() - self.horizon):
            error = HubConnectionError(
                f"{letter.topic} was given up: no answer has come for {self.horizon:g} s, and the stream would no "
                "longer tell a second copy of it. It may be stored, or may be not."
            )
            logger.error("%s", error)
            letter.settle(error)


def _too_large(letter: Letter, size: int, limit: int) -> EventError:
    return EventError(
        f"The event {letter.topic} has {size} bytes, and the NATS server takes {limit} (its max_payload). Put the bulk "
        "of it where receivers can fetch it, and send the address."
    )
