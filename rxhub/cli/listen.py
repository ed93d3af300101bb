"""`rxhub listen`: the events of a server, as they come."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from sys import maxsize
from typing import Annotated

import typer
from reactivex import Observable
from reactivex import operators as ops
from reactivex.disposable import CompositeDisposable

from rxhub import Event, EventHub
from rxhub.cli.event_iterator import Arrived, WithPosition, arriving, print_lines
from rxhub.cli.exit_status import Status, complain, ending
from rxhub.cli.server_options import INTERRUPTED, Key, Server, Stream, User, connected
from rxhub.expression import parse
from rxhub.expression.unmet import Unmet
from rxhub.hub.replay import Replay
from rxhub.transport.nats.address import SCHEMES

__all__ = ["command"]

_ALL = "topic=*"
_MOST_OTHERS = 1_000


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

    A lost connection is reported on stderr, and reconnected. If no event matched, a terminal shows which key or value
    no event had; for this, other events are received too, 1,000 at most.

    Exit status: 0 if an event came, 1 if none came within --timeout, 2 after an error, 130 after Ctrl-C.
    """
    seen = 0
    if with_position and not _stores(server):
        complain(
            f"{server.partition('://')[0]}:// has no positions: `sequence` will be null, and `time` is when an event "
            "arrived. To resume from a position, read the stream where it is stored: --server nats://host, or "
            "rxhub replay --follow --with-position."
        )
    unmet = Unmet(parse(subscription)) if sys.stderr.isatty() else None
    try:
        with connected(server, user, key, stream) as hub:
            others = CompositeDisposable()
            source = _source(hub, subscription, stream or "events", with_position)
            events = arriving(hub, source.pipe(ops.do_action(lambda _: others.dispose())), count, timeout)
            if unmet is not None:
                # Servers send only what is subscribed to. Limited, because a busy server would send much for nothing.
                others.add(hub.on(_ALL, priority=maxsize).pipe(ops.take(_MOST_OTHERS)).subscribe(unmet.add))
            if sys.stdout.isatty() and not with_position:
                from rxhub.cli.listen_view import show

                seen = show(hub, subscription, events)
            else:
                seen = print_lines(hub, events, with_position)
    except KeyboardInterrupt:
        if not seen:
            _report(unmet)
        raise typer.Exit(INTERRUPTED) from None
    if not seen:
        complain(f"no event matched {subscription!r} within {timeout:g} s" if timeout is not None else "no event came")
        _report(unmet)
    return Status.MATCHED if seen else Status.NOT_MATCHED


def _report(unmet: Unmet | None) -> None:
    # If there were no events, the warning about a misspelled key has been shown when it was subscribed to.
    if unmet is not None and unmet.seen:
        for line in unmet.lines():
            complain(line)


def _source(hub: EventHub, subscription: str, stream: str, with_position: bool) -> Observable[Arrived]:
    """The events from now on; those of a stream with their sequences if asked for."""
    if not (with_position and _stores(hub.get_server_url())):
        return hub.on(subscription).pipe(ops.map(_arrived))
    last = next((state.last_sequence for state in hub.streams() if state.name == stream), 0)
    replay = hub.replay(subscription, since=last + 1, follow=True)
    return replay.pipe(ops.map(lambda event: _stored(replay, event)))


def _stores(server: str) -> bool:
    """Whether events have sequences there."""
    return server.partition("://")[0].strip().lower() in SCHEMES


def _stored(replay: Replay, event: Event) -> Arrived:
    progress = replay.progress
    return Arrived(progress.time or datetime.now(UTC), event, progress.sequence)


def _arrived(event: Event) -> Arrived:
    return Arrived(datetime.now().astimezone(), event)
