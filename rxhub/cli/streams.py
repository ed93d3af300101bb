"""`rxhub streams`: list, create, change, purge and remove the streams of events in a NATS system."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from rxhub.cli.confirm import Yes, is_confirmed
from rxhub.cli.connect import query_nats
from rxhub.cli.credentials import NATS_OPTIONS, ServerAccess, credentials
from rxhub.cli.exit_status import Status, exits_with_status
from rxhub.cli.help import Commands
from rxhub.cli.nats_access import with_nats
from rxhub.cli.nats_options import NatsFiles, with_nats_files
from rxhub.cli.options import JsonLines, NatsPassword, NatsUser, OptionalNats, argument, option
from rxhub.cli.output import print_error, print_json, print_table, print_text
from rxhub.cli.units import format_duration, format_size, format_time, parse_duration, parse_size, parse_time
from rxhub.errors import StreamError
from rxhub.transport.durable import Loss, StreamLimits, StreamState

if TYPE_CHECKING:
    from rxhub.transport.nats.stream_changes import StreamChanges

__all__ = ["group"]

group = Commands(invoke_without_command=True)

T = TypeVar("T")

_Name = Annotated[str, argument("NAME", "Name of the stream.")]


class _WhenFull(StrEnum):
    """What a full stream does."""

    REJECT = "reject"
    DELETE = "delete"


_STREAM_HEADINGS = (
    "stream",
    "events",
    "size",
    "from",
    "to",
    "max age",
    "max size",
    "when full",
    "replicas",
    "dead letters",
)
_GROUP_HEADINGS = ("group", "of stream", "waiting", "pending", "redelivered", "max pending")
_STREAM_NAME_IN_USE = 10058
"""JetStream's error code: the stream exists with a different configuration."""


