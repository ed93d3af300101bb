"""`rxhub listen`: the events of a server, as they come."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Annotated

import typer
from reactivex import operators as ops

from rxhub import Event
from rxhub.cli.arriving import Arrived, arriving, print_lines
from rxhub.cli.server import INTERRUPTED, Key, Server, Stream, User, connected
from rxhub.cli.status import Status, ending

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
) -> Status:
    """Show the events of a server that match a subscription: a live table on a terminal, JSON lines in a pipe.

    A lost connection is made again, which is told on stderr. Ends with 0 if an event came, with 1 if the time was up
    before one did, with 2 after an error, and with 130 after Ctrl-C.
    """
    seen = 0
    try:
        with connected(server, user, key, stream) as hub:
            events = arriving(hub, hub.on(subscription).pipe(ops.map(_arrived)), count, timeout)
            if sys.stdout.isatty():
                from rxhub.cli.listen_view import show

                seen = show(hub, subscription, events)
            else:
                seen = print_lines(hub, events)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    return Status.MATCHED if seen else Status.NOT_MATCHED


def _arrived(event: Event) -> Arrived:
    return Arrived(datetime.now().astimezone(), event)
