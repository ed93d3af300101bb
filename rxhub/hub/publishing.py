"""The methods of a hub that send events, and wait for what is replied."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Literal, overload

from reactivex import Observable

from rxhub.dispatching.observe_on import UnstoppableEvent
from rxhub.event import Event
from rxhub.hub.parts import Parts

__all__ = ["Publishing"]

logger = logging.getLogger("rxhub")


class Publishing(Parts):
    """What goes out of a hub."""

    @overload
    def publish(
        self,
        event: Event,
        synchronous: Literal[False] = False,
        on_reply: Callable[[Event], object] | None = None,
        on_error: str = "raise",
    ) -> Future[None] | None: ...
    @overload
    def publish(
        self,
        event: Event,
        synchronous: Literal[True],
        on_reply: Callable[[Event], object] | None = None,
        on_error: str = "raise",
    ) -> list[Any] | None: ...
    def publish(
        self,
        event: Event,
        synchronous: bool = False,
        on_reply: Callable[[Event], object] | None = None,
        on_error: str = "raise",
    ) -> Future[None] | list[Any] | None:
        """Publish an event to all hubs on the server, this one included.

        Args:
            event: `source` is filled in where it is missing.
            synchronous: run this hub's own subscribers here and now, and send nothing.
            on_reply: called in the handling context with each reply, for ten minutes at most.
            on_error: "raise", or "ignore" to have None returned for whatever goes wrong.

        Returns:
            A future that is done when the transport has accepted the event: over the network, when the server
            has acknowledged it. While the server is away the event waits, and is sent when it is back. What is
            added to the future as a callback runs in the network's thread, and must be short. If synchronous, the
            list of the results of the callbacks that did not fail, None included.

        What refuses the event at once is raised; what the server says of it later, the future holds.

        Raises:
            HubConnectionError: if the hub is not connected.
            HubClosed: if it was closed.
            EventError: if the event contains NaN or infinity (unless synchronous), or cannot be written as JSON where
                it leaves the process. Mappings of own classes are checked where they are written.
            Overflow: if the inbox (or, over the network, the outbox) is full and its policy is "error".
            NotHandled: if the inbox is full, its policy is "block", and nobody handles the hub.
        """
        if on_error not in ("raise", "ignore"):
            raise ValueError(f'on_error is "raise" or "ignore", but {on_error!r} was given.')
        try:
            if synchronous:
                return self._publish_here(event)
            return self._publisher.publish(event, on_reply)
        except Exception as error:
            if on_error == "raise":
                raise
            logger.debug("An error while publishing was ignored: %s", error)
            return None

    def forward(self, event: Event) -> Future[None]:
        """Publish an event of another hub as it came: nothing is filled in, not even a source that is missing.

        Returns:
            A future as that of `publish`, whose errors this raises too.
        """
        return self._publisher.forward(event)

    def publish_reply(self, source_event: Event, data: Any, source: Mapping[str, Any] | None = None) -> None:
        """Publish a reply to `source_event`, for the hub that published it alone.

        Args:
            source_event: what is answered.
            data: the answer.
            source: who answers; filled in where it is missing.

        Raises:
            EventError: if the event does not tell who published it.
        """
        self._publisher.reply(source_event, data, source)

    async def apublish(self, event: Event) -> None:
        """Publish `event`; done when the transport has accepted it. Raises what `publish` raises."""
        await self._publisher.apublish(event)

    def request(self, event: Event, timeout: float = 10.0) -> Observable[Event]:
        """Publish `event` at each subscription and emit the replies until `timeout` seconds have passed.

        The replies and the end are emitted where the hub is handled, one after the other; a subscription's own
        scheduler does not change that.

        The first subscription publishes the event itself, each further one a copy with a new id. Emits
        `NotHandled` as its error if nobody handles the hub. `request(…).run()` waits for the end and gives back the
        last reply; it raises `NoReply` if there was none, and `NotHandled` in the thread that handles the hub. If the
        hub is closed before the end, the error is `HubClosed`.
        """
        return self._publisher.request(event, timeout)

    async def ask(self, event: Event, timeout: float = 10.0) -> Event:
        """Publish `event` and give back the first reply.

        Raises:
            NoReply: if none came within `timeout` seconds.
            NotHandled: if nobody handles the hub, so that no reply could be seen.
        """
        return await self._publisher.ask(event, timeout)

    @property
    def unsent(self) -> int:
        """How many published events the server has not accepted yet."""
        return self._link.transport.unsent

    @property
    def refused(self) -> int:
        """How many published events the full outbox has refused so far."""
        return self._link.transport.refused

    def _publish_here(self, event: Event) -> list[Any]:
        self._publisher.check_open()
        self._publisher.prepare(event)
        if isinstance(event, UnstoppableEvent):
            # Here it begins afresh, and may be stopped again.
            event = event.envelope()
        self.events.on_next(event)
        return self._dispatcher.dispatch(event).results
