"""The membership of a process in its group: it survives lost connections and lost consumers.

Messages arrive as long as the consumer exists with our settings. A lost consumer is recreated (`Group.restore`). If the
consumer has other settings, because it was recreated or replaced, the membership and its worker end. This is noticed
when the server refuses a pull, or at the next check within ten seconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from rxhub.errors import GroupError, HubConnectionError, StreamError
from rxhub.transport.nats.connection import NatsConnection
from rxhub.transport.nats.processing import group as group_times
from rxhub.transport.nats.processing.group import Group
from rxhub.transport.nats.processing.in_flight import InFlight
from rxhub.transport.nats.pull_consumer import ConsumerGone, PullConsumer, PullRefused

__all__ = ["GroupMembership"]

_LEAVE_TIMEOUT_S = 1.0
# The name of a deleted consumer is free before its state is removed from the server's disk. A consumer that was created
# within milliseconds began, in spite of its configuration, where the old one had been long before (nats-server 2.15).
_RECREATE_DELAY_S = 0.5

logger = logging.getLogger("rxhub")


class GroupMembership:
    """Pulls messages of a group; a `ConnectionTask`.

    Args:
        on_gap: called when messages in flight may be redelivered after later ones.
        on_excluded: called when the group has other settings.
    """

    def __init__(
        self,
        group: Group,
        pulling: PullConsumer,
        in_flight: InFlight,
        on_gap: Callable[[], object],
        on_excluded: Callable[[GroupError], object],
    ) -> None:
        self._group = group
        self._link = group.link
        self._pulling = pulling
        self._in_flight = in_flight
        self._on_gap = on_gap
        self._on_excluded = on_excluded
        self._is_leaving = False
        self._has_pulled = asyncio.Event()

    async def run(self, line: NatsConnection) -> None:
        try:
            await self._pull(line)
        except GroupError as error:
            self._on_excluded(error)
        self._has_pulled.set()

    async def check_settings(self) -> None:
        """Check the floor and the settings of the group repeatedly."""
        while True:
            await asyncio.sleep(group_times.ACK_WAIT_S * group_times.CHECK_SHARE)
            try:
                await self._group.confirm()
            except (HubConnectionError, StreamError) as error:
                logger.debug("Could not read the state of the group %s: %s", self._group.name, error)
            except GroupError as error:
                self._on_excluded(error)
                return

    async def leave(self) -> None:
        """Stop pulling, and receive the messages that are already on their way."""
        self._is_leaving = True
        if self._link.connection is not None:
            self._pulling.finish()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LEAVE_TIMEOUT_S):
                    await self._has_pulled.wait()
        await self._link.detach(self)

    async def unpin(self) -> None:
        """Let another process order by key at once, if this one did."""
        if self._pulling.pin:
            with suppress(HubConnectionError, StreamError):
                await self._group.unpin()

    async def _pull(self, line: NatsConnection) -> None:
        self._on_gap()
        await self._in_flight.send_in_progress(line)
        while not self._is_leaving:
            try:
                await self._pulling.run(line)
            except ConsumerGone as error:
                logger.warning("The group %s was lost; recreating it: %s", self._group.name, error.description)
                await self._recreate()
            except PullRefused:
                await self._group.confirm()
                raise

    async def _recreate(self) -> None:
        await asyncio.sleep(_RECREATE_DELAY_S)
        if await self._group.create_streams():
            # The new stream uses the same sequences for other messages.
            self._in_flight.clear()
        await self._group.restore()
        self._on_gap()
