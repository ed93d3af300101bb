"""`rxhub groups`: list, pause, resume, reset and remove the groups of a stream."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from rxhub.cli.confirm import Yes, is_confirmed
from rxhub.cli.connect import query_nats
from rxhub.cli.credentials import NATS_OPTIONS, ServerAccess, credentials
from rxhub.cli.exit_status import Status, exits_with_status
from rxhub.cli.help import Commands
from rxhub.cli.nats_access import with_nats
from rxhub.cli.nats_options import NatsFiles, with_nats_files
from rxhub.cli.options import JsonLines, NatsPassword, NatsUser, OptionalNats, Stream, argument, option
from rxhub.cli.output import print_error, print_json, print_table, print_text
from rxhub.cli.units import format_duration, parse_duration, parse_time
from rxhub.transport.durable import GroupState, Place

if TYPE_CHECKING:
    from rxhub.transport.nats.groups import StoredGroups

__all__ = ["group"]

group = Commands(invoke_without_command=True)

T = TypeVar("T")

_HEADINGS = ("group", "state", "waiting", "pending", "redelivered", "oldest", "per second", "max pending")
_DEFAULT = "events"
_INTERVAL = "1s"
_FIRST = "first"

_Name = Annotated[str, argument("NAME", "Name of the group.")]


@group.callback()
@with_nats_files
def list_(
    context: typer.Context,
    files: NatsFiles,
    nats: OptionalNats = None,
    stream: Stream = _DEFAULT,
    interval: Annotated[str, option("TIME", "Measure the rate for this time.")] = _INTERVAL,
    nats_user: NatsUser = None,
    nats_password: NatsPassword = None,
    json: JsonLines = False,
) -> None:
    """List the groups of a stream, with their lag and rate.

    On a terminal, the output is a table; in a pipe, one line of JSON per group.

    Exit status: 0 if there is a group, 1 if there is none, 2 after an error.
    """
    if context.invoked_subcommand is None:
        seconds = parse_duration(interval, "--interval").total_seconds()
        given = (nats or "", nats_user, nats_password, NATS_OPTIONS, files)
        _list(lambda: credentials(*given), stream, seconds, json or not sys.stdout.isatty())


@exits_with_status
def _list(access: Callable[[], ServerAccess], stream: str, interval: float, as_lines: bool) -> Status:
    states = _ask(access(), stream, lambda groups: groups.list(interval))
    if not states:
        print_error(f"the stream {stream} has no groups")
        return Status.NOT_MATCHED
    if as_lines:
        for state in states:
            print_json(state._asdict())
    else:
        print_table(_HEADINGS, map(_row, states))
    return Status.MATCHED


@group.command("pause")
@exits_with_status
@with_nats
def pause(name: _Name, access: ServerAccess, stream: Stream = _DEFAULT) -> Status:
    """Stop all processes of a group from handling events, until `resume`. Running handlers finish.

    Exit status: 0 after success, 2 after an error.
    """
    _ask(access, stream, lambda groups: groups.pause(name))
    return Status.MATCHED


@group.command("resume")
@exits_with_status
@with_nats
def resume(name: _Name, access: ServerAccess, stream: Stream = _DEFAULT) -> Status:
    """Let a paused group continue where it was.

    Exit status: 0 after success, 2 after an error.
    """
    _ask(access, stream, lambda groups: groups.resume(name))
    return Status.MATCHED


@group.command("reset")
@exits_with_status
@with_nats
def reset(
    name: _Name,
    access: ServerAccess,
    stream: Stream = _DEFAULT,
    to: Annotated[
        str | None,
        option("TIME", "Where to continue: 2026-03-01T12:00, a duration before now (2h, 3d), a sequence, or `first`."),
    ] = None,
    to_event: Annotated[str | None, option("ID", "Continue with the event with this id.")] = None,
    yes: Yes = False,
) -> Status:
    """Let a group continue at another place of the stream.

    Show how many events it handles again and how many it skips, and ask for confirmation.

    Exit status: 0 after success, 1 if you answered no, 2 after an error.
    """
    if (to is None) == (to_event is None):
        raise typer.BadParameter("Specify either --to or --to-event.")
    place: Place = to_event or ""
    if to is not None:
        place = _FIRST if to == _FIRST else parse_time(to, "--to")
    change = _ask(access, stream, lambda groups: groups.preview_reset(name, place))
    found = (
        f"{name} continues at {change.sequence:,}: it handles {change.repeated:,} events again, and skips "
        f"{change.skipped:,} events that it has not handled."
    )
    if not is_confirmed(found, f"Reset {name}?", yes):
        return Status.NOT_MATCHED
    _ask(access, stream, lambda groups: groups.reset(name, change.sequence))
    return Status.MATCHED


@group.command("remove")
@exits_with_status
@with_nats
def remove(
    name: _Name,
    access: ServerAccess,
    stream: Stream = _DEFAULT,
    yes: Yes = False,
) -> Status:
    """Remove a group. Show how many events it has not handled, and ask for confirmation.

    Stop its processes before. Those that still run create the group again.

    Exit status: 0 after success, 1 if you answered no, 2 after an error.
    """
    state = _ask(access, stream, lambda groups: groups.state(name))
    found = f"{name} will not handle {state.waiting:,} waiting and {state.pending:,} pending events."
    if state.is_active:
        found += " Its processes still run, and will create it again. Stop them first."
    if not is_confirmed(found, f"Remove the group {name}?", yes):
        return Status.NOT_MATCHED
    _ask(access, stream, lambda groups: groups.remove(name))
    print_text(f"{name} removed")
    return Status.MATCHED


def _ask(access: ServerAccess, stream: str, ask: Callable[[StoredGroups], Coroutine[Any, Any, T]]) -> T:
    """Send requests about the groups of a stream."""
    from rxhub.transport.nats.groups import StoredGroups
    from rxhub.transport.nats.subjects import Subjects

    try:
        subjects = Subjects(stream)
        return query_nats(access, lambda client: ask(StoredGroups(client, subjects)))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _row(state: GroupState) -> tuple[str, ...]:
    age = None if state.oldest is None else (datetime.now(UTC) - state.oldest).total_seconds()
    return (
        state.name,
        "paused" if state.is_paused else "active" if state.is_active else "idle",
        f"{state.waiting:,}",
        f"{state.pending:,}",
        f"{state.repeated:,}",
        "" if age is None else format_duration(max(0, round(age))),
        "" if state.rate is None else f"{state.rate:,.3g}",
        "-" if state.limit is None else f"{state.limit:,}",
    )
