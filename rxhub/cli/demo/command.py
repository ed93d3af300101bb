"""`rxhub demo`: play the events of a studio on a hub."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from reactivex.scheduler import VirtualTimeScheduler

from rxhub import EventHub, read_events, sample_events
from rxhub.cli.demo.studio import PACE, play, playlist, studio
from rxhub.cli.demo.view import Tally, can_show, print_summary, show, show_plain
from rxhub.cli.exit_status import Status, exits_with_status
from rxhub.cli.options import flag, option

__all__ = ["command"]

_SLOWEST, _FASTEST = 0.01, 1_000


@exits_with_status
def command(
    events: Annotated[
        Path | None, option("FILE", "Events, one JSON object per line, or an array.", show_default="160 samples")
    ] = None,
    speed: Annotated[
        float | None,
        option("FACTOR", "Multiple of the original pace. 0: as fast as possible.", show_default="1, with --plain 0"),
    ] = None,
    plain: Annotated[bool, flag("Print plain lines. Default if stdout is not a terminal.", "--plain")] = False,
    wire: Annotated[bool, flag("Play the events through a temporary event server.", "--wire")] = False,
) -> Status:
    """Play events on a hub, and show which callbacks run, in which order, and which one stops an event.

    Exit status: 0, 2 if the file has an invalid line, 130 after Ctrl-C. The summary is always printed.
    """
    plain = plain or not can_show()
    speed = (0.0 if plain else 1.0) if speed is None else speed
    if speed and not _SLOWEST <= speed <= _FASTEST:
        message = f"{speed:g} is out of range. Use 0, or {_SLOWEST:g} to {_FASTEST:g}."
        raise typer.BadParameter(message, param_hint="--speed")
    if events is not None and events.exists() and not events.is_file():
        # A device or a pipe may never end, and all events are read before the first is played.
        raise typer.BadParameter(f"{events} is not a regular file.", param_hint="--events")
    source = sample_events() if events is None else read_events(events, progress=False)
    with _quiet_log():
        played = playlist(source)
    status = Status.ERROR if source.invalid else Status.MATCHED
    with _quiet_log(), _server_and_hub(wire) as hub:
        # A virtual clock, which the events advance, makes plain output reproducible.
        clock = VirtualTimeScheduler() if plain else hub.scheduler
        tally = Tally(hub, studio(hub, clock), len(played))
        try:
            (show_plain if plain else show)(tally, play(hub, played, PACE / speed if speed else 0.0, clock))
        except KeyboardInterrupt:
            status = Status.INTERRUPTED
    print_summary(tally, plain=plain)
    return status


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
