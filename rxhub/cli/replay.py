"""`rxhub replay`: the events that a stream holds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer
from reactivex import operators as ops

from rxhub import Event, EventHub
from rxhub.cli.event_iterator import Arrived, WithPosition, arriving, print_lines
from rxhub.cli.exit_status import Status, complain, ending
from rxhub.cli.nats_options import NATS_OPTIONS, Nats, NatsPassword, NatsUser, Stream, is_there
from rxhub.cli.server_options import INTERRUPTED, connected
from rxhub.cli.units import moment
from rxhub.errors import ExpressionError
from rxhub.hub.replay import Progress, Replay

__all__ = ["command"]

_EVENTS_BETWEEN_UPDATES = 100


@ending
def command(
    subscription: Annotated[
        str, typer.Argument(metavar="SUBSCRIPTION", show_default=False, help="What to replay: 'topic=ftrack.*'")
    ],
    nats: Nats,
    stream: Stream = "events",
    since: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN",
            show_default=False,
            help="2026-03-01T12:00, how long ago (2h, 3d), or a sequence of the stream.",
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="WHEN", show_default=False, help="Same format as --since. Default: now.")
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option(metavar="N", show_default=False, help="1 is the original pace, 10 ten times as fast."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes from now on.")] = False,
    nats_user: NatsUser = None,
    nats_password: NatsPassword = None,
    json: Annotated[bool, typer.Option("--json", help="JSON lines on a terminal too.")] = False,
    with_position: WithPosition = False,
) -> Status:
    """Show the stored events that match a subscription: a table on a terminal, JSON lines in a pipe.

    If stderr is a terminal and stdout is not, a progress bar is shown there.

    Exit status: 0 if an event was replayed, 1 if none was, 2 after an error, 130 after Ctrl-C.
    """
    seen = 0
    begin = None if since is None else moment(since, "--since")
    end = None if until is None else moment(until, "--until")
    if not is_there(nats, nats_user, nats_password, stream):
        return Status.ERROR
    try:
        with connected(nats, nats_user, nats_password, stream, "--nats", NATS_OPTIONS) as hub:
            try:
                replay = hub.replay(subscription, begin, end, speed, follow)
            except ExpressionError:
                raise
            except ValueError as error:
                raise typer.BadParameter(str(error)) from None
            as_lines = json or with_position or not sys.stdout.isatty()
            seen = _show(hub, subscription, replay, as_lines, with_position)
            read = replay.progress.read
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    if not seen:
        complain(f"no event in {stream} matched {subscription!r}; {read:,} stored events were examined")
    return Status.MATCHED if seen else Status.NOT_MATCHED


def _show(hub: EventHub, subscription: str, replay: Replay, as_lines: bool, with_position: bool) -> int:
    def arrived(event: Event) -> Arrived:
        progress = replay.progress
        return Arrived(progress.time or datetime.now(UTC), event, progress.sequence)

    events = arriving(hub, replay.pipe(ops.map(arrived)))
    if as_lines:
        with _bar(replay) as advancing:
            return print_lines(hub, advancing(events), with_position)
    from rxhub.cli.listen_view import show

    return show(hub, subscription, events, lambda: _so_far(replay.progress), "%Y-%m-%d %H:%M:%S")


def _so_far(progress: Progress) -> str:
    return "" if progress.total is None else f"{progress.read:,} of {progress.total:,} looked at"


@contextmanager
def _bar(replay: Replay) -> Generator[Callable[[Iterator[Arrived | None]], Iterator[Arrived | None]]]:
    """A bar on the terminal while events go elsewhere."""
    if not sys.stderr.isatty() or sys.stdout.isatty():
        yield lambda events: events
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # The lines go to stdout itself, not to the bar's console.
    with Bar(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task("replay", total=None)

        def advancing(events: Iterator[Arrived | None]) -> Iterator[Arrived | None]:
            for number, arrived in enumerate(events):
                if arrived is None or not number % _EVENTS_BETWEEN_UPDATES:
                    progress = replay.progress
                    bar.update(task, completed=progress.read, total=progress.total)
                yield arrived

        yield advancing
