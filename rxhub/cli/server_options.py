"""Which server a command talks to, and as whom: the same options everywhere, and ftrack's own variables."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from logging import LogRecord, getLogger
from typing import Annotated

import typer

from rxhub import EventHub
from rxhub.cli.credentials import SERVER_OPTIONS, Options, credentials
from rxhub.hub.lifetime import UNHANDLED

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
        help="User name; goes with --key. Without both, and without a user in the URL: FTRACK_API_USER and "
        "FTRACK_API_KEY for http(s), RXHUB_NATS_USER and RXHUB_NATS_PASSWORD for nats.",
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="KEY",
        show_default=False,
        help="API key or password of --user. Prefer the variables: other users can see a command line.",
    ),
]
Stream = Annotated[
    str | None,
    typer.Option("--stream", metavar="NAME", show_default=False, help="Stream at nats://. Default: events."),
]


@contextmanager
def connected(
    server: str,
    user: str | None,
    key: str | None,
    stream: str | None = None,
    hint: str = "--server",
    options: Options = SERVER_OPTIONS,
) -> Generator[EventHub]:
    """A hub for the time of a command, connected and handled in the background.

    Args:
        server: its URL.
        user: who connects, by an option.
        key: the user's, by an option; `credentials` completes both.
        stream: of `nats://`.
        hint: which options are to blame for what cannot be an address.
        options: the names of the options for user and key.

    Raises:
        HubConnectionError: if the server cannot be reached, or does not let us in.
    """
    access = credentials(server, user, key, options)
    try:
        # What is not printed yet holds the server up, instead of being dropped or filling the memory.
        hub = EventHub(*access, overflow="block", inbox=1_000, stream=stream)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=hint) from None
    with _quiet_end(), hub:
        if not hub.connected:
            hub.connect()
        with hub.start():
            yield hub


@contextmanager
def _quiet_end() -> Generator[None]:
    """Leave out that events were not handled when the hub was closed: a command ends in the middle of a stream."""

    def is_news(record: LogRecord) -> bool:
        return record.msg != UNHANDLED

    logger = getLogger("rxhub")
    logger.addFilter(is_news)
    try:
        yield
    finally:
        logger.removeFilter(is_news)
