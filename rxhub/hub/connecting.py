"""The methods of a hub that are about its server: where it is, and being connected to it."""

from __future__ import annotations

import logging
from contextlib import suppress

from reactivex import Observable

from rxhub.concurrency.event_loop import check_asyncio, warn_if_blocking
from rxhub.errors import HubClosed, HubConnectionError, NotFoundError
from rxhub.event import Event
from rxhub.hub.parts import Parts
from rxhub.hub.runner import DISCONNECTED_TOPIC
from rxhub.rx.awaitable import with_runner_status
from rxhub.transport.connection_state import ConnectionState
from rxhub.transport.io_thread import in_io_thread

__all__ = ["Connecting"]

logger = logging.getLogger("rxhub")


class Connecting(Parts):
    """A hub's way to its server."""

    def get_server_url(self) -> str:
        """The URL of the server."""
        return f"{self._link.scheme}://{self._link.location}"

    def get_network_location(self) -> str:
        """The host of the URL, with its port if it has one."""
        return self._link.location

    def shares_source_with(self, other: Connecting) -> bool:
        """Whether the events of one hub come to the other by themselves, as far as their URLs tell."""
        return self is other or bool(self._link.places & other._link.places)

    @property
    def secure(self) -> bool:
        """Whether the connection is encrypted."""
        return self._link.scheme in ("https", "tls")

    @property
    def connected(self) -> bool:
        """Whether events can be sent and arrive."""
        return bool(self._link.state)

    @property
    def state(self) -> Observable[ConnectionState]:
        """The state of the connection, beginning with the present one."""
        return with_runner_status(self._link.states(), self._runner)

    @property
    def subscriptions_synced(self) -> bool:
        """Whether the server knows of all subscribers, so that what is published for them from now on comes."""
        return self._link.transport.subscriptions_synced

    def init_connection(self) -> None:
        """Let events be published before the connection stands; nothing is to do for `memory://`."""
        self._link.init()

    def connect(self) -> None:
        """Connect to the server, and reconnect whenever the connection is lost.

        Returns when connected. `memory://` is connected from the start, and a hub in `async with` by that; there the
        first call changes nothing. In a coroutine use `aconnect`: this call blocks the event loop, and warns of it
        (`BlockingCallWarning`), except in notebooks.

        Raises:
            HubConnectionError: if an earlier call connected the hub, or the server cannot be reached or refuses the
                hub; says why, and what to do.
            HubClosed: if it was closed.
        """
        self._publisher.check_open()
        if self._link.remote:
            self._publisher.hear_replies()
            if not self.connected and not in_io_thread():  # where it raises
                warn_if_blocking("hub.connect()", "`await hub.aconnect()`, or `async with hub:`, which connects")
        self._link.connect()

    async def aconnect(self) -> None:
        """Connect as `connect` does, without blocking the event loop. If it is cancelled, the hub stops connecting.

        Raises:
            HubConnectionError: as for `connect`.
            HubClosed: if the hub was closed.
            WrongLoop: if no asyncio loop runs in this thread.
        """
        await self._aconnect()

    async def _aconnect(self, implicitly: bool = False) -> None:
        check_asyncio("hub.aconnect()")
        self._publisher.check_open()
        if self._link.remote:
            self._publisher.hear_replies()
        await self._link.aconnect(implicitly)

    def disconnect(self, unsubscribe: bool = True, reconnect: bool = False) -> None:
        """Disconnect from the server; `wait` ends when it has handled `ftrack.meta.disconnected`.

        What was published goes out before, if that takes less than five seconds.

        Args:
            unsubscribe: remove all subscribers too.
            reconnect: the hub is to be connected again soon; nobody is told that it was disconnected, and what
                is published meanwhile goes out then.

        Raises:
            HubConnectionError: if the hub is neither connected nor being connected again.
        """
        if not self._link.kept_up:
            raise HubConnectionError("Not currently connected.")
        if unsubscribe:
            for subscriber in self._dispatcher.subscribers:
                # Another thread may unsubscribe it first.
                with suppress(NotFoundError):
                    self._dispatcher.unsubscribe(subscriber.id)
        self._link.disconnect(reconnecting=reconnect)
        if not reconnect:
            farewell = Event(DISCONNECTED_TOPIC)
            self._publisher.prepare(farewell)
            self._inbox.put_own(farewell)

    def reconnect(self, attempts: int = 10, delay: float = 5) -> None:
        """Disconnect, keeping the subscribers, and connect again.

        Args:
            attempts: how often connecting is tried.
            delay: seconds between two attempts.

        Raises:
            HubConnectionError: if every attempt failed.
        """
        # One after the other: else each would disconnect what another one waits for.
        with self._reconnecting:
            self._publisher.check_open()
            if self._link.kept_up:
                self.disconnect(unsubscribe=False, reconnect=True)
            for attempt in range(attempts):
                if attempt:
                    self._closing.wait(delay)
                try:
                    self.connect()
                    return
                except HubClosed:
                    raise
                except HubConnectionError as error:
                    if self.connected:
                        return  # another thread has called connect()
                    logger.debug("Attempt %d of %d to reconnect failed: %s", attempt + 1, attempts, error)
        raise HubConnectionError(
            f"Failed to reconnect to event server at {self.get_server_url()} after {attempts} attempts."
        )
