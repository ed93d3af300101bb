"""Activates subscriptions on a server with a backplane.

A subscription is active, and acknowledged, when all events that are stored from then on will be delivered. First, the
reader of the stream must apply new subjects. Then the server asks the stream for its last sequence. The subscriber
receives events above it, and not those that were stored before the subscription and are still unread. The id of the
subscriber is leased at the same time.

After a network outage, many clients subscribe at once. Requests that arrive while the stream is asked are activated
together in the next batch. Leases are renewed at fixed times, so that arriving clients cannot postpone renewals.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from time import monotonic
from typing import NamedTuple

from rxhub.concurrency.supervise import report
from rxhub.errors import HubConnectionError, Refused
from rxhub.server.id_leases import IdLeases
from rxhub.transport.nats.connection import NatsConnection
from rxhub.transport.nats.ordered_consumer import OrderedConsumer
from rxhub.transport.nats.streams import last_sequence

__all__ = ["SubscriptionActivator"]

# Each batch with new subjects needs another consumer.
_BATCH_INTERVAL_S = 0.02
_RENEWAL_INTERVAL_S = 600.0


class _PendingActivation(NamedTuple):
    lease: tuple[str, str] | None
    enter: Callable[[int], object]
    admitted: Future[None]


class SubscriptionActivator:
    """Activates subscriptions; a connection task (`rxhub.transport.nats.reconnecting.ConnectionTask`).

    Args:
        stream: name of the stream of events.
        live: its reader.
        subjects: returns the subjects to read; a new list after each change.
        leases: of the ids of subscribers.
    """

    def __init__(
        self, stream: str, live: OrderedConsumer, subjects: Callable[[], Sequence[str]], leases: IdLeases
    ) -> None:
        self._stream = stream
        self._live = live
        self._leases = leases
        self._subjects = subjects
        self._announced: Sequence[str] | None = None
        self._waiting: list[_PendingActivation] = []
        self._wake = asyncio.Event()
        # When leases are renewed next.
        self._renewal = monotonic() + _RENEWAL_INTERVAL_S

    def request(self, id: str | None, user: str, enter: Callable[[int], object]) -> Future[None]:
        """Request the activation of a subscription.

        Args:
            id: of the subscriber; None reserves none, because no event is addressed to it.
            user: who subscribes.
            enter: called with the sequence above which the subscriber receives events.

        Returns:
            Completes after that, or holds `Refused` if another user has the id.
        """
        admitted: Future[None] = Future()
        self._waiting.append(_PendingActivation(None if id is None else (id, user), enter, admitted))
        self._wake.set()
        return admitted

    def wake(self) -> None:
        """Apply removed subjects."""
        self._wake.set()

    def stream_rewound(self) -> None:
        """The stream was recreated or lost its end. Renew all leases, which may be lost too."""
        self._leases.invalidate()
        self._renewal = monotonic()
        self._wake.set()

    def fail_all(self) -> None:
        """Reject all waiting requests."""
        waiting, self._waiting = self._waiting, []
        for candidate in waiting:
            candidate.admitted.set_exception(HubConnectionError("The server is shutting down."))

    async def run(self, line: NatsConnection) -> None:
        """Activate subscriptions until cancelled."""
        while True:
            if not self._waiting:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._renewal - monotonic()):
                        await self._wake.wait()
            self._wake.clear()
            if monotonic() >= (due := self._renewal):
                await self._leases.renew(line)
                # `stream_rewound` may have made another renewal due.
                if self._renewal == due:
                    self._renewal = monotonic() + _RENEWAL_INTERVAL_S
            count = len(self._waiting)
            if (subjects := self._subjects()) is not self._announced:
                self._live.update_filters()
                self._announced = subjects
            if count:
                await self._activate(line, count)
            await asyncio.sleep(_BATCH_INTERVAL_S)

    async def _activate(self, line: NatsConnection, count: int) -> None:
        refused = await self._leases.acquire(
            line, [each.lease for each in self._waiting[:count] if each.lease is not None]
        )
        await self._live.synced()
        last = await last_sequence(line, self._stream)
        candidates, self._waiting = self._waiting[:count], self._waiting[count:]
        for lease, enter, admitted in candidates:
            # An error of one must not lose the others, which are in no list any more.
            try:
                if lease is not None and lease in refused:
                    raise Refused(refused[lease])
                enter(last)
            except Refused as error:
                admitted.set_exception(error)
            except Exception as error:
                report("activating subscriptions", error, about=f"subscriber {lease and lease[0][:200]!r}")
                admitted.set_exception(Refused("Internal error of the server, see its log. Subscribe again."))
            else:
                admitted.set_result(None)
