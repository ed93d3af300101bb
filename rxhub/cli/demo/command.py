"""`rxhub demo`: a studio's events on a real hub, to look at and to copy from.

`studio` is the example: callbacks and pipelines as an application would write them. Below it the
events are played to them; `demo_tally` counts what comes of it, and `demo_view` shows that.
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
    """Subscribe a studio's callbacks, and give back its pipelines by name.

    Lower priorities run first. Who stops an event keeps it from all that come later, pipelines included.
    """

    @hub.on("", priority=0)
    def audit(event: Event) -> None:  # The empty subscription: everything.
        journal.debug("%s by %s", event.topic, event.source["user"]["username"])

    @hub.on("topic=studio.farm.heartbeat", priority=10)
    def quarantine(event: Event) -> None:
        event.stop()

    @hub.on("topic=*.failed and data.progress<0.5", priority=20)
    def retry(event: Event) -> None:  # Little is lost: render again, and trouble nobody.
        hub.publish(Event("studio.render.started", data={"job": event.data["job"]}))
        event.stop()

    @hub.on("data.entities.changes.statusid.new=Approved", priority=20)
    def render(event: Event) -> None:  # What a callback publishes waits until this event has gone its way.
        shots = [entity["entityId"] for entity in event.data["entities"]]
        hub.publish(Event("studio.render.started", data={"shots": shots}))

    @hub.on("topic=ftrack.action.launch", priority=50)
    def launch(event: Event) -> dict[str, Any]:  # What a callback returns is the reply to whoever published.
        return {"success": True, "message": f"{event.data['actionIdentifier']} was launched"}

    @hub.on("topic=studio.render.finished", priority=50)
    def thumbnail(event: Event) -> None:  # Fails on a job without frames; the later ones get the event all the same.
        journal.debug("thumbnail of frame %d", median_low(event.data["frames"]))

    @hub.on("topic in (studio.render.*, studio.review.*)", priority=100)
    async def notify(event: Event) -> None:  # Awaited in its turn.
        await asyncio.sleep(0.002)  # Here a chat server would answer.
        journal.debug("told of %s", event.topic)

    # All notes of a burst, once half a second has brought no further one.
    is_urgent = compile("data.tags=urgent")
    digest = hub.on("topic=studio.review.note").pipe(
        ops.publish(lambda notes: notes.pipe(ops.buffer(notes.pipe(ops.debounce(0.5, scheduler=clock))))),
        ops.filter(bool),
        ops.map(lambda notes: f"{sum(map(is_urgent, notes))} of {len(notes)} notes urgent"),
    )

    # How renders went, every two seconds.
    farm = hub.on("topic=studio.render.*").pipe(
        ops.map(lambda event: event.topic.rpartition(".")[2]),
        ops.buffer_with_time(2.0, scheduler=clock),
        ops.filter(bool),
        ops.map(lambda fates: ", ".join(f"{count} {fate}" for fate, count in sorted(Counter(fates).items()))),
    )
    return {"digest": digest, "farm": farm}


# Playing events to it

PACE = 0.06
"""Seconds from one event to the next at `--speed 1`: the shipped events then take some 11 s."""
LINGER = 1.0
"""Seconds from the last event to the end, so that the pipelines' timers come to theirs."""
SLOWEST, FASTEST = 0.01, 1_000
MOST = 10_000
"""Lines that are read of a file at most; their events are held in memory."""
SAMPLES = Path(__file__).with_name("samples") / "events.jsonl"
_TOLD = 10
_INTERRUPTED = 130
"""What a shell reports of a program that SIGINT ended (128 + 2)."""


