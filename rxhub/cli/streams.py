"""`rxhub streams`: what streams of events there are, and making one."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Annotated, cast

import typer

from rxhub.cli.exit_status import Status, complain, ending
from rxhub.cli.help import Commands
from rxhub.cli.nats_options import Nats, NatsPassword, NatsUser, asked
from rxhub.cli.output import say, say_json
from rxhub.cli.units import duration, shown_size, size
from rxhub.errors import StreamError
from rxhub.text.layout import format_table
from rxhub.transport.durable import StreamState

__all__ = ["group"]

group = Commands(invoke_without_command=True)

_STREAMS = ("stream", "events", "size", "from", "to", "kept for", "kept up to", "copies", "dead letters")
_GROUPS = ("group", "of stream", "waiting", "pending", "repeated", "at most")
_EXISTS = 10058


@group.callback()
def list_(
    context: typer.Context,
    nats: Annotated[
        str | None,
        typer.Option(
            "--nats",
            metavar="URL",
            envvar="RXHUB_NATS",
            show_default=False,
            help="nats://host, or nats://one,two,three",
        ),
    ] = None,
    nats_user: NatsUser = None,
    nats_password: NatsPassword = None,
    json: Annotated[bool, typer.Option("--json", help="JSON lines on a terminal too.")] = False,
) -> None:
    """Show the streams of events in a NATS system, and the groups that work on them.

    Tables on a terminal, in a pipe a line of JSON a stream. Ends with 0 if there is a stream, with 1 if there is none,
    and with 2 after an error.
    """
    if context.invoked_subcommand is None:
        if nats is None:
            raise typer.BadParameter("Where is NATS? Name it, or set RXHUB_NATS.", param_hint="--nats")
        _list(nats, nats_user, nats_password, json or not sys.stdout.isatty())


@ending
def _list(nats: str, user: str | None, password: str | None, as_lines: bool) -> Status:
    from rxhub.transport.nats.stream_info import stream_states

    states = asked(nats, user, password, stream_states)
    if as_lines:
        for state in states:
            say_json(_plain(state))
    elif states:
        for line in format_table(_STREAMS, [_row(state) for state in states]):
            say(line)
        groups = [(state.name, group) for state in states for group in state.groups]
        if groups:
            say()
        rows = [(group.name, name, *map(_shown, group[1:])) for name, group in groups]
        for line in format_table(_GROUPS, rows) if rows else ():
            say(line)
    if not states:
        complain("no streams of events: a hub makes its own when it connects, and `rxhub streams add` makes one")
    return Status.MATCHED if states else Status.NOT_MATCHED


def _shown(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


@group.command("add")
@ending
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="Letters, digits, - and _.")],
    nats: Nats,
    replicas: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=5,
            metavar="N",
            show_default=False,
            help="Number of copies. Default: 3 if there are three servers, else 1.",
        ),
    ] = None,
    max_age: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            show_default=False,
            help="Delete events after this time, for example 30d or 12h. Default: never.",
        ),
    ] = None,
    max_bytes: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            show_default=False,
            help="Reject new events above this size, for example 10G. Default: unlimited.",
        ),
    ] = None,
    nats_user: NatsUser = None,
    nats_password: NatsPassword = None,
) -> Status:
    """Make a stream of events; nothing changes if it is there as it should be.

    Ends with 0 if there is such a stream then, and with 2 if not: one of this name may be there with other limits.
    """
    from rxhub.transport.nats.reconnecting import ReconnectingClient
    from rxhub.transport.nats.streams import stream_config
    from rxhub.transport.nats.subjects import Subjects

    try:
        stream = Subjects(name).stream
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="NAME") from None
    age = 0.0 if max_age is None else duration(max_age, "--max-age").total_seconds()
    most = -1 if max_bytes is None else size(max_bytes, "--max-bytes")

    async def make(link: ReconnectingClient) -> None:
        wanted = stream_config(stream, replicas=replicas or link.replicas, max_age=age, max_bytes=most)
        await link.js_request(f"STREAM.CREATE.{stream}", wanted, timeout=10.0)

    try:
        asked(nats, nats_user, nats_password, make)
    except StreamError as error:
        if error.number != _EXISTS:
            raise
        complain(f"there is a stream {stream} already, with other limits; it stays as it is")
        return Status.ERROR
    return Status.MATCHED


def _row(state: StreamState) -> tuple[str, ...]:
    return (
        state.name,
        f"{state.messages:,}",
        shown_size(state.bytes),
        _time(state.first),
        _time(state.last),
        _span(state.max_age) if state.max_age else "",
        shown_size(state.max_bytes) if state.max_bytes >= 0 else "",
        f"{state.replicas}",
        f"{state.dead:,}" if state.dead else "",
    )


def _plain(state: StreamState) -> dict[str, object]:
    told = {**state._asdict(), "groups": [group._asdict() for group in state.groups]}
    return cast("dict[str, object]", told)


def _time(time: datetime | None) -> str:
    return "" if time is None else time.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _span(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * length or seconds == length:
            return f"{seconds / length:.3g}{unit}"
    return f"{seconds:g}s"
