"""`rxhub dead`: the events that groups could not handle."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from rxhub.cli.nats import Nats, NatsPassword, NatsUser, Stream, is_there
from rxhub.cli.server import INTERRUPTED, connected
from rxhub.cli.status import Status, complain, ending
from rxhub.columns import columns
from rxhub.errors import NotFoundError
from rxhub.transport.payload import write_json

if TYPE_CHECKING:
    from rxhub.transport.nats.dead import DeadLetters
    from rxhub.transport.nats.letter import DeadLetter

__all__ = ["group"]

group = typer.Typer(help="The events that groups of processes could not handle.", no_args_is_help=True)

_HEADINGS = ("id", "group", "topic", "died", "attempts", "reason")
# Lines of a table at most; who wants more has a pipe.
_MOST = 1_000

_Group = Annotated[
    str | None,
    typer.Option("--group", "-g", metavar="NAME", show_default=False, help="The letters of this group alone."),
]
_Ids = Annotated[
    list[int] | None, typer.Argument(metavar="[ID]...", show_default=False, help="Which letters, by their numbers.")
]
_All = Annotated[bool, typer.Option("--all", help="All of them, or all of --group.")]
_DEFAULT = "events"


@group.command("list")
@ending
def list_(
    nats: Nats,
    stream: Stream = _DEFAULT,
    group: _Group = None,
    nats_user: NatsUser = None,
    nats_password: NatsPassword = None,
) -> Status:
    """Show the letters, the oldest first: a table on a terminal, JSON lines in a pipe.

    Ends with 1 if there are none.
    """
    with _letters(nats, stream, nats_user, nats_password) as dead:
        found = dead.list(group)
        if not sys.stdout.isatty():
            status = Status.NOT_MATCHED
            for letter in found:
                status = Status.MATCHED
                sys.stdout.write(write_json(letter.to_json()) + "\n")
            return status
        rows = [_row(letter) for letter in islice(found, _MOST)]
        if not rows:
            typer.echo("there are no dead letters" if group is None else f"there are no dead letters of {group}")
            return Status.NOT_MATCHED
        for line in columns(_HEADINGS, rows):
            typer.echo(line)
        if len(rows) == _MOST:
            typer.echo(f"there may be more than these {_MOST}; a pipe shows all")
        return Status.MATCHED


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
        sys.stdout.write(write_json(letter.to_json()) + "\n")
        return Status.MATCHED
    for name, cell in zip(_HEADINGS, _row(letter), strict=True):
        typer.echo(f"{name:>8}  {_printable(cell)}")
    typer.echo(f"  stored  {letter.stored.isoformat(' ', 'seconds')}, as {letter.sequence} in {stream}")
    event = letter.event
    typer.echo(_printable(letter.data.decode(errors="replace") if event is None else write_json(event.to_wire())))
    typer.echo(_printable(letter.traceback))
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

    Ends with 1 if a letter is not there, or its group is gone.
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
    nats_user: NatsUser = None,
    nats_password: NatsPassword = None,
) -> Status:
    """Delete letters for good. On a terminal, --all asks first.

    Ends with 1 if a letter is not there.
    """
    _check(ids, every, group)
    with _letters(nats, stream, nats_user, nats_password) as dead:
        if every and sys.stdin.isatty() and sys.stdout.isatty():
            whose = "of all groups" if group is None else f"of {group}"
            if not typer.confirm(f"Delete all dead letters {whose} in {stream}?"):
                return Status.NOT_MATCHED
        return _each(ids, group, dead.drop, "deleted")


@contextmanager
def _letters(nats: str, stream: str, user: str | None, password: str | None) -> Generator[DeadLetters]:
    if not is_there(nats, user, password, stream):
        raise typer.Exit(Status.ERROR)
    try:
        with connected(nats, user, password, stream, hint="--nats") as hub:
            yield hub.dead
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
    typer.echo(f"{count} {done}")
    return status


def _row(letter: DeadLetter) -> tuple[str, ...]:
    died = letter.died.astimezone().isoformat(" ", "seconds")
    return str(letter.id), letter.group, letter.topic, died, str(letter.attempts), letter.reason


def _printable(text: str) -> str:
    """Without control characters but line breaks: what strangers publish might move the cursor, or worse."""
    return "".join(c if c.isprintable() or c == "\n" else "·" for c in text)