@exits_with_status
def command(
    events: Annotated[
        Path, typer.Option(metavar="FILE", help="Events, one JSON object a line.", show_default="160 shipped ones")
    ] = SAMPLES,
    speed: Annotated[
        float | None,
        typer.Option(metavar="FACTOR", show_default="1, with --plain 0", help="0: as fast as possible."),
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Plain lines, as they also come if stdout is no terminal.")
    ] = False,
    wire: Annotated[bool, typer.Option("--wire", help="By way of an event server, started for the occasion.")] = False,
) -> Status:
    """Play a studio's events to a real hub, and watch: who gets them in which order, and who stops them.

    Ends with 0, with 2 if a line of the file was broken, and with 130 after Ctrl-C; the summary comes in any case.
    """
    plain = plain or not can_show()
    speed = (0.0 if plain else 1.0) if speed is None else speed
    if speed and not SLOWEST <= speed <= FASTEST:
        raise typer.BadParameter(f"{speed:g} is neither 0 nor from {SLOWEST:g} to {FASTEST:g}.", param_hint="--speed")
    if events.exists() and not events.is_file():
        # A device or a pipe need never end, and the events are read before they are played.
        raise typer.BadParameter(f"{events} is no regular file.", param_hint="--events")
    playlist, broken = _read(events)
    interrupted = False
    tally = Tally(len(playlist))
    with _quiet_log(), _server_and_hub(wire) as hub:
        # Plain output must come out the same each time: its pipelines live by a clock that the events move on.
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
        raise typer.Exit(_INTERRUPTED)
    return Status.ERROR if broken else Status.MATCHED


def play(
    hub: EventHub,
    events: Sequence[Event],
    gap: float,
    clock: abc.SchedulerBase,
    published: Callable[[], object] = lambda: None,
) -> None:
    """Publish the events as soon as the hub is handled, one after another, and close the hub in the end.

    Args:
        hub: whose handling context publishes.
        events: what is published.
        gap: seconds between two events; 0 publishes each when the one before has been handled.
        clock: if it is virtual, each event moves it on as if it came after `PACE` seconds.
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
            # What callbacks have published may still be under way to a server and back.
            scheduler.schedule_relative(LINGER if gap or remote else 0, end)
            return
        coming: abc.DisposableBase = Disposable()
        if remote and not event.target:
            # It is handled when it has come back; only then the next one goes out.
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
            # A server hands it to those whom it is for, and they are not here.
            accepted.add_done_callback(lambda _: next_step(scheduler))
        elif not remote:
            next_step(scheduler)

    def next_step(scheduler: abc.SchedulerBase) -> None:
        # Scheduled behind the event, so that events are handled one by one even if there is no gap.
        scheduler.schedule_relative(gap, step)

    def end(*_: object) -> None:
        hub.close()

    hub.scheduler.schedule(step)


@contextmanager
def _server_and_hub(wire: bool) -> Generator[EventHub]:
    """A hub within this process, or one that is connected to a server."""
    if not wire:
        with EventHub("memory://", api_user="studio") as hub:
            yield hub
        return
    from rxhub.server import running

    with running() as server, EventHub(server.url, server.api_user, server.api_key) as hub:
        hub.connect()
        yield hub


def _read(path: Path) -> tuple[list[Event], int]:
    """The events of a file, and how many of its lines were broken; each is told of on stderr."""
    playlist: list[Event] = []
    broken = 0
    with path.open("rb") as stream:
        for number, _, candidate, fault in islice(read_lines(stream), MOST):
            if isinstance(candidate, Event):
                playlist.append(candidate)
            else:
                broken += 1
                if broken <= _TOLD:
                    print_error(f"{path}:{number}: {fault or 'an event needs a text as its topic'}; skipped")
        if broken > _TOLD:
            print_error(f"{path}: {broken - _TOLD:,} more broken lines were skipped")
        if len(playlist) + broken == MOST and stream.read(1):
            print_error(f"{path}: only the first {MOST:,} lines are played")
    return playlist, broken


@contextmanager
def _quiet_log() -> Generator[None]:
    """Keep logged errors of callbacks out of the picture, where they are shown anyway."""
    # Without any handler, logging would write them to stderr, across the live view.
    handler = logging.NullHandler()
    logger = logging.getLogger("rxhub")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
