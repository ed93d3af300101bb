"""Options and arguments that several commands share."""

from __future__ import annotations

from typing import Annotated

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
]

_NATS = typer.Option(
    "--nats", metavar="URL", envvar="RXHUB_NATS", help="NATS servers, for example nats://host or nats://one,two,three."
)

Subscription = Annotated[
    str, typer.Argument(metavar="SUBSCRIPTION", help="Subscription, for example 'topic=ftrack.*'.")
]
Server = Annotated[
    str,
    typer.Option(
        "--server",
        "-s",
        metavar="URL",
        envvar="FTRACK_SERVER",
        help="Server, for example https://studio.example or nats://one,two,three.",
    ),
]
User = Annotated[
    str | None,
    typer.Option(
        "--user",
        "-u",
        metavar="NAME",
        help="User name. Requires --key. Default: the user in the URL, otherwise FTRACK_API_USER and FTRACK_API_KEY "
        "for http(s), RXHUB_NATS_USER and RXHUB_NATS_PASSWORD for nats.",
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="KEY",
        help="API key or password of --user. Other users can see a command line; prefer the variables.",
    ),
]
ServerStream = Annotated[
    str | None, typer.Option("--stream", metavar="NAME", help="Stream, for nats:// only. Default: events.")
]
Nats = Annotated[str, _NATS]
OptionalNats = Annotated[str | None, _NATS]
NatsUser = Annotated[
    str | None,
    typer.Option(
        "--nats-user",
        metavar="NAME",
        help="NATS user name. Requires --nats-password. Default: the user in the URL, otherwise RXHUB_NATS_USER and "
        "RXHUB_NATS_PASSWORD.",
    ),
]
NatsPassword = Annotated[
    str | None,
    typer.Option(
        "--nats-password",
        metavar="PASSWORD",
        help="Password of --nats-user. Other users can see a command line; prefer the variables.",
    ),
]
Stream = Annotated[str, typer.Option("--stream", metavar="NAME", help="Stream that stores the events.")]
DialectOption = Annotated[
    Dialect,
    typer.Option("--dialect", metavar="rxhub|ftrack", help="Meaning of *. ftrack: as in ftrack's Python client."),
]
JsonLines = Annotated[bool, typer.Option("--json", help="Print JSON lines on a terminal too.")]
Plain = Annotated[
    bool, typer.Option("--plain", help="Print without colours and frames. Default if stdout is not a terminal.")
]
WithPosition = Annotated[
    bool,
    typer.Option(
        "--with-position",
        help="Print JSON lines with a field `position`: the sequence in the stream, and the time. To resume: "
        "rxhub replay --since SEQUENCE+1.",
    ),
]
