"""Redelivered messages that this process has acknowledged before.

The server redelivers such a message if the acknowledgement was lost with a connection, or because the group was reset.
In the first case it is acknowledged again, in the second case it is handled again. Which one it is, the group's
settings tell, with one request for all waiting messages.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from rxhub.errors import GroupError, HubConnectionError, StreamError
from rxhub.transport.nats.processing.group import Group
from rxhub.transport.nats.processing.in_flight import ACK, InFlight
from rxhub.transport.nats.pull_consumer import Message, PullConsumer

__all__ = ["RedeliveryCheck"]

logger = logging.getLogger("rxhub")


class RedeliveryCheck:
    """Acknowledges redelivered messages again, or passes them to `receive` if the group was reset."""

    def __init__(
        self,
        group: Group,
        pulling: PullConsumer,
        in_flight: InFlight,
        receive: Callable[[Message], object],
        spawn: Callable[[Callable[[], Coroutine[Any, Any, None]]], object],
        on_excluded: Callable[[GroupError], object],
    ) -> None:
        self._group = group
        self._pulling = pulling
        self._in_flight = in_flight
        self._receive = receive
        self._spawn = spawn
        self._on_excluded = on_excluded
        self._waiting: list[Message] = []

    def add(self, message: Message) -> None:
        """Check a message that was acknowledged before."""
        self._waiting.append(message)
        if len(self._waiting) == 1:
            self._spawn(self._check)

    async def _check(self) -> None:
        while self._waiting:
            count = len(self._waiting)
            is_known = True
            try:
                await self._group.confirm()
            except (HubConnectionError, StreamError) as error:
                # The server redelivers them later.
                logger.debug("Could not read the settings of the group %s: %s", self._group.name, error)
                is_known = False
            except GroupError as error:
                self._on_excluded(error)
                return
            messages, self._waiting[:count] = self._waiting[:count], []
            for message in messages:
                if is_known and not self._in_flight.is_acknowledged(message):
                    self._receive(message)
                    continue
                if is_known:
                    self._in_flight.send_ack(message.reply, ACK)
                self._pulling.done()
