"""The demo's studio: callbacks and pipelines as an application would write them, and sample events to play on them."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from itertools import islice
from statistics import median_low
from time import monotonic
from typing import Any

from reactivex import Observable, abc
from reactivex import operators as ops
from reactivex.scheduler import VirtualTimeScheduler

from rxhub import Event, EventHub
from rxhub.cli.output import print_error
from rxhub.errors import EventError
from rxhub.exploration import Events
from rxhub.expression import compile

__all__ = ["PACE", "play", "playlist", "studio"]

PACE = 0.06
"""Seconds between two events at the original pace: the sample events take about 11 s."""
_MAX_EVENTS = 10_000  # all events are held in memory
_LINGER_S = 1.0
"""From the last event to the end, so that the timers of the pipelines fire."""
_FRAME_S = 1 / 15
_POLL_INTERVAL_S = 0.001

journal = logging.getLogger("studio.journal")


def studio(hub: EventHub, clock: abc.SchedulerBase) -> dict[str, Observable[str]]:
    """Subscribe the callbacks of a studio, and return its pipelines by name.

    Lower priorities run first. Later callbacks and pipelines do not receive a stopped event.
    """

    @hub.on("", priority=0)
    def audit(event: Event) -> None:  # The empty subscription matches every event.
        journal.debug("%s by %s", event.topic, event.source["user"]["username"])

    @hub.on("topic=studio.farm.heartbeat", priority=10)
    def quarantine(event: Event) -> None:
        event.stop()

    @hub.on("topic=*.failed and data.progress<0.5", priority=20)
    def retry(event: Event) -> None:  # Early failures are retried without a notification.
        hub.publish(Event("studio.render.started", data={"job": event.data["job"]}))
        event.stop()

    @hub.on("data.entities.changes.statusid.new=Approved", priority=20)
    def render(event: Event) -> None:  # Published events wait until this delivery is complete.
        shots = [entity["entityId"] for entity in event.data["entities"]]
        hub.publish(Event("studio.render.started", data={"shots": shots}))

    @hub.on("topic=ftrack.action.launch", priority=50)
    def launch(event: Event) -> dict[str, Any]:  # The return value is the reply to the publisher.
        return {"success": True, "message": f"{event.data['actionIdentifier']} was launched"}

    @hub.on("topic=studio.render.finished", priority=50)
    def thumbnail(event: Event) -> None:  # Fails without frames; later callbacks still run.
        journal.debug("thumbnail of frame %d", median_low(event.data["frames"]))

    @hub.on("topic in (studio.render.*, studio.review.*)", priority=100)
    async def notify(event: Event) -> None:  # Awaited in priority order.
        await asyncio.sleep(0.002)  # Stands for a request to a chat server.
        journal.debug("notified of %s", event.topic)

    # The notes of a burst, half a second after the last one.
    is_urgent = compile("data.tags=urgent")
    digest = hub.on("topic=studio.review.note").pipe(
        ops.publish(lambda notes: notes.pipe(ops.buffer(notes.pipe(ops.debounce(0.5, scheduler=clock))))),
        ops.filter(bool),
        ops.map(lambda notes: f"{sum(map(is_urgent, notes))} of {len(notes)} notes urgent"),
    )

    # The numbers of renders by state, every two seconds.
    farm = hub.on("topic=studio.render.*").pipe(
        ops.map(lambda event: event.topic.rpartition(".")[2]),
        ops.buffer_with_time(2.0, scheduler=clock),
        ops.filter(bool),
        ops.map(lambda states: ", ".join(f"{count} {state}" for state, count in sorted(Counter(states).items()))),
    )
    return {"digest": digest, "farm": farm}


def playlist(source: Events) -> list[Event]:
    """Return the events to play; invalid ones are reported on stderr."""
    events = [*islice(source, _MAX_EVENTS + 1)]
    for number, fault in source.invalid_items:
        print_error(f"{source.name}:{number}: skipped: {fault}")
    if (more := source.invalid - len(source.invalid_items)) > 0:
        print_error(f"{source.name}: {more:,} more invalid lines were skipped")
    if len(events) > _MAX_EVENTS:
        print_error(f"{source.name}: only the first {_MAX_EVENTS:,} events are played")
    return events[:_MAX_EVENTS]


def play(hub: EventHub, events: Sequence[Event], gap: float, clock: abc.SchedulerBase) -> Iterator[int]:
    """Publish events one after another, and handle them in this thread.

    With a gap of 0 seconds, each event is published when the previous one has been handled. Each event advances a
    virtual clock by `PACE`. Yields the number of published events: after each, and 15 times a second while it waits.
    """
    remote = not hub.get_server_url().startswith("memory:")
    came: list[object] = []
    accepted: Future[None] | None = None
    published = 0

    def publish(_: abc.SchedulerBase, event: Any) -> None:
        nonlocal accepted
        try:
            accepted = hub.publish(event)
        except EventError as error:
            accepted = None
            print_error(f"An event was not published: {error}")

    def handle(pause: float, virtual_pause: float) -> Iterator[int]:
        hub.drain()
        yield published
        end = monotonic() + pause
        while (left := end - monotonic()) > 0:
            hub.wait(min(left, _FRAME_S))
            yield published
        if isinstance(clock, VirtualTimeScheduler):
            clock.advance_by(virtual_pause)

    with hub.events.subscribe(lambda event: came.append(event.id)):
        for event in events:
            yield from handle(gap, PACE)
            came.clear()
            hub.scheduler.schedule(publish, event)
            hub.drain()
            # A targeted event does not come back from the server, nor does one that it rejects.
            while accepted is not None and not (
                accepted.done() and (event.target or event.id in came or accepted.exception())
            ):
                hub.wait(_POLL_INTERVAL_S)
            published += 1
        # Events of callbacks may still be on their way through a server.
        yield from handle(_LINGER_S if gap or remote else 0, _LINGER_S)
        yield from handle(0, 0)
