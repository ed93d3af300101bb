"""Which NATS system a command talks to, and in which stream: the same options everywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from rxhub.transport.nats.link import Link

__all__ = ["Nats", "NatsPassword", "NatsUser", "Stream", "asked"]

T = TypeVar("T")

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
        "--nats-user", metavar="NAME", envvar="RXHUB_NATS_USER", show_default=False, help="Who connects to NATS."
    ),
]
NatsPassword = Annotated[
    str | None,
    typer.Option(
        "--nats-password",
        metavar="PASSWORD",
        envvar="RXHUB_NATS_PASSWORD",
        show_default=False,
        show_envvar=True,
        help="With what. Better given by the variable, or in the URL in RXHUB_NATS: others can see a command line.",
    ),
]
Stream = Annotated[str, typer.Option("--stream", metavar="NAME", help="The stream that holds the events.")]


def asked(url: str, user: str | None, password: str | None, question: Callable[[Link], Awaitable[T]]) -> T:
    """Connect, ask, and hang up; no stream is made for it, as a hub would do.

    Raises:
        HubConnectionError: if no server can be reached, or there is no answer.
        StreamError: if what was asked for is refused.
    """
    from rxhub.transport.nats.address import Address
    from rxhub.transport.nats.link import Link

    async def ask() -> T:
        link = Link(address, "rxhub command")
        await link.start()
        try:
            return await question(link)
        finally:
            await link.close()

    try:
        address = Address.parse(url, user, password)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--nats") from None
    return asyncio.run(ask())
