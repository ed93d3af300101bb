"""Which server a command talks to, and as whom: the same options everywhere, and ftrack's own variables."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated

import typer

from rxhub import EventHub
from rxhub.cli.credentials import credentials

__all__ = ["INTERRUPTED", "Key", "Server", "Stream", "User", "connected"]

INTERRUPTED = 130
"""What a shell reports of a program that SIGINT ended (128 + 2)."""

Server = Annotated[
    str,
    typer.Option(
        "--server",
        "-s",
        metavar="URL",
        envvar="FTRACK_SERVER",
        show_default=False,
        help="https://studio.example, or nats://one,two,three",
    ),
]
User = Annotated[
    str | None,
    typer.Option(
        "--user",
        "-u",
        metavar="NAME",
        show_default=False,
        help="User name. Default for http(s): FTRACK_API_USER; for nats: RXHUB_NATS_USER, unless the URL has one.",
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="KEY",
        show_default=False,
        help="API key or password. Default for http(s): FTRACK_API_KEY; for nats: RXHUB_NATS_PASSWORD, unless the URL "
        "has one. Prefer the variable: other users can see a command line.",
    ),
]
Stream = Annotated[
    str | None,
    typer.Option("--stream", metavar="NAME", show_default=False, help="Stream at nats://. Default: events."),
]


@contextmanager
def connected(
    server: str, user: str | None, key: str | None, stream: str | None = None, hint: str = "--server"
) -> Generator[EventHub]:
    """A hub for the time of a command, connected and handled in the background.

    Args:
        server: its URL.
        user: who connects, by an option.
        key: the user's, by an option; `credentials` completes both.
        stream: of `nats://`.
        hint: which options are to blame for what cannot be an address.

    Raises:
        HubConnectionError: if the server cannot be reached, or does not let us in.
    """
    user, key = credentials(server, user, key)
    try:
        # What is not printed yet holds the server up, instead of being dropped or filling the memory.
        hub = EventHub(server, user, key, overflow="block", inbox=1_000, stream=stream)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=hint) from None
    with hub:
        if not hub.connected:
            hub.connect()
        with hub.start():
            yield hub
