"""The methods of a hub that look at what its transport has kept: events, streams, and notes beside them."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING

from rxhub.expression import parse
from rxhub.hub.misspelled import warn_of_misspelled
from rxhub.hub.parts import Parts
from rxhub.rx.awaitable import with_runner_status
from rxhub.transport import durable

if TYPE_CHECKING:
    from rxhub.hub.replay import Moment, Replay
    from rxhub.transport.durable import StreamState

__all__ = ["History"]


class History(Parts):
    """What was, on transports that keep it."""

    def replay(
        self,
        subscription: str,
        since: Moment | None = None,
        until: Moment | None = None,
        speed: float | None = None,
        follow: bool = False,
    ) -> Replay:
        """The stored events that match `subscription`, in their order: history, and with `follow` the present too.

        Each subscription to it replays on its own. Events are emitted in the handling context; what is not handled
        yet is read no further, and disposing ends the reading. Subscribers of the hub see nothing of it. Whatever is
        stored is emitted, whoever it was targeted at, replies included. It goes on where it was when the connection
        breaks and stands again; an event comes once.

        Args:
            subscription: what to replay; its topics are looked for by the server, the rest is tested here.
            since: where to begin: an aware datetime, a timedelta (how long ago) or a sequence of the stream; None is
                the beginning. What was stored exactly then, or has that sequence, is replayed too.
            until: where to end, in the same words; None is what was last when the replay began.
            speed: 1.0 is the original pace, 10 ten times as fast; None is as fast as it is handled.
            follow: go on with what is stored from then on, without an end, a gap or an overlap.

        Returns:
            An observable that completes when the history is over, with its `progress`. Its errors are `NotHandled`
            if nobody handles the hub, `HubConnectionError` if it is not connected or is disconnected before the end,
            `StreamError` if the stream is deleted, `HubClosed` if the hub is closed before the end.

        Raises:
            NotDurable: if the hub's transport keeps no history.
            ExpressionError: if the subscription does not parse.
            ValueError: if a time is naive, a number is out of its range, the end lies before the beginning, or
                `until` is given with `follow`.
            HubClosed: if the hub was closed.

        Warns:
            SubscriptionWarning: if a key is similar to one of the seven of an event, such as `topc`.
        """
        from rxhub.hub.replay import Replay

        self._publisher.check_open()
        expression = parse(subscription, self._dispatcher.dialect)
        replay = Replay(
            self._link,
            durable(self._link.transport, "hub.replay"),
            self._inbox,
            self._runner,
            self._publisher.check_handled,
            expression,
            since,
            until,
            speed,
            follow,
        )
        warn_of_misspelled(expression)
        return with_runner_status(replay, self._runner)

    def streams(self) -> tuple[StreamState, ...]:
        """The streams that there are where the hub is connected, with what they hold and who works on them.

        Waits for the answer: in a coroutine, `await asyncio.to_thread(hub.streams)`.

        Raises:
            NotDurable: if the hub's transport keeps no history.
            HubConnectionError: if the hub is not connected, or there is no answer.
            StreamError: if the server refuses to tell.
            HubClosed: if the hub was closed.
        """
        self._publisher.check_open()
        return durable(self._link.transport, "hub.streams").streams()

    def kv_put(self, key: str, text: str) -> Future[None]:
        """Keep a short text beside the stream, in the place of the one that was kept under this key.

        Args:
            key: letters, digits, `-` and `_`.
            text: such as how far a program has come.

        Returns:
            A future that is done when it is stored, or holds why it is not, after some seconds at most.

        Raises:
            NotDurable: if the transport keeps nothing.
            HubClosed: if the hub was closed.
        """
        self._publisher.check_open()
        return durable(self._link.transport, "hub.kv_put").kv_put(key, text)

    def kv_get(self, key: str) -> Future[str | None]:
        """The text that is kept under a key, or None, by a future as that of `kv_put`.

        Raises:
            NotDurable: if the transport keeps nothing.
            HubClosed: if the hub was closed.
        """
        self._publisher.check_open()
        return durable(self._link.transport, "hub.kv_get").kv_get(key)
