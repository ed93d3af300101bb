"""`rxhub listen`: the events of a server, as they come."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer
from reactivex import Observable
from reactivex import operators as ops

from rxhub import Event, EventHub
from rxhub.cli.event_iterator import Arrived, WithPosition, arriving, print_lines
from rxhub.cli.exit_status import Status, complain, ending
from rxhub.cli.server_options import INTERRUPTED, Key, Server, Stream, User, connected
from rxhub.cli.unmatched import Unmatched
from rxhub.hub.replay import Replay
from rxhub.transport.nats.address import SCHEMES

__all__ = ["command"]


@ending
def command(
    subscription: Annotated[
        str, typer.Argument(metavar="SUBSCRIPTION", show_default=False, help="What to listen for: 'topic=ftrack.*'")
    ],
    server: Server,
    user: User = None,
    key: Key = None,
    stream: Stream = None,
    count: Annotated[
        int | None, typer.Option("--count", "-n", min=1, metavar="N", show_default=False, help="End after N events.")
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", "-t", min=0, metavar="SECONDS", show_default=False, help="End after this time."),
    ] = None,
    with_position: WithPosition = False,
) -> Status:
    """Show the events of a server that match a subscription: a live table on a terminal, JSON lines in a pipe.

    A lost connection is reported on stderr, and reconnected.

    Exit status: 0 if an event came, 1 if none came within --timeout, 2 after an error, 130 after Ctrl-C.
    """
    seen = 0
    unmatched = Unmatched(subscription)
    try:
        with connected(server, user, key, stream) as hub:
            hub.events.subscribe(unmatched.add)
            events = arriving(hub, _source(hub, subscription, stream or "events", with_position), count, timeout)
            if sys.stdout.isatty() and not with_position:
                from rxhub.cli.listen_view import show

                seen = show(hub, subscription, events)
            else:
                seen = print_lines(hub, events, with_position)
    except KeyboardInterrupt:
        if not seen and sys.stderr.isatty():
            unmatched.report()
        raise typer.Exit(INTERRUPTED) from None
    if not seen:
        complain(f"no event matched {subscription!r} within {timeout:g} s" if timeout is not None else "no event came")
        if sys.stderr.isatty():
            unmatched.report()
    return Status.MATCHED if seen else Status.NOT_MATCHED


def _source(hub: EventHub, subscription: str, stream: str, with_position: bool) -> Observable[Arrived]:
    """The events from now on; those of a stream with their sequences if asked for."""
    if not (with_position and hub.get_server_url().partition("://")[0] in SCHEMES):
        return hub.on(subscription).pipe(ops.map(_arrived))
    last = next((state.last_sequence for state in hub.streams() if state.name == stream), 0)
    replay = hub.replay(subscription, since=last + 1, follow=True)
    return replay.pipe(ops.map(lambda event: _stored(replay, event)))


def _stored(replay: Replay, event: Event) -> Arrived:
    progress = replay.progress
    return Arrived(progress.time or datetime.now(UTC), event, progress.sequence)


def _arrived(event: Event) -> Arrived:
    return Arrived(datetime.now().astimezone(), event)
