"""When a subscriber may be told that the subscription holds: when whatever is stored from then on will come.

Theory of operation. Two things take time. The reader of the stream has to know of subjects that nobody here was
interested in before (`Ordered.change`, `Ordered.settled`). And what was stored before the subscription may not have
been read yet, if the reader lags: the subscriber must not get that. So, once the reader has settled, the stream is
asked for the number of its last event; a subscriber gets what comes behind that one. Meanwhile it is found out whether
the id with which it subscribes is another user's.

Clients come in crowds, after a network was away. What arrives while the stream is asked waits for the next turn, and
all of that is let in at once.

IdLeases to ids are renewed at times that nobody moves: somebody comes or goes all the time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from time import monotonic
from typing import NamedTuple

from rxhub.errors import HubConnectionError, Refused
from rxhub.server.id_leases import IdLeases
from rxhub.transport.nats.connection import NatsConnection
from rxhub.transport.nats.ordered_consumer import OrderedConsumer
from rxhub.transport.nats.streams import last_sequence

__all__ = ["SubscriptionActivator"]

# Seconds. Each turn in which the subjects have changed costs the server another consumer.
_BATCH_INTERVAL_S = 0.02
_RENEWAL_INTERVAL_S = 600.0

_logger = logging.getLogger("rxhub.server")


class _PendingActivation(NamedTuple):
    lease: tuple[str, str]
    enter: Callable[[int], object]
    admitted: Future[None]


class SubscriptionActivator:
    """Lets subscribers in; a part of a link (`rxhub.transport.nats.reconnecting.Part`).

    Args:
        stream: which is read.
        live: by whom.
        subjects: what should be read now; another list after a change.
        leases: to the ids of subscribers.
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
        # When claims are renewed next.
        self._renewal = monotonic() + _RENEWAL_INTERVAL_S

    def request(self, id: str, user: str, enter: Callable[[int], object]) -> Future[None]:
        """Ask to be let in.

        Args:
            id: of the subscriber.
            user: who subscribes.
            enter: called with the number of the event behind which the subscriber gets everything.

        Returns:
            Done after that; or holds `Refused`, if the id is another user's.
        """
        admitted: Future[None] = Future()
        self._waiting.append(_PendingActivation((id, user), enter, admitted))
        self._wake.set()
        return admitted

    def wake(self) -> None:
        """See whether less should be read, though nobody asks."""
        self._wake.set()

    def stream_rewound(self) -> None:
        """The stream was made anew or has lost its end, and claims may have been lost with it."""
        self._leases.invalidate()
        self._renewal = monotonic()
        self._wake.set()

    def fail_all(self) -> None:
        """Let nobody in any more."""
        waiting, self._waiting = self._waiting, []
        for candidate in waiting:
            candidate.admitted.set_exception(HubConnectionError("The server shuts down."))

    async def run(self, line: NatsConnection) -> None:
        """Let in whoever asks, until cancelled."""
        while True:
            if not self._waiting:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._renewal - monotonic()):
                        await self._wake.wait()
            self._wake.clear()
            if monotonic() >= (due := self._renewal):
                await self._leases.renew(line)
                # It may be due again: claims may have been lost meanwhile.
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
        refused = await self._leases.acquire(line, [candidate.lease for candidate in self._waiting[:count]])
        await self._live.synced()
        last = await last_sequence(line, self._stream)
        candidates, self._waiting = self._waiting[:count], self._waiting[count:]
        for lease, enter, admitted in candidates:
            # Whatever becomes of one, the others are in no list any more.
            try:
                if lease in refused:
                    raise Refused(refused[lease])
                enter(last)
            except Refused as error:
                admitted.set_exception(error)
            except Exception as error:
                _logger.error("A subscriber was not let in, by a mistake of rxhub's own: %s", error, exc_info=error)
                admitted.set_exception(Refused("The server has made a mistake; its log tells more. Subscribe again."))
            else:
                admitted.set_result(None)