@group.callback()
@with_nats_files
def list_(
    context: typer.Context,
    files: NatsFiles,
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
        _list(nats or "", nats_user, nats_password, files, json or not sys.stdout.isatty())


@exits_with_status
def _list(nats: str, user: str | None, password: str | None, files: NatsFiles, as_lines: bool) -> Status:
    from rxhub.transport.nats.streams import stream_states

    states = query_nats(credentials(nats, user, password, NATS_OPTIONS, files), stream_states)
    if not states:
        print_error("there are no streams of events; a hub creates its stream when it connects: rxhub streams add NAME")
        return Status.NOT_MATCHED
    if as_lines:
        for state in states:
            print_json(state.to_json())
        return Status.MATCHED
    print_table(_STREAM_HEADINGS, map(_row, states))
    groups = [(group.name, state.name, *map(_number, group[1:5])) for state in states for group in state.groups]
    if groups:
        print_text()
        print_table(_GROUP_HEADINGS, groups)
    return Status.MATCHED


@group.command("add")
@exits_with_status
@with_nats
def add(
    name: Annotated[str, argument("NAME", "Letters, digits, - and _.")],
    access: ServerAccess,
    replicas: Annotated[
        int | None, option("N", "Number of copies. Default: 3 if there are three servers, otherwise 1.", min=1, max=5)
    ] = None,
    max_age: Annotated[
        str | None, option("TIME", "Delete events after this time, for example 30d or 12h. Default: never.")
    ] = None,
    max_bytes: Annotated[
        str | None, option("SIZE", "Reject new events above this size, for example 10G. Default: unlimited.")
    ] = None,
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
        query_nats(access, create)
    except StreamError as error:
        if error.number != _STREAM_NAME_IN_USE:
            raise
        print_error(f"the stream {stream} exists already, with other limits; it was not changed")
        return Status.ERROR
    return Status.MATCHED


@group.command("set")
@exits_with_status
@with_nats
def set_limits(
    name: _Name,
    access: ServerAccess,
    max_age: Annotated[
        str | None, option("TIME", "Delete events after this time, for example 30d or 12h, or `never`.")
    ] = None,
    max_bytes: Annotated[str | None, option("SIZE", "Maximum size, for example 10G, or `unlimited`.")] = None,
    when_full: Annotated[
        _WhenFull | None, option("reject|delete", "At --max-bytes: reject new events, or delete the oldest ones.")
    ] = None,
    replicas: Annotated[int | None, option("N", "Number of copies.", min=1, max=5)] = None,
    yes: Yes = False,
) -> Status:
    """Change the limits of a stream. If this deletes events, show how many and ask for confirmation.

    Exit status: 0 after success, 1 if you answered no, 2 after an error.
    """
    limits: StreamLimits = {}
    if max_age is not None:
        limits["max_age"] = 0.0 if max_age == "never" else parse_duration(max_age, "--max-age").total_seconds()
    if max_bytes is not None:
        limits["max_bytes"] = -1 if max_bytes == "unlimited" else parse_size(max_bytes, "--max-bytes")
    if when_full is not None:
        limits["discard"] = "new" if when_full is _WhenFull.REJECT else "old"
    if replicas is not None:
        limits["replicas"] = replicas
    if not limits:
        raise typer.BadParameter("Specify at least one limit.")
    loss = _ask(access, lambda streams: streams.preview_limits(name, **limits))
    if loss.rejects:
        print_error(f"{name} contains more than {max_bytes}: it will reject new events until old ones are deleted")
    if (loss.events or loss.rejects) and not is_confirmed(_described(loss, name), f"Change {name}?", yes):
        return Status.NOT_MATCHED
    _ask(access, lambda streams: streams.set_limits(name, **limits))
    return Status.MATCHED


@group.command("purge")
@exits_with_status
@with_nats
def purge(
    name: _Name,
    access: ServerAccess,
    topic: Annotated[
        str | None, option("TOPIC", "Only events of this topic, or of all topics below: 'studio.render.*'.")
    ] = None,
    until: Annotated[
        str | None,
        option("TIME", "Only events up to 2026-03-01T12:00, a duration before now (2h, 3d), or a sequence. Included."),
    ] = None,
    yes: Yes = False,
) -> Status:
    """Delete events permanently: all, those of a topic, or those up to a sequence or time.

    Show how many, and ask for confirmation. Events that are stored in the meantime remain, also without --until.

    Exit status: 0 after success, 1 if there is nothing to delete or you answered no, 2 after an error.
    """
    end = None if until is None else parse_time(until, "--until")
    loss = _ask(access, lambda streams: streams.preview_purge(name, topic, end))
    if not loss.events:
        print_error(f"{name} contains no such events")
        return Status.NOT_MATCHED
    if not is_confirmed(_described(loss, name), "Delete these events?", yes):
        return Status.NOT_MATCHED
    count = _ask(access, lambda streams: streams.purge(name, topic, loss.last_sequence))
    print_text(f"{count:,} deleted")
    return Status.MATCHED


@group.command("remove")
@exits_with_status
@with_nats
def remove(
    name: _Name,
    access: ServerAccess,
    yes: Yes = False,
) -> Status:
    """Remove a stream permanently, with its groups and dead letters. Show what it contains, and ask for confirmation.

    Stop all hubs, processes and servers that use it before. Those that still run create it again.

    Exit status: 0 after success, 1 if you answered no, 2 after an error.
    """
    loss = _ask(access, lambda streams: streams.preview_remove(name))
    dead = f" It also deletes {loss.dead_letters:,} dead letters." if loss.dead_letters else ""
    if not is_confirmed(_described(loss, name) + dead, f"Remove the stream {name}?", yes):
        return Status.NOT_MATCHED
    _ask(access, lambda streams: streams.remove(name))
    return Status.MATCHED


def _ask(access: ServerAccess, change: Callable[[StreamChanges], Coroutine[Any, Any, T]]) -> T:
    """Send requests about a stream."""
    from rxhub.transport.nats.stream_changes import StreamChanges

    try:
        return query_nats(access, lambda client: change(StreamChanges(client)))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _described(loss: Loss, name: str) -> str:
    """What a change deletes, as a sentence."""
    about = "about " if loss.is_estimate else ""
    found = f"this deletes {about}{loss.events:,} events (about {format_size(loss.size)}) of {name}"
    if loss.events:
        found += f", stored from {format_time(loss.first)} to {format_time(loss.last)}"
    if loss.unhandled:
        found += f". These groups have not handled all of them: {', '.join(loss.unhandled)}"
    return f"{found}."


def _row(state: StreamState) -> tuple[str, ...]:
    return (
        state.name,
        f"{state.messages:,}",
        format_size(state.bytes),
        format_time(state.first),
        format_time(state.last),
        format_duration(state.max_age) if state.max_age else "",
        format_size(state.max_bytes) if state.max_bytes >= 0 else "",
        ("reject" if state.discard == "new" else "delete") if state.max_bytes >= 0 else "",
        f"{state.replicas}",
        f"{state.dead:,}" if state.dead else "",
    )


def _number(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"
