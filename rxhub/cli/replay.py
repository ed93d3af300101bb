"""`rxhub replay`: show the events that a stream stores."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from rxhub import EventHub
from rxhub.cli.connect import open_hub, stream_exists
from rxhub.cli.credentials import ServerAccess
from rxhub.cli.event_iterator import ReceivedEvent, iterate_events, print_events, with_positions
from rxhub.cli.exit_status import Status, exits_with_status
from rxhub.cli.nats_access import with_nats
from rxhub.cli.options import JsonLines, Stream, Subscription, WithPosition, flag, option
from rxhub.cli.output import print_error, progress_bar
from rxhub.cli.units import parse_time
from rxhub.errors import ExpressionError
from rxhub.hub.replay import Replay

__all__ = ["command"]

_EVENTS_PER_UPDATE = 100


@exits_with_status
@with_nats
def command(
    subscription: Subscription,
    access: ServerAccess,
    stream: Stream = "events",
    since: Annotated[
        str | None,
        option(
            "TIME",
            "First event: 2026-03-01T12:00, a duration before now (2h, 3d), or a sequence of the stream. Default: "
            "the oldest event.",
        ),
    ] = None,
    until: Annotated[str | None, option("TIME", "Same format as --since. Default: now.")] = None,
    speed: Annotated[
        float | None,
        option("FACTOR", "Replay at the original pace (1), or at a multiple of it. Default: as fast as possible."),
    ] = None,
    follow: Annotated[bool, flag("Continue with new events after the stored ones.", "--follow", "-f")] = False,
    json: JsonLines = False,
    with_position: WithPosition = False,
) -> Status:
    """Show the stored events that match a subscription: a table on a terminal, JSON lines in a pipe.

    If stderr is a terminal and stdout is not, the command shows a progress bar.

    Exit status: 0 if an event was replayed, 1 if none was, 2 after an error, 130 after Ctrl-C.
    """
    begin = None if since is None else parse_time(since, "--since")
    end = None if until is None else parse_time(until, "--until")
    if not stream_exists(access, stream):
        return Status.ERROR
    with open_hub(access, stream, "--nats") as hub:
        try:
            replay = hub.replay(subscription, begin, end, speed, follow)
        except ExpressionError:
            raise
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        as_lines = json or with_position or not sys.stdout.isatty()
        seen = _show(hub, subscription, replay, as_lines, with_position)
        read = replay.progress.read
    if not seen:
        print_error(f"no event in {stream} matched {subscription!r}; {read:,} stored events were examined")
    return Status.MATCHED if seen else Status.NOT_MATCHED


def _show(hub: EventHub, subscription: str, replay: Replay, as_lines: bool, with_position: bool) -> int:
    events = iterate_events(hub, with_positions(replay))
    if as_lines:
        return print_events(hub, _with_progress(events, replay), with_position)
    from rxhub.cli.listen_view import show

    def examined() -> str:
        progress = replay.progress
        return "" if progress.total is None else f"{progress.read:,} of {progress.total:,} examined"

    return show(hub, subscription, events, examined, "%Y-%m-%d %H:%M:%S")


def _with_progress(events: Iterator[ReceivedEvent | None], replay: Replay) -> Iterator[ReceivedEvent | None]:
    """Yield the events, and show a progress bar on the terminal while stdout is not a terminal."""
    with progress_bar(sys.stderr.isatty() and not sys.stdout.isatty()) as bar:
        task = bar.add_task("replay", total=None)
        for number, received in enumerate(events):
            if received is None or not number % _EVENTS_PER_UPDATE:
                bar.update(task, completed=replay.progress.read, total=replay.progress.total)
            yield received
