"""`rxhub demo`: play the events of a studio on a hub.

`studio` is the example: callbacks and pipelines as an application would write them. `play` publishes events to it,
`tally` counts the results, and `view` shows them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from statistics import median_low
from typing import Annotated, Any

import typer
from reactivex import Observable, abc
from reactivex import operators as ops
from reactivex.disposable import Disposable
from reactivex.scheduler import VirtualTimeScheduler

from rxhub import Event, EventHub
from rxhub.cli.demo.tally import Tally
from rxhub.cli.demo.view import can_show, show, show_plain, summary
from rxhub.cli.exit_status import Status, exits_with_status
from rxhub.cli.jsonl import read_lines
from rxhub.cli.output import print_error
from rxhub.errors import EventError
from rxhub.expression import compile

__all__ = ["LINGER", "PACE", "SAMPLES", "command", "play", "studio"]

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


PACE = 0.06
"""Seconds between two events at `--speed 1`: the sample events take about 11 s."""
LINGER = 1.0
"""Seconds from the last event to the end, so that the timers of the pipelines fire."""
SLOWEST, FASTEST = 0.01, 1_000
MOST = 10_000
"""Limit of lines that are read from a file, because their events are held in memory."""
SAMPLES = Path(__file__).with_name("samples") / "events.jsonl"
_MAX_REPORTED_LINES = 10


@exits_with_status
def command(
    events: Annotated[
        Path, typer.Option(metavar="FILE", help="Events, one JSON object per line.", show_default="160 samples")
    ] = SAMPLES,
    speed: Annotated[
        float | None,
        typer.Option(
            metavar="FACTOR",
            show_default="1, with --plain 0",
            help="Multiple of the original pace. 0: as fast as possible.",
        ),
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Print plain lines. Default if stdout is not a terminal.")
    ] = False,
    wire: Annotated[bool, typer.Option("--wire", help="Play the events through a temporary event server.")] = False,
) -> Status:
    """Play events on a hub, and show which callbacks run, in which order, and which one stops an event.

    Exit status: 0, 2 if the file has an invalid line, 130 after Ctrl-C. The summary is always printed.
    """
    plain = plain or not can_show()
    speed = (0.0 if plain else 1.0) if speed is None else speed
    if speed and not SLOWEST <= speed <= FASTEST:
        raise typer.BadParameter(
            f"{speed:g} is out of range. Use 0, or {SLOWEST:g} to {FASTEST:g}.", param_hint="--speed"
        )
    if events.exists() and not events.is_file():
        # A device or a pipe may never end, and all events are read before the first is played.
        raise typer.BadParameter(f"{events} is not a regular file.", param_hint="--events")
    playlist, invalid = _read(events)
    interrupted = False
    tally = Tally(len(playlist))
    with _quiet_log(), _server_and_hub(wire) as hub:
        # A virtual clock, which the events advance, makes plain output reproducible.
        clock = VirtualTimeScheduler() if plain else hub.scheduler
        tally.watch(hub, studio(hub, clock))
        play(hub, playlist, PACE / speed if speed else 0.0, clock, tally.published)
        try:
            with hub.start():
                (show_plain if plain else show)(tally)
        except KeyboardInterrupt:
            interrupted = True
    while tally.take():
        pass
    summary(tally, plain=plain)
    if interrupted:
        return Status.INTERRUPTED
    return Status.ERROR if invalid else Status.MATCHED


def play(
    hub: EventHub,
    events: Sequence[Event],
    gap: float,
    clock: abc.SchedulerBase,
    published: Callable[[], object] = lambda: None,
) -> None:
    """Publish the events one after another in the handling context of the hub, then close the hub.

    Args:
        hub: the hub.
        events: the events to publish.
        gap: seconds between two events; 0 publishes an event when the previous one has been handled.
        clock: each event advances a virtual clock by `PACE`.
        published: called after each event.
    """
    waiting = iter(events)
    remote = not hub.get_server_url().startswith("memory:")

    def tick(seconds: float) -> None:
        if isinstance(clock, VirtualTimeScheduler):
            clock.advance_by(seconds)

    def step(scheduler: abc.SchedulerBase, _: object = None) -> None:
        tick(PACE)
        event = next(waiting, None)
        if event is None:
            tick(LINGER)
            # Events of callbacks may still be on their way through a server.
            scheduler.schedule_relative(LINGER if gap or remote else 0, end)
            return
        coming: abc.DisposableBase = Disposable()
        if remote and not event.target:
            # The next event is published when this one has come back from the server.
            came = hub.events.pipe(ops.filter(lambda other: other.id == event.id), ops.take(1))
            coming = came.subscribe(lambda _: next_step(scheduler))
        try:
            accepted = hub.publish(event)
        except EventError as error:
            coming.dispose()
            typer.echo(f"An event was not published: {error}", err=True)
            published()
            next_step(scheduler)
            return
        published()
        if remote and event.target and accepted is not None:
            # A targeted event does not come back from the server.
            accepted.add_done_callback(lambda _: next_step(scheduler))
        elif not remote:
            next_step(scheduler)

    def next_step(scheduler: abc.SchedulerBase) -> None:
        # Scheduled after the event, so that events are handled one by one even without a gap.
        scheduler.schedule_relative(gap, step)

    def end(*_: object) -> None:
        hub.close()

    hub.scheduler.schedule(step)


@contextmanager
def _server_and_hub(wire: bool) -> Generator[EventHub]:
    """Yield a hub in memory, or one that is connected to a temporary server."""
    if not wire:
        with EventHub("memory://", api_user="studio") as hub:
            yield hub
        return
    from rxhub.server import running

    with running() as server, EventHub(server.url, server.api_user, server.api_key) as hub:
        hub.connect()
        yield hub


def _read(path: Path) -> tuple[list[Event], int]:
    """Return the events of a file and the number of invalid lines, which are reported on stderr."""
    playlist: list[Event] = []
    invalid = 0
    with path.open("rb") as stream:
        for number, _, candidate, fault in islice(read_lines(stream), MOST):
            if isinstance(candidate, Event):
                playlist.append(candidate)
            else:
                invalid += 1
                if invalid <= _MAX_REPORTED_LINES:
                    print_error(f"{path}:{number}: {fault or 'an event needs a string `topic`'}; skipped")
        if invalid > _MAX_REPORTED_LINES:
            print_error(f"{path}: {invalid - _MAX_REPORTED_LINES:,} more invalid lines were skipped")
        if len(playlist) + invalid == MOST and stream.read(1):
            print_error(f"{path}: only the first {MOST:,} lines are played")
    return playlist, invalid


@contextmanager
def _quiet_log() -> Generator[None]:
    """Do not log errors of callbacks, because the demo shows them."""
    # Without a handler, logging writes them to stderr, into the live view.
    handler = logging.NullHandler()
    logger = logging.getLogger("rxhub")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
