"""Many servers as one: what their clients publish goes into one stream, and each reads from it what its own want.

Theory of operation. An event is on its way through a server twice. From its publisher it goes into the stream, and is
acknowledged when it is stored there. From the stream it comes to every server whose clients may want it, the
publisher's own included, and there through the router to them. So all clients of all servers see one order; and what
an event costs a server depends on that server's own clients alone.

After an outage a server reads faster than its clients do, and their queues are bounded. So while many events are still
to be read, it reads on only when the queues have room, though not for the sake of a client that takes too long.

A stream holds what was acknowledged whatever becomes of a server. While the stream cannot be reached, events wait
here, and when there are too many, further ones are refused; they are never dropped.

All of it runs on the loop of the server.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from time import monotonic
from uuid import uuid4

from rxhub.errors import HubConnectionError, Overflow, Refused
from rxhub.server.envelope import Envelope
from rxhub.server.loop_turns import LoopTurns
from rxhub.text.extras import missing_dependency
from rxhub.transport.outbox import Outbox

try:
    from rxhub.server.id_leases import IdLeases, lease_stream
    from rxhub.server.subscription_activation import SubscriptionActivator
    from rxhub.transport.nats.address import Address
    from rxhub.transport.nats.ordered_consumer import OrderedConsumer
    from rxhub.transport.nats.publishing import JetStreamPublisher, StoredPublish, resend_window
    from rxhub.transport.nats.pull_consumer import Message
    from rxhub.transport.nats.reconnecting import ReconnectingClient
    from rxhub.transport.nats.streams import StreamRestorer, ensure_stream, stream_config
    from rxhub.transport.nats.subject_filters import SubjectFilters
    from rxhub.transport.nats.subjects import Subjects
except ModuleNotFoundError as error:
    raise missing_dependency(error, "A backplane", "nats") from None

__all__ = ["STREAM", "Backplane"]

STREAM = "events"
"""The name of the stream if there is no other; that of hubs on `nats://` as well."""

_OUTBOX_EVENTS = 50_000
# Seconds for which what nobody wants any more is read all the same: clients come back, and a change costs more.
_FILTER_UPDATE_DELAY_S = 10.0

# When so many events are still to be read, and not to be heard at once.
_LAGGING_EVENTS = 512
_CONGESTION_CHECK_EVENTS = 64
# Seconds between two looks whether clients have room, and for all of them until all is read.
_CONGESTION_POLL_S = 0.02
_CONGESTION_WAIT_S = 30.0

_logger = logging.getLogger("rxhub.server")


class Backplane:
    """A stream of NATS JetStream that joins servers. One server at a time uses it.

    Args:
        url: `nats://host:4222`, or several servers of a cluster with commas between them.
        user: instead of the one in the URL.
        password: instead of the one in the URL.
        stream: the name of the stream, which is made if it is not there: on three servers, if a cluster has so many.
        store_trouble: returns why the NATS server cannot store at present, where that is known before anything is
            published: `PrivateServer.trouble`. Empty if it can.

    Attributes:
        stream: as given.
        filters: what the clients of this server want.
        stored: events that were stored for clients of this server.
        read: events that came from the stream.
        reconnections: how often the connection was made again.

    Raises:
        ValueError: if it is no such URL, or no stream can be called so.
        ModuleNotFoundError: if nats-py is not installed.
    """

    def __init__(
        self,
        url: str,
        user: str | None = None,
        password: str | None = None,
        stream: str = STREAM,
        *,
        store_trouble: Callable[[], str] | None = None,
    ) -> None:
        self._address = Address.parse(url, user, password)
        self._subjects = Subjects(stream)
        self._outbox = Outbox(_OUTBOX_EVENTS)
        self._link: ReconnectingClient | None = None
        self._publishing: JetStreamPublisher | None = None
        self._store_trouble = store_trouble
        self._live: OrderedConsumer | None = None
        self._activator: SubscriptionActivator | None = None
        self._take: Callable[[int, bytes], None] = _nothing
        self._filter_timer: asyncio.TimerHandle | None = None
        self._is_congested: Callable[[], bool] = lambda: False
        self._rewound: Callable[[int], object] = _nobody
        self._turns = LoopTurns(1)
        # Events that were read and are still to be routed.
        self._unrouted: deque[Message] = deque()
        self._route_handle: asyncio.Handle | None = None
        self._unacknowledged = 0
        self._congestion_timer: asyncio.TimerHandle | None = None
        self._wait_left = _CONGESTION_WAIT_S
        self._lag = 0
        self.stream = stream
        self.filters = SubjectFilters(self._subjects)
        self.stored = 0
        self.read = 0
        self.reconnections = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.stream!r} at {','.join(self._address.servers)}>"

    @property
    def is_connected(self) -> bool:
        """Whether events can be stored and read now."""
        return self._link is not None and self._link.connection is not None

    @property
    def trouble(self) -> str:
        """Why events are not stored although NATS is connected; empty if they are, as far as is known."""
        if self._store_trouble is not None and (found := self._store_trouble()):
            return found
        return self._publishing.trouble if self._publishing is not None else ""

    def stats(self) -> dict[str, float]:
        """What there is and what has been counted, by name."""
        return {
            "backplane_storing": int(self.is_connected and not self.trouble),
            "backplane_connected": int(self.is_connected),
            "backplane_waiting": len(self._outbox),
            "backplane_lag": self._lag,
            "backplane_stored": self.stored,
            "backplane_read": self.read,
            "backplane_refused": self._outbox.refused,
            "backplane_reconnections": self.reconnections,
        }

    async def start(
        self,
        take: Callable[[int, bytes], None],
        owner: Callable[[str], str | None],
        is_congested: Callable[[], bool],
        rewound: Callable[[int], object],
        ids_per_user: int,
        turns: LoopTurns,
    ) -> None:
        """Connect, and read from now on.

        Args:
            take: called with the number and the JSON of each event that a client may want.
            owner: tells which user holds an id here; None if nobody does.
            is_congested: tells whether the queue of a client is filling.
            rewound: called with a number if those behind it are given to other events now than before.
            ids_per_user: how many ids one user may hold here; see `Limits`.
            turns: how much it may do in one round of the loop; `take` counts.

        Raises:
            HubConnectionError: if no server can be reached or lets us in.
            StreamError: if the stream cannot be made.
        """
        if self._link is not None:
            raise HubConnectionError(f"{self!r} joins another server already; each needs one of its own.")
        link = ReconnectingClient(self._address, "rxhub server", self._on_link_state)
        await link.start()
        try:
            wanted = stream_config(self.stream, replicas=link.replicas), lease_stream(self.stream, link.replicas)
            info, _ = [await ensure_stream(link, each) for each in wanted]
        except BaseException:
            await link.close()
            raise
        self._take = take
        self._is_congested = is_congested
        self._rewound = rewound
        self._turns = turns
        self._link = link
        self._live = OrderedConsumer(self.stream, self._receive, self._wanted, rewound=self._rewind)
        self._activator = SubscriptionActivator(
            self.stream, self._live, self._wanted, IdLeases(self.stream, owner, ids_per_user)
        )
        self._outbox.open()
        publishing = self._publishing = JetStreamPublisher(
            self._outbox, resend_window(info["config"]), self._live, self.stream
        )
        # In this order: a reader that begins on a line holds up what is published there.
        for part in (StreamRestorer(*wanted), self._live, self._activator, publishing):
            link.attach(part)

    def publish(self, envelope: Envelope, argument: str) -> Future[None]:
        """Have an event stored.

        Args:
            envelope: what was read of it.
            argument: its JSON, as it came.

        Returns:
            Done when it is stored, or holds why it is not.

        Raises:
            EventError: if there is no place in a stream for such a topic.
            Refused: if too many events wait already, or the store cannot take any.
        """
        if self._store_trouble is not None and self._store_trouble():
            raise Refused(
                f"{envelope.topic} was not stored: the server cannot store events at present, and its log names the "
                "reason. Publish it again later."
            )
        subject = self._subjects.addressed(envelope.topic, envelope.target or "")
        parcel = StoredPublish(envelope.topic, argument, subject, envelope.id or uuid4().hex)
        try:
            self._outbox.put(parcel)
        except (Overflow, HubConnectionError):
            raise Refused(
                f"The event cannot be stored at present, and {len(self._outbox)} others wait for it already. Publish "
                "it again later."
            ) from None
        parcel.accepted.add_done_callback(self._count)
        return parcel.accepted

    def admit(self, id: str, user: str, enter: Callable[[int], object]) -> Future[None]:
        """Have a subscriber, whose subscription is among the filters, let in; see `SubscriptionActivator.ask`."""
        assert self._activator is not None, "it was started"
        return self._activator.request(id, user, enter)

    def schedule_filter_update(self) -> None:
        """Read less, after a while, if somebody has left."""
        if self._filter_timer is None and self._activator is not None:
            self._filter_timer = asyncio.get_running_loop().call_later(_FILTER_UPDATE_DELAY_S, self._update_filters)

    async def flush(self, timeout: float, is_hurried: Callable[[], bool] = lambda: False) -> None:
        """Wait until all that was published is stored, for some seconds at most."""
        deadline = monotonic() + timeout
        while len(self._outbox) and monotonic() < deadline and not is_hurried():
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Hang up. What is not known to be stored is refused."""
        link, self._link = self._link, None
        if self._filter_timer is not None:
            self._filter_timer.cancel()
            self._filter_timer = None
        if self._congestion_timer is not None:
            self._congestion_timer.cancel()
            self._congestion_timer = None
        if self._route_handle is not None:
            self._route_handle.cancel()
            self._route_handle = None
        self._unrouted.clear()
        if self._activator is not None:
            self._activator.fail_all()
        left = len(self._outbox)
        if link is not None:
            await link.close()
        if left:
            _logger.error("%d events were not known to be stored when the server ended.", left)
        self._outbox.close(HubConnectionError("The server ended before it knew whether the event was stored."))

    def _wanted(self) -> list[str]:
        return self.filters.subjects

    def _rewind(self, last: int) -> None:
        # They have numbers of before.
        while self._unrouted:
            self._route(self._unrouted.popleft())
        self._rewound(last)
        if self._activator is not None:
            self._activator.stream_rewound()

    def _receive(self, message: Message) -> None:
        # Many may come in one piece, and clients have their turn between them.
        self._unrouted.append(message)
        if self._route_handle is None:
            self._route_some()

    def _route_some(self) -> None:
        """Route what has arrived, as much as one round of the loop has room for."""
        self._route_handle = None
        while self._unrouted and self._turns.is_free:
            self._route(self._unrouted.popleft())
        if self._unrouted:
            self._route_handle = asyncio.get_running_loop().call_soon(self._route_some)

    def _route(self, message: Message) -> None:
        self.read += 1
        self._lag = message.pending
        try:
            self._take(message.sequence, message.data)
        except Exception as error:
            _logger.error("The event %d of %s was not routed: %s", message.sequence, self.stream, error, exc_info=error)
        self._unacknowledged += 1
        self._proceed()

    def _proceed(self) -> None:
        if self._congestion_timer is None:
            if self._lag > _LAGGING_EVENTS:
                if self.read % _CONGESTION_CHECK_EVENTS == 0 and self._wait_left > 0 and self._is_congested():
                    self._pause()
                    return
            elif not self._lag:
                self._wait_left = _CONGESTION_WAIT_S
            self._acknowledge()

    def _pause(self) -> None:
        self._wait_left -= _CONGESTION_POLL_S
        self._congestion_timer = asyncio.get_running_loop().call_later(_CONGESTION_POLL_S, self._check_congestion)

    def _check_congestion(self) -> None:
        self._congestion_timer = None
        if self._wait_left > 0 and self._is_congested():
            self._pause()
        else:
            self._acknowledge()

    def _acknowledge(self) -> None:
        held, self._unacknowledged = self._unacknowledged, 0
        if self._live is not None:
            self._live.done(held)

    def _count(self, outcome: Future[None]) -> None:
        if outcome.exception() is None:
            self.stored += 1

    def _update_filters(self) -> None:
        self._filter_timer = None
        if self._activator is not None:
            self._activator.wake()

    def _on_link_state(self, connected: bool, reason: str, attempts: int) -> None:
        if connected and self._link is not None:
            self.reconnections += 1


def _nothing(sequence: int, data: bytes) -> None:
    """Nobody takes events yet."""


def _nobody(last: int) -> None:
    """Nobody keeps numbers yet."""
