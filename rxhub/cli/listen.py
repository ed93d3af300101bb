"""`rxhub listen`: show the events of a server as they arrive."""

from __future__ import annotations

import sys
from datetime import datetime
from sys import maxsize
from typing import Annotated

from reactivex import Observable
from reactivex import operators as ops
from reactivex.disposable import CompositeDisposable

from rxhub import EventHub
from rxhub.cli.connect import open_hub
from rxhub.cli.credentials import credentials
from rxhub.cli.event_iterator import ReceivedEvent, iterate_events, print_events, with_positions
from rxhub.cli.exit_status import Status, exits_with_status
from rxhub.cli.nats_options import NatsFiles, with_nats_files
from rxhub.cli.options import Key, Server, ServerStream, Subscription, User, WithPosition, option
from rxhub.cli.output import print_error
from rxhub.expression import parse
from rxhub.expression.unmet import Unmet
from rxhub.transport.nats.address import SCHEMES

__all__ = ["command"]

_MAX_UNMATCHED_EVENTS = 1_000


@exits_with_status
@with_nats_files
def command(
    subscription: Subscription,
    server: Server,
    files: NatsFiles,
    user: User = None,
    key: Key = None,
    stream: ServerStream = None,
    count: Annotated[int | None, option("N", "Exit after N events.", "--count", "-n", min=1)] = None,
    timeout: Annotated[float | None, option("SECONDS", "Exit after this time.", "--timeout", "-t", min=0)] = None,
    with_position: WithPosition = False,
) -> Status:
    """Show the events of a server that match a subscription: a live table on a terminal, JSON lines in a pipe.

    After a lost connection, the command reports it on stderr and reconnects. If no event matched, a terminal shows the
    key or value that no event had. For this, the command also receives other events, at most 1,000.

    Exit status: 0 if an event arrived, 1 if none arrived within --timeout, 2 after an error, 130 after Ctrl-C.
    """
    seen = 0
    if with_position and not _has_sequences(server):
        print_error(
            f"{server.partition('://')[0]}:// has no positions: `sequence` will be null, and `time` is the time of "
            "arrival. To resume from a position, read the stream: --server nats://host, or rxhub replay --follow "
            "--with-position."
        )
    unmet = Unmet(parse(subscription)) if sys.stderr.isatty() else None
    try:
        with open_hub(credentials(server, user, key, files=files), stream) as hub:
            others = CompositeDisposable()
            source = _source(hub, subscription, stream or "events", with_position)
            events = iterate_events(hub, source.pipe(ops.do_action(lambda _: others.dispose())), count, timeout)
            if unmet is not None:
                # A server sends only what a client subscribes to. The limit avoids traffic on a busy server.
                everything = hub.on("topic=*", priority=maxsize)
                others.add(everything.pipe(ops.take(_MAX_UNMATCHED_EVENTS)).subscribe(unmet.add))
            if sys.stdout.isatty() and not with_position:
                from rxhub.cli.listen_view import show

                seen = show(hub, subscription, events)
            else:
                seen = print_events(hub, events, with_position)
    except KeyboardInterrupt:
        if not seen:
            _print_unmet(unmet)
        raise
    if not seen:
        limit = "" if timeout is None else f" within {timeout:g} s"
        print_error(f"no event matched {subscription!r}{limit}")
        _print_unmet(unmet)
    return Status.MATCHED if seen else Status.NOT_MATCHED


def _print_unmet(unmet: Unmet | None) -> None:
    # Without events, the warning about a misspelled key was printed when the hub subscribed.
    if unmet is not None and unmet.seen:
        print_error(*unmet.lines())


def _source(hub: EventHub, subscription: str, stream: str, with_position: bool) -> Observable[ReceivedEvent]:
    """Return the events from now on, with sequences if they are requested and the server has them."""
    if not (with_position and _has_sequences(hub.get_server_url())):
        return hub.on(subscription).pipe(ops.map(lambda event: ReceivedEvent(datetime.now().astimezone(), event)))
    last = next((state.last_sequence for state in hub.streams() if state.name == stream), 0)
    return with_positions(hub.replay(subscription, since=last + 1, follow=True))


def _has_sequences(server: str) -> bool:
    return server.partition("://")[0].strip().lower() in SCHEMES
