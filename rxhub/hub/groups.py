"""The methods of a hub for programs that share the work on stored events, and for what they could not handle."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from rxhub.concurrency.awaitables import is_generator_function
from rxhub.errors import HubClosed
from rxhub.event import Event
from rxhub.expression import parse
from rxhub.hub.misspelled import warn_of_misspelled
from rxhub.hub.parts import Parts
from rxhub.rx.scope import current_scope
from rxhub.transport import durable

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from rxhub.transport.nats.dead_letters import DeadLetters
    from rxhub.transport.nats.processing.processing import Processing

__all__ = ["Groups"]

Handler = Callable[[Event], object]
H = TypeVar("H", bound=Callable[[Event], Any])


class Groups(Parts):
    """Events that are kept until they are handled."""

    @overload
    def process(
        self,
        subscription: str,
        handler: Handler,
        *,
        group: str,
        retries: int = 5,
        backoff: float = 1.0,
        timeout: float | None = None,
        sequential: bool = False,
        concurrency: int = 1,
        key: str | None = None,
        once: bool = False,
        max_waiting: int = 100_000,
        since: datetime | timedelta | int | Literal["first"] | None = None,
        replace: bool = False,
    ) -> Processing: ...
    @overload
    def process(
        self,
        subscription: str,
        handler: None = None,
        *,
        group: str,
        retries: int = 5,
        backoff: float = 1.0,
        timeout: float | None = None,
        sequential: bool = False,
        concurrency: int = 1,
        key: str | None = None,
        once: bool = False,
        max_waiting: int = 100_000,
        since: datetime | timedelta | int | Literal["first"] | None = None,
        replace: bool = False,
    ) -> Callable[[H], H]: ...
    def process(
        self,
        subscription: str,
        handler: Handler | None = None,
        *,
        group: str,
        retries: int = 5,
        backoff: float = 1.0,
        timeout: float | None = None,
        sequential: bool = False,
        concurrency: int = 1,
        key: str | None = None,
        once: bool = False,
        max_waiting: int = 100_000,
        since: datetime | timedelta | int | Literal["first"] | None = None,
        replace: bool = False,
    ) -> Processing | Callable[[H], H]:
        """Handle the events that match `subscription`, each in one process of a group, until it is done.

        Works at once, on a connection of its own, whether or not the hub is connected or handled. An event is
        acknowledged when its handler returns. An event that fails is retried by any process of the group and becomes a
        dead letter after the last attempt (see `dead_letters`), as does an event that repeatedly ends its process. Each
        event is handled at least once.

        A group begins when it is first made, and goes on where it is, also after all of its processes were away. An
        event with a target is handled if the target matches `{"id": group}`. What a handler returns is ignored.

        Args:
            subscription: which events; all processes of a group have the same.
            handler: called with each event. A coroutine function is awaited on the loop that runs when `process` is
                called, or else on a private one; any other function is called in threads. Without a handler, `process`
                is a decorator for one.
            group: the name by which processes share the events.
            retries: how many further attempts there are.
            backoff: seconds before the second attempt at most, doubled before each further one, up to five minutes.
            timeout: seconds for which a handler may run. Then a coroutine is cancelled; a thread is left to itself,
                another one takes its place, and what it returns one day is logged.
            sequential: handle one event at a time in the whole group, in the order in which they were published; a
                failing one holds up the others.
            concurrency: how many handlers run at a time in this process, 1,000 at most.
            key: a dotted path such as `data.entities.entityId`. Events that have a value in common there are handled
                one after the other, in the order in which they were published; others at the same time. One process of
                the group handles all events then, and another one takes over when it is gone.
            once: store the ids of handled events for a week, and pass over an event whose id is there. An event whose
                handler returned as its process was killed, before the id was stored, is handled again all the same.
            max_waiting: with `key`, how many events may be under way in the group, those that wait behind others of
                their key included. At this limit the group gets no further events. Each costs the process that works
                about 1 KB. Without a key there is no limit.
            since: where a group begins that is not there yet: an aware datetime, a timedelta (so long ago by the
                server's clock), a sequence of the stream, or "first". None is now.
            replace: give a group that is there this subscription, order and `once`. Its processes on the old ones
                end as soon as they pass over an event.

        Returns:
            What tells of it and stops it, also usable in `with`; or, without a handler, the decorator, which gives back
            the function. `close()` stops it too.

        Raises:
            NotDurable: if the hub is not on `nats://`.
            ExpressionError: if the subscription does not parse.
            GroupError: if the group is there, with another subscription or order.
            HubConnectionError: if NATS cannot be reached.
            StreamError: if it does not do what it is asked for.
            HubClosed: if the hub was closed.
            ValueError: if an argument is out of range, or two exclude each other.
            TypeError: if the handler is none, or a generator function, which does nothing when it is called.
        """
        from rxhub.transport.nats.processing.options import made

        self._publisher.check_open()
        transport = durable(self._link.transport, "hub.process")
        plan = made(
            subscription,
            group=group,
            retries=retries,
            backoff=backoff,
            timeout=timeout,
            sequential=sequential,
            concurrency=concurrency,
            key=key,
            once=once,
            max_waiting=max_waiting,
        )
        warn_of_misspelled(parse(subscription))

        def begin(handler: Handler) -> Processing:
            if not callable(handler):
                raise TypeError(f"A handler must be callable, but {type(handler).__name__} was given.")
            if is_generator_function(handler):
                raise TypeError(f"{handler!r} has a yield, so calling it runs nothing of it, and no event was handled.")
            self._publisher.check_open()
            processing = transport.process(plan, handler, since, replace, self._has_ended)
            self._processings.add(processing)
            try:
                # `close` may not have seen it, since connecting takes a moment.
                self._publisher.check_open()
            except HubClosed:
                processing.stop(0.0)
                raise
            owner = current_scope()
            if owner is not None:
                owner.add(processing.stop)
            return processing

        def decorate(handler: H) -> H:
            begin(handler)
            return handler

        return decorate if handler is None else begin(handler)

    @property
    def dead_letters(self) -> DeadLetters:
        """The events that groups could not handle: `list`, `get`, `retry` and `drop` them.

        Raises:
            NotDurable: if the hub is not on `nats://`.
        """
        return durable(self._link.transport, "hub.dead_letters").dead_letters

    def _has_ended(self, processing: Processing) -> None:
        # That it refers to this method keeps the hub as long as it handles events.
        self._processings.discard(processing)
        if processing.error is not None:
            self._failure = processing.error
            if self._on_failure is not None:
                self._on_failure()
