"""`rxhub listen`: the events of a server, as they come."""

from __future__ import annotations

import queue
import sys
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Annotated

import typer

from rxhub import Event, EventHub
from rxhub.cli.server import INTERRUPTED, Key, Server, Stream, User, connected
from rxhub.cli.status import Status, complain, ending
from rxhub.state import ConnectionState, Phase
from rxhub.transport.payload import write_json

__all__ = ["command"]

_AHEAD = 1_000
_TICK = 0.25


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
            events = _events(hub, subscription, count, timeout)
            if sys.stdout.isatty():
                from rxhub.cli.listen_view import show

                seen = show(hub, subscription, events)
            else:
                seen = _print(hub, events)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    return Status.MATCHED if seen else Status.NOT_MATCHED


def _events(hub: EventHub, subscription: str, count: int | None, timeout: float | None) -> Iterator[Event | None]:
    """The events, with None now and then while none comes, until there are enough or the time is up."""
    waiting: queue.Queue[Event] = queue.Queue(_AHEAD)
    hub.on(subscription).subscribe(_putter(hub, waiting))
    end = None if timeout is None else monotonic() + timeout
    left = count
    while left is None or left:
        patience = _TICK if end is None else min(_TICK, end - monotonic())
        if patience <= 0:
            return
        try:
            yield waiting.get(timeout=patience)
        except queue.Empty:
            yield None
        else:
            left = None if left is None else left - 1


def _putter(hub: EventHub, waiting: queue.Queue[Event]) -> Callable[[Event], None]:
    def put(event: Event) -> None:
        # A full queue holds the handling up, but not beyond the end.
        while hub.connected or not waiting.full():
            try:
                waiting.put(event, timeout=_TICK)
            except queue.Full:
                if not hub.handled:
                    return
            else:
                return

    return put


def _print(hub: EventHub, events: Iterator[Event | None]) -> int:
    """Write each event as a line of JSON; how many it was."""

    def tell(state: ConnectionState) -> None:
        if state.phase is Phase.DISCONNECTED and state.reason:
            complain(f"{state.reason}; connecting again")

    hub.state.subscribe(tell)
    output, seen = sys.stdout, 0
    for event in events:
        if event is not None:
            seen += 1
            output.write(write_json(event.to_wire()) + "\n")
            output.flush()
    return seen
