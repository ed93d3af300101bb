"""`rxhub dead`: the events that groups could not handle."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from rxhub.cli.server import INTERRUPTED, Key, User, connected
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

_Nats = Annotated[
    str,
    typer.Option(
        "--nats",
        metavar="URL",
        envvar="RXHUB_NATS",
        show_default=False,
        help="nats://host:4222, or nats://one,two,three",
    ),
]
_Stream = Annotated[str, typer.Option("--stream", metavar="NAME", help="The stream of the events.")]
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
def list_(nats: _Nats, stream: _Stream = _DEFAULT, group: _Group = None, user: User = None, key: Key = None) -> Status:
    """Show the letters, the oldest first: a table on a terminal, JSON lines in a pipe.

    Ends with 1 if there are none.
    """
    with _letters(nats, stream, user, key) as dead:
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
    nats: _Nats,
    id: Annotated[int, typer.Argument(metavar="ID", help="Which letter, by its number.")],
    stream: _Stream = _DEFAULT,
    user: User = None,
    key: Key = None,
) -> Status:
    """Show one letter: the event, and why it died. In a pipe it is a line of JSON."""
    with _letters(nats, stream, user, key) as dead:
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
    nats: _Nats,
    ids: _Ids = None,
    every: _All = False,
    stream: _Stream = _DEFAULT,
    group: _Group = None,
    user: User = None,
    key: Key = None,
) -> Status:
    """Let the groups handle letters again, as if they had just been published; no other group sees them.

    Ends with 1 if a letter is not there, or its group is gone.
    """
    with _letters(nats, stream, user, key) as dead:
        return _each(ids, every, group, dead.retry, "to be handled again")


@group.command("drop")
@ending
def drop(
    nats: _Nats,
    ids: _Ids = None,
    every: _All = False,
    stream: _Stream = _DEFAULT,
    group: _Group = None,
    user: User = None,
    key: Key = None,
) -> Status:
    """Delete letters for good. On a terminal, --all asks first.

    Ends with 1 if a letter is not there.
    """
    with _letters(nats, stream, user, key) as dead:
        if every and not ids and sys.stdin.isatty() and sys.stdout.isatty():
            whose = "of all groups" if group is None else f"of {group}"
            if not typer.confirm(f"Delete all dead letters {whose} in {stream}?"):
                return Status.NOT_MATCHED
        return _each(ids, every, group, dead.drop, "deleted")


@contextmanager
def _letters(nats: str, stream: str, user: str | None, key: str | None) -> Generator[DeadLetters]:
    if not nats.startswith(("nats://", "tls://")):
        raise typer.BadParameter(f"{nats!r} is no NATS server, such as nats://host:4222.", param_hint="--nats")
    try:
        with connected(nats, user, key, stream, hint="--nats or --stream") as hub:
            yield hub.dead
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _each(ids: list[int] | None, every: bool, group: str | None, act: Callable[..., int], done: str) -> Status:
    """Do it to those that were named, or to all; tell how many it was, and which are not there."""
    if bool(ids) == every:
        raise typer.BadParameter("Name letters by their numbers, or all of them by --all.")
    if ids and group is not None:
        raise typer.BadParameter("--group goes with --all; a number says which letter it is.")
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
