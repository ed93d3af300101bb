"""Connect a command to a server, or send requests to JetStream."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from logging import LogRecord, getLogger
from typing import TYPE_CHECKING, TypeVar

import typer

from rxhub import EventHub
from rxhub.cli.credentials import ServerAccess
from rxhub.cli.output import print_error
from rxhub.errors import StreamError
from rxhub.hub.lifetime import UNHANDLED

if TYPE_CHECKING:
    from rxhub.transport.nats.reconnecting import ReconnectingClient

__all__ = ["open_hub", "query_nats", "stream_exists"]

T = TypeVar("T")


@contextmanager
def open_hub(access: ServerAccess, stream: str | None = None, hint: str = "--server") -> Generator[EventHub]:
    """Yield a hub that is connected and handled in the background; `hint` is the option for the address."""
    try:
        # Backpressure: the server waits while the command prints, instead of dropped events or growing memory.
        hub = EventHub(*access, overflow="block", inbox=1_000, stream=stream)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=hint) from None
    # A command usually ends in the middle of a stream, so it does not warn about unhandled events.
    logger = getLogger("rxhub")
    logger.addFilter(_is_other_record)
    try:
        with hub:
            if not hub.connected:
                hub.connect()
            with hub.start():
                yield hub
    finally:
        logger.removeFilter(_is_other_record)


def _is_other_record(record: LogRecord) -> bool:
    return record.msg != UNHANDLED


def query_nats(access: ServerAccess, query: Callable[[ReconnectingClient], Awaitable[T]]) -> T:
    """Connect to NATS, run one query and disconnect. A hub would create its stream; this does not."""
    from rxhub.transport.nats.options import NatsOptions
    from rxhub.transport.nats.reconnecting import ReconnectingClient

    async def run() -> T:
        client = ReconnectingClient(address, "rxhub command")
        await client.start()
        try:
            return await query(client)
        finally:
            await client.close()

    try:
        address = NatsOptions(*access)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--nats") from None
    return asyncio.run(run())


def stream_exists(access: ServerAccess, stream: str) -> bool:
    """Return whether a stream exists. If not, print the names of the existing streams to stderr."""
    from rxhub.transport.nats.streams import NO_STREAM, stream_states
    from rxhub.transport.nats.subjects import Subjects

    async def other_streams(client: ReconnectingClient) -> list[str] | None:
        try:
            await client.js_request(f"STREAM.INFO.{Subjects(stream).stream}")
        except StreamError as error:
            if error.number != NO_STREAM:
                raise
            return [state.name for state in await stream_states(client)]
        return None

    try:
        others = query_nats(access, other_streams)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--stream") from None
    if others is not None:
        existing = f"Existing streams: {', '.join(others)}." if others else "There are no streams of events."
        print_error(f"there is no stream {stream} at {access.url}. {existing}")
    return others is None
