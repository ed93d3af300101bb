"""`rxhub dead`: list, show, retry and drop dead letters."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from rxhub.cli.confirm import can_ask
from rxhub.cli.connect import open_hub, stream_exists
from rxhub.cli.credentials import ServerAccess
from rxhub.cli.exit_status import Status, exits_with_status
from rxhub.cli.help import Commands
from rxhub.cli.nats_access import with_nats
from rxhub.cli.options import JsonLines, Stream, argument, flag, option
from rxhub.cli.output import print_error, print_json, print_table, print_text
from rxhub.cli.units import parse_time
from rxhub.errors import NotFoundError
from rxhub.text.printable import printable

if TYPE_CHECKING:
    from rxhub.transport.durable import DeadLetterQueue
    from rxhub.transport.nats.dead_letter import DeadLetter

__all__ = ["group"]

group = Commands(help="Manage dead letters: events that a group of processes could not handle.", no_args_is_help=True)

_HEADINGS = ("id", "group", "topic", "died", "attempts", "reason")
_MAX_TABLE_ROWS = 1_000

_Group = Annotated[str | None, option("NAME", "Only dead letters of this group.", "--group", "-g")]
_Ids = Annotated[list[int] | None, argument("ID", "Numbers of dead letters.")]
_All = Annotated[bool, flag("All dead letters, or all of --group.", "--all")]
_DEFAULT = "events"


@group.command("list")
@exits_with_status
@with_nats
def list_(
    access: ServerAccess,
    stream: Stream = _DEFAULT,
    group: _Group = None,
    since: Annotated[
        str | None,
        option("TIME", "Only dead letters since 2026-03-01T12:00, a duration before now (2h, 3d), or a number."),
    ] = None,
    json: JsonLines = False,
) -> Status:
    """List the dead letters, oldest first: a table on a terminal, JSON lines in a pipe.

    Exit status: 0 if there are dead letters, 1 if there are none, 2 after an error.
    """
    begin = None if since is None else parse_time(since, "--since")
    with _letters(access, stream) as dead:
        found = (letter for letter in dead.list(group) if begin is None or letter.is_since(begin))
        shown = 0
        if json or not sys.stdout.isatty():
            for shown, letter in enumerate(found, 1):  # noqa: B007 - used below
                print_json(letter.to_json())
        else:
            rows = [_row(letter) for letter in islice(found, _MAX_TABLE_ROWS)]
            shown = len(rows)
            if rows:
                print_table(_HEADINGS, rows)
            if shown == _MAX_TABLE_ROWS:
                print_text(f"only the first {_MAX_TABLE_ROWS:,} are shown; --json shows all")
    if not shown:
        print_error(f"no dead letters{f' of {group}' if group else ''} in {stream}{f' since {since}' if since else ''}")
    return Status.MATCHED if shown else Status.NOT_MATCHED


@group.command("show")
@exits_with_status
@with_nats
def show(
    access: ServerAccess,
    id: Annotated[int, argument("ID", "Number of the dead letter.")],
    stream: Stream = _DEFAULT,
) -> Status:
    """Show one dead letter: the event and the traceback. In a pipe, print a line of JSON."""
    with _letters(access, stream) as dead:
        letter = dead.get(id)
    if not sys.stdout.isatty():
        print_json(letter.to_json())
        return Status.MATCHED
    for name, cell in zip(_HEADINGS, _row(letter), strict=True):
        print_text(f"{name:>8}  {cell}")
    print_text(f"  stored  {letter.stored.isoformat(' ', 'seconds')}, as {letter.sequence} in {stream}")
    if letter.event is None:
        print_text(letter.data.decode(errors="replace"))
    else:
        print_json(letter.event.to_wire())
    print_text(letter.traceback)
    return Status.MATCHED


@group.command("retry")
@exits_with_status
@with_nats
def retry(
    access: ServerAccess,
    ids: _Ids = None,
    all_: _All = False,
    stream: Stream = _DEFAULT,
    group: _Group = None,
) -> Status:
    """Deliver dead letters to their groups again, as new events. Other groups do not receive them.

    Exit status: 0 after success, 1 if a dead letter or its group does not exist, 2 after an error.
    """
    _check_arguments(ids, all_, group)
    with _letters(access, stream) as dead:
        return _apply(ids, group, dead.retry, "delivered again")


@group.command("drop")
@exits_with_status
@with_nats
def drop(
    access: ServerAccess,
    ids: _Ids = None,
    all_: _All = False,
    stream: Stream = _DEFAULT,
    group: _Group = None,
    yes: Annotated[bool, flag("With --all: do not ask for confirmation.", "--yes", "-y")] = False,
) -> Status:
    """Delete dead letters permanently. --all asks for confirmation; without a terminal, it requires --yes.

    Exit status: 0 after success, 1 if a dead letter does not exist or you answered no, 2 after an error.
    """
    _check_arguments(ids, all_, group)
    if all_ and not yes and not can_ask():
        raise typer.BadParameter("Deleting all dead letters requires a confirmation. Add --yes.", param_hint="--all")
    with _letters(access, stream) as dead:
        if all_ and not yes:
            whose = "of all groups" if group is None else f"of {group}"
            if not typer.confirm(printable(f"Delete all dead letters {whose} in {stream}?"), err=True):
                print_error("nothing was deleted")
                return Status.NOT_MATCHED
        return _apply(ids, group, dead.drop, "deleted")


@contextmanager
def _letters(access: ServerAccess, stream: str) -> Generator[DeadLetterQueue]:
    if not stream_exists(access, stream):
        raise typer.Exit(Status.ERROR)
    with open_hub(access, stream, "--nats") as hub:
        yield hub.dead_letters


def _check_arguments(ids: list[int] | None, all_: bool, group: str | None) -> None:
    if bool(ids) == all_:
        raise typer.BadParameter("Specify the numbers of dead letters, or --all.")
    if ids and group is not None:
        raise typer.BadParameter("--group requires --all. A number already identifies one dead letter.")


def _apply(ids: list[int] | None, group: str | None, act: Callable[..., int], done: str) -> Status:
    """Retry or drop the dead letters, and report the number and those that do not exist."""
    count, status = 0, Status.MATCHED
    for chosen in ids or ["all"]:
        try:
            count += act(chosen, group)
        except NotFoundError as error:
            print_error(str(error))
            status = Status.NOT_MATCHED
    print_text(f"{count} {done}")
    return status


def _row(letter: DeadLetter) -> tuple[str, ...]:
    died = letter.died.astimezone().isoformat(" ", "seconds")
    return str(letter.id), letter.group, letter.topic, died, str(letter.attempts), letter.reason
