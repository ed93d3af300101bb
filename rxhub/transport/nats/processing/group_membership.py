"""A process's place in its group: how it joins, keeps it whatever becomes of lines and consumers, and leaves.

Messages come as long as the consumer is there and on our terms. If it is gone, it is made again where the group was
(`group`). If it is on other terms, made anew or replaced, the membership is over, and with it the processor: what it
would handle is not what the group wants, and somebody else is in its place by now. That is seen at once when the server
refuses what we ask for, and within ten seconds otherwise.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from rxhub.errors import GroupError, HubConnectionError, StreamError
from rxhub.transport.nats.connection import NatsConnection
from rxhub.transport.nats.processing import group as grouping
from rxhub.transport.nats.processing.group import Group, Since
from rxhub.transport.nats.processing.in_flight import InFlight
from rxhub.transport.nats.pull_consumer import ConsumerGone, PullConsumer, PullRefused
from rxhub.transport.nats.reconnecting import ReconnectingClient

__all__ = ["GroupMembership"]

# Seconds for what was on its way when we leave.
_LAST_WORDS = 1.0
# The name of a consumer that was deleted is free before its state has left the server's disk. One that was made within
# milliseconds began, in spite of its configuration, where the old one had been long before (nats-server 2.15).
_AFTER_DELETION = 0.5

logger = logging.getLogger("rxhub")


class GroupMembership:
    """One process's place in a group; a part of a link (`rxhub.transport.nats.reconnecting.Part`).

    Args:
        link: to the servers.
        group: which.
        pulling: from its consumer.
        holding: what came from there and is not settled.
        lost: called when messages that were on their way may come again, behind others.
        excluded: called when the group has other terms than ours.
    """

    def __init__(
        self,
        link: ReconnectingClient,
        group: Group,
        pulling: PullConsumer,
        holding: InFlight,
        lost: Callable[[], object],
        excluded: Callable[[GroupError], object],
    ) -> None:
        self._link = link
        self._group = group
        self._pulling = pulling
        self._holding = holding
        self._lost = lost
        self._excluded = excluded
        self._is_leaving = False
        self._has_pulled = asyncio.Event()

    async def join(self, since: Since, replace: bool) -> None:
        """Be one of the group, which is made if it is not there; raises what `Group.join` raises."""
        await self._group.make_streams()
        await self._group.join(since, replace)

    async def run(self, line: NatsConnection) -> None:
        """Pull; called by the link, on each line."""
        try:
            await self._pull(line)
        except GroupError as error:
            self._excluded(error)
        self._has_pulled.set()

    async def keep_up(self) -> None:
        """Learn regularly how far the group has come, and whether it is still on our terms."""
        while True:
            await asyncio.sleep(grouping.ACK_WAIT * grouping.CHECK_SHARE)
            try:
                await self._group.confirm()
            except (HubConnectionError, StreamError) as error:
                logger.debug("The state of the group %s is not known at present: %s", self._group.name, error)
            except GroupError as error:
                self._excluded(error)
                return

    async def leave(self) -> None:
        """Pull no more; what was on its way has come when this returns, if there is a line."""
        self._is_leaving = True
        if self._link.connection is not None:
            self._pulling.finish()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS):
                    await self._has_pulled.wait()
        await self._link.detach(self)

    async def resign(self) -> None:
        """Let another process order by key at once, if that was ours to do."""
        if self._pulling.pin:
            with suppress(HubConnectionError, StreamError):
                await self._group.resign()

    async def _pull(self, line: NatsConnection) -> None:
        self._lost()
        await self._holding.send_in_progress(line)
        while not self._is_leaving:
            try:
                await self._pulling.run(line)
            except ConsumerGone as error:
                logger.warning("The group %s was lost, and is made again: %s", self._group.name, error.description)
                await self._restore()
            except PullRefused:
                await self._group.confirm()
                raise

    async def _restore(self) -> None:
        """Make the group again, behind what all of it is done with."""
        await asyncio.sleep(_AFTER_DELETION)
        if await self._group.make_streams():
            # Another stream of the same name, which counts anew.
            self._holding.forget()
        await self._group.restore()
        self._lost()
