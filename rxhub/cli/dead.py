"""`rxhub dead`: the events that groups could not handle."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from rxhub.cli.exit_status import Status, complain, ending
from rxhub.cli.help import Commands
from rxhub.cli.nats_options import NATS_OPTIONS, Nats, NatsPassword, NatsUser, Stream, is_there
from rxhub.cli.output import say, say_json
from rxhub.cli.server_options import INTERRUPTED, connected
from rxhub.cli.units import moment
from rxhub.errors import NotFoundError
from rxhub.text.layout import format_table
from rxhub.text.printable import printable

if TYPE_CHECKING:
    from rxhub.transport.durable import DeadLetterQueue
    from rxhub.transport.nats.dead_letter import DeadLetter

__all__ = ["group"]

group = Commands(help="The events that groups of processes could not handle.", no_args_is_help=True)

_HEADINGS = ("id", "group", "topic", "died", "attempts", "reason")
# Lines of a table at most; who wants more has a pipe.
_MOST = 1_000
_LONG_AGO = timedelta(days=365_000)

_Group = Annotated[
    str | None,
    typer.Option("--group", "-g", metavar="NAME", show_default=False, help="The letters of this group alone."),
]
_Ids = Annotated[
    list[int] | None, typer.Argument(metavar="ID", show_default=False, help="Which letters, by their numbers.")
]
_All = Annotated[bool, typer.Option("--all", help="All of them, or all of --group.")]
_DEFAULT = "events"


@group.command("list")
@ending
def list_(
    nats: Nats,
    stream: Stream = _DEFAULT,
    group: _Group = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN",
            show_default=False,
            help="Only letters that died since then: 2026-03-01T12:00, how long ago (2h, 3d), or a letter's number.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON lines on a terminal too.")] = False,
    nats_user: NatsUser = None,
    nats_password: NatsPassword = None,
) -> Status:
    """Show the letters, the oldest first: a table on a terminal, JSON lines in a pipe.

    Exit status: 0 if there are letters, 1 if there are none, 2 after an error.
    """
    begin = None if since is None else moment(since, "--since")
    with _letters(nats, stream, nats_user, nats_password) as dead:
        found = (letter for letter in dead.list(group) if _is_since(letter, begin))
        shown = 0
        if json or not sys.stdout.isatty():
            for shown, letter in enumerate(found, 1):  # noqa: B007 - the number is wanted
                say_json(letter.to_json())
        else:
            rows = [_row(letter) for letter in islice(found, _MOST)]
            shown = len(rows)
            for line in format_table(_HEADINGS, rows) if rows else ():
                say(line)
            if shown == _MOST:
                say(f"there may be more than these {_MOST}; --json shows all")
    if not shown:
        complain(f"no dead letters{f' of {group}' if group else ''} in {stream}{f' since {since}' if since else ''}")
    return Status.MATCHED if shown else Status.NOT_MATCHED


@group.command("show")
@ending
def show(
    nats: Nats,
    id: Annotated[int, typer.Argument(metavar="ID", help="Which letter, by its number.")],
    stream: Stream = _DEFAULT,
    nats_user: NatsUser = None,
    nats_password: NatsPassword = None,
) -> Status:
    """Show one letter: the event, and why it died. In a pipe it is a line of JSON."""
    with _letters(nats, stream, nats_user, nats_password) as dead:
        letter = dead.get(id)
    if not sys.stdout.isatty():
        say_json(letter.to_json())
        return Status.MATCHED
    for name, cell in zip(_HEADINGS, _row(letter), strict=True):
        say(f"{name:>8}  {cell}")
    say(f"  stored  {letter.stored.isoformat(' ', 'seconds')}, as {letter.sequence} in {stream}")
    event = letter.event
    if event is None:
        say(letter.data.decode(errors="replace"))
    else:
        say_json(event.to_wire())
    say(letter.traceback)
    return Status.MATCHED


@group.command("retry")
@ending
def retry(
    nats: Nats,
    ids: _Ids = None,
    every: _All = False,
    stream: Stream = _DEFAULT,
    group: _Group = None,
    nats_user: NatsUser = None,
    nats_password: NatsPassword = None,
) -> Status:
    """Let the groups handle letters again, as if they had just been published; no other group sees them.

    Exit status: 0 if all were handed back, 1 if a letter does not exist or its group is gone, 2 after an error.
    """
    _check(ids, every, group)
    with _letters(nats, stream, nats_user, nats_password) as dead:
        return _each(ids, group, dead.retry, "to be handled again")


@group.command("drop")
@ending
def drop(
    nats: Nats,
    ids: _Ids = None,
    every: _All = False,
    stream: Stream = _DEFAULT,
    group: _Group = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --all: delete without asking.")] = False,
    nats_user: NatsUser = None,
    nats_password: NatsPassword = None,
) -> Status:
    """Delete letters for good. --all asks first; where there is no terminal to ask, it needs --yes.

    Exit status: 0 if they were deleted, 1 if a letter does not exist or you answered no, 2 after an error.
    """
    _check(ids, every, group)
    can_ask = sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()  # pyright: ignore[reportUnnecessaryComparison]
    if every and not yes and not can_ask:
        raise typer.BadParameter("Deleting all letters needs a confirmation: add --yes.", param_hint="--all")
    with _letters(nats, stream, nats_user, nats_password) as dead:
        if every and not yes:
            whose = "of all groups" if group is None else f"of {group}"
            if not typer.confirm(printable(f"Delete all dead letters {whose} in {stream}?"), err=True):
                complain("nothing was deleted")
                return Status.NOT_MATCHED
        return _each(ids, group, dead.drop, "deleted")


@contextmanager
def _letters(nats: str, stream: str, user: str | None, password: str | None) -> Generator[DeadLetterQueue]:
    if not is_there(nats, user, password, stream):
        raise typer.Exit(Status.ERROR)
    try:
        with connected(nats, user, password, stream, "--nats", NATS_OPTIONS) as hub:
            yield hub.dead_letters
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _check(ids: list[int] | None, every: bool, group: str | None) -> None:
    if bool(ids) == every:
        raise typer.BadParameter("Name letters by their numbers, or all of them by --all.")
    if ids and group is not None:
        raise typer.BadParameter("--group goes with --all; a number says which letter it is.")


def _each(ids: list[int] | None, group: str | None, act: Callable[..., int], done: str) -> Status:
    """Do it to those that were named, or to all; tell how many it was, and which are not there."""
    count, status = 0, Status.MATCHED
    for chosen in ids or ["all"]:
        try:
            count += act(chosen, group)
        except NotFoundError as error:
            complain(str(error))
            status = Status.NOT_MATCHED
    say(f"{count} {done}")
    return status


def _row(letter: DeadLetter) -> tuple[str, ...]:
    died = letter.died.astimezone().isoformat(" ", "seconds")
    return str(letter.id), letter.group, letter.topic, died, str(letter.attempts), letter.reason


def _is_since(letter: DeadLetter, begin: datetime | timedelta | int | None) -> bool:
    match begin:
        case None:
            return True
        case int():
            return letter.id >= begin
        case timedelta():
            return letter.died >= datetime.now(UTC) - min(begin, _LONG_AGO)
        case _:
            return letter.died >= begin
