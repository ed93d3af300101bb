"""Which NATS system a command talks to, and in which stream: the same options everywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from rxhub.cli.credentials import Options, credentials
from rxhub.cli.exit_status import complain
from rxhub.errors import StreamError

if TYPE_CHECKING:
    from rxhub.transport.nats.reconnecting import ReconnectingClient
    from rxhub.transport.nats.streams import JetStreamApi

__all__ = ["NATS_OPTIONS", "Nats", "NatsPassword", "NatsUser", "Stream", "asked", "is_there"]

T = TypeVar("T")

NATS_OPTIONS = Options("--nats-user", "--nats-password")

Nats = Annotated[
    str,
    typer.Option(
        "--nats",
        metavar="URL",
        envvar="RXHUB_NATS",
        show_default=False,
        help="nats://host, or nats://one,two,three",
    ),
]
NatsUser = Annotated[
    str | None,
    typer.Option(
        "--nats-user",
        metavar="NAME",
        show_default=False,
        help="User name for NATS; goes with --nats-password. Without both, and without a user in the URL: "
        "RXHUB_NATS_USER and RXHUB_NATS_PASSWORD.",
    ),
]
NatsPassword = Annotated[
    str | None,
    typer.Option(
        "--nats-password",
        metavar="PASSWORD",
        show_default=False,
        help="Password of --nats-user. Prefer the variables: other users can see a command line.",
    ),
]
Stream = Annotated[str, typer.Option("--stream", metavar="NAME", help="The stream that holds the events.")]


def asked(
    url: str, user: str | None, password: str | None, question: Callable[[ReconnectingClient], Awaitable[T]]
) -> T:
    """Connect, ask, and hang up; no stream is made for it, as a hub would do.

    Raises:
        HubConnectionError: if no server can be reached, or there is no answer.
        StreamError: if what was asked for is refused.
    """
    from rxhub.transport.nats.address import Address
    from rxhub.transport.nats.reconnecting import ReconnectingClient

    async def ask() -> T:
        link = ReconnectingClient(address, "rxhub command")
        await link.start()
        try:
            return await question(link)
        finally:
            await link.close()

    access = credentials(url, user, password, NATS_OPTIONS)
    try:
        address = Address.parse(*access)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--nats") from None
    return asyncio.run(ask())


def is_there(url: str, user: str | None, password: str | None, stream: str) -> bool:
    """Whether there is such a stream, which a hub would make; if not, tell which there are."""
    try:
        names = asked(url, user, password, lambda link: _names(link, stream))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--stream") from None
    if names is not None:
        there = f"There are: {', '.join(names)}." if names else "There is none of events at all."
        complain(f"there is no stream {stream} at {url.rpartition('@')[2]}. {there}")
    return names is None


async def _names(asking: JetStreamApi, stream: str) -> list[str] | None:
    """The names of the streams that there are; None if this one is among them."""
    from rxhub.transport.nats.stream_info import stream_states
    from rxhub.transport.nats.streams import NO_STREAM
    from rxhub.transport.nats.subjects import Subjects

    try:
        await asking.js_request(f"STREAM.INFO.{Subjects(stream).stream}")
    except StreamError as error:
        if error.number != NO_STREAM:
            raise
        return [state.name for state in await stream_states(asking)]
    return None
