"""`rxhub streams`: list the streams of events in a NATS system, and create one."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from rxhub.cli.connect import query_nats
from rxhub.cli.credentials import NATS_OPTIONS, ServerAccess, credentials
from rxhub.cli.exit_status import Status, exits_with_status
from rxhub.cli.help import Commands
from rxhub.cli.options import JsonLines, Nats, NatsPassword, NatsUser, OptionalNats, argument, option
from rxhub.cli.output import print_error, print_json, print_table, print_text
from rxhub.cli.units import format_duration, format_size, format_time, parse_duration, parse_size
from rxhub.errors import StreamError
from rxhub.transport.durable import StreamState

__all__ = ["group"]

group = Commands(invoke_without_command=True)

_STREAM_HEADINGS = ("stream", "events", "size", "from", "to", "max age", "max size", "replicas", "dead letters")
_GROUP_HEADINGS = ("group", "of stream", "waiting", "pending", "redelivered", "max pending")
_STREAM_NAME_IN_USE = 10058
"""JetStream's error code: the stream exists with a different configuration."""


@group.callback()
def list_(
    context: typer.Context,
    nats: OptionalNats = None,
    nats_user: NatsUser = None,
    nats_password: NatsPassword = None,
    json: JsonLines = False,
) -> None:
    """List the streams of events in a NATS system, and their groups.

    On a terminal, the output is tables; in a pipe, one line of JSON per stream.

    Exit status: 0 if there is a stream, 1 if there is none, 2 after an error.
    """
    if context.invoked_subcommand is None:
        if nats is None:
            raise typer.BadParameter("Specify the NATS servers, or set RXHUB_NATS.", param_hint="--nats")
        _list(credentials(nats, nats_user, nats_password, NATS_OPTIONS), json or not sys.stdout.isatty())


@exits_with_status
def _list(access: ServerAccess, as_lines: bool) -> Status:
    from rxhub.transport.nats.streams import stream_states

    states = query_nats(access, stream_states)
    if not states:
        print_error("there are no streams of events; a hub creates its stream when it connects: rxhub streams add NAME")
        return Status.NOT_MATCHED
    if as_lines:
        for state in states:
            print_json(state.to_json())
        return Status.MATCHED
    print_table(_STREAM_HEADINGS, map(_row, states))
    groups = [(group.name, state.name, *map(_number, group[1:])) for state in states for group in state.groups]
    if groups:
        print_text()
        print_table(_GROUP_HEADINGS, groups)
    return Status.MATCHED


@group.command("add")
@exits_with_status
def add(
    name: Annotated[str, argument("NAME", "Letters, digits, - and _.")],
    nats: Nats,
    replicas: Annotated[
        int | None, option("N", "Number of copies. Default: 3 if there are three servers, otherwise 1.", min=1, max=5)
    ] = None,
    max_age: Annotated[
        str | None, option("TIME", "Delete events after this time, for example 30d or 12h. Default: never.")
    ] = None,
    max_bytes: Annotated[
        str | None, option("SIZE", "Reject new events above this size, for example 10G. Default: unlimited.")
    ] = None,
    nats_user: NatsUser = None,
    nats_password: NatsPassword = None,
) -> Status:
    """Create a stream of events. An existing stream is never changed.

    Exit status: 0 if the stream exists with these limits, 2 after an error or if it exists with other limits.
    """
    from rxhub.transport.nats.reconnecting import ReconnectingClient
    from rxhub.transport.nats.streams import stream_config
    from rxhub.transport.nats.subjects import Subjects

    try:
        stream = Subjects(name).stream
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="NAME") from None
    age = 0.0 if max_age is None else parse_duration(max_age, "--max-age").total_seconds()
    size = -1 if max_bytes is None else parse_size(max_bytes, "--max-bytes")

    async def create(client: ReconnectingClient) -> None:
        config = stream_config(stream, replicas=replicas or client.replicas, max_age=age, max_bytes=size)
        await client.js_request(f"STREAM.CREATE.{stream}", config, timeout=10.0)

    try:
        query_nats(credentials(nats, nats_user, nats_password, NATS_OPTIONS), create)
    except StreamError as error:
        if error.number != _STREAM_NAME_IN_USE:
            raise
        print_error(f"the stream {stream} exists already, with other limits; it was not changed")
        return Status.ERROR
    return Status.MATCHED


def _row(state: StreamState) -> tuple[str, ...]:
    return (
        state.name,
        f"{state.messages:,}",
        format_size(state.bytes),
        format_time(state.first),
        format_time(state.last),
        format_duration(state.max_age) if state.max_age else "",
        format_size(state.max_bytes) if state.max_bytes >= 0 else "",
        f"{state.replicas}",
        f"{state.dead:,}" if state.dead else "",
    )


def _number(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"
