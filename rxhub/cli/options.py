"""Options and arguments that several commands share."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from rxhub.expression import Dialect

__all__ = [
    "DialectOption",
    "JsonLines",
    "Key",
    "Nats",
    "NatsPassword",
    "NatsUser",
    "OptionalNats",
    "Plain",
    "Server",
    "ServerStream",
    "Stream",
    "Subscription",
    "User",
    "WithPosition",
    "argument",
    "flag",
    "option",
]


def option(metavar: str, help: str, *names: str, **settings: Any) -> Any:
    """Declare an option with a value. Its name is that of the parameter, unless names are given."""
    return typer.Option(*names, metavar=metavar, help=help, **settings)


def argument(metavar: str, help: str, **settings: Any) -> Any:
    """Declare an argument."""
    return typer.Argument(metavar=metavar, help=help, **settings)


def flag(help: str, *names: str, **settings: Any) -> Any:
    """Declare an option without a value."""
    return typer.Option(*names, help=help, **settings)


_NATS = option("URL", "NATS servers, for example nats://host or nats://one,two,three.", envvar="RXHUB_NATS")

Subscription = Annotated[str, argument("SUBSCRIPTION", "Subscription, for example 'topic=ftrack.*'.")]
Server = Annotated[
    str,
    option(
        "URL",
        "Server, for example https://studio.example or nats://one,two,three.",
        "--server",
        "-s",
        envvar="FTRACK_SERVER",
    ),
]
User = Annotated[
    str | None,
    option(
        "NAME",
        "User name. Requires --key. Default: the user in the URL, otherwise FTRACK_API_USER and FTRACK_API_KEY for "
        "http(s), RXHUB_NATS_USER and RXHUB_NATS_PASSWORD for nats.",
        "--user",
        "-u",
    ),
]
Key = Annotated[
    str | None,
    option("KEY", "API key or password of --user. Other users can see a command line; prefer the variables."),
]
ServerStream = Annotated[str | None, option("NAME", "Stream, for nats:// only. Default: events.")]
Nats = Annotated[str, _NATS]
OptionalNats = Annotated[str | None, _NATS]
NatsUser = Annotated[
    str | None,
    option(
        "NAME",
        "NATS user name. Requires --nats-password. Default: the user in the URL, otherwise RXHUB_NATS_USER and "
        "RXHUB_NATS_PASSWORD.",
    ),
]
NatsPassword = Annotated[
    str | None, option("PASSWORD", "Password of --nats-user. Other users can see a command line; prefer the variables.")
]
Stream = Annotated[str, option("NAME", "Stream that stores the events.")]
DialectOption = Annotated[Dialect, option("rxhub|ftrack", "Meaning of *. ftrack: as in ftrack's Python client.")]
JsonLines = Annotated[bool, flag("Print JSON lines on a terminal too.", "--json")]
Plain = Annotated[bool, flag("Print without colours and frames. Default if stdout is not a terminal.", "--plain")]
WithPosition = Annotated[
    bool,
    flag(
        "Print JSON lines with a field `position`: the sequence in the stream, and the time. To resume: rxhub replay "
        "--since SEQUENCE+1.",
        "--with-position",
    ),
]
