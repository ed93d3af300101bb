"""`rxhub doctor`: whether all that rxhub needs is there, and what to do where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import typer

from rxhub.cli.credentials import NATS_OPTIONS, credentials
from rxhub.cli.doctor.diagnosis import Finding, Verdict
from rxhub.cli.doctor.environment import environment
from rxhub.cli.doctor.nats import Credentials, system
from rxhub.cli.doctor.server import server
from rxhub.cli.exit_status import Status, exits_with_status
from rxhub.cli.options import Key, Nats, NatsPassword, NatsUser, Server, Stream, User
from rxhub.text.printable import inline
from rxhub.transport.nats.address import SCHEMES

__all__ = ["command"]

_COLOURS = {Verdict.OK: "green", Verdict.NOTE: "yellow", Verdict.PROBLEM: "red"}
_WIDTH = max(len(verdict.value) for verdict in Verdict)
_NOBODY = Finding(
    Verdict.NOTE, "no server was looked for", "Name one: --server, or FTRACK_SERVER; --nats, or RXHUB_NATS."
)


@exits_with_status
def command(
    server: Server = "",
    user: User = None,
    key: Key = None,
    nats: Nats = "",
    nats_user: NatsUser = None,
    nats_password: NatsPassword = None,
    stream: Stream = "events",
) -> Status:
    """Check versions and extras; whether a server can be reached, takes the key, and has the same time; and NATS.

    Of a NATS system: whether each of its servers can be reached and lets us in, whether it has JetStream, and whether
    the stream is there, or may be made. Nothing is made or changed.

    Ends with 0 if there is no problem, with 1 if there is one, and with 2 after an error.
    """
    problems = 0
    for finding in chain(
        environment(),
        _server(server, user, key, stream),
        _nats(nats, nats_user, nats_password, stream),
        () if server or nats else (_NOBODY,),
    ):
        verdict = finding.verdict
        typer.echo(f"{typer.style(verdict.value.ljust(_WIDTH), fg=_COLOURS[verdict])}  {inline(finding.found)}")
        if finding.remedy:
            typer.echo(f"{' ' * _WIDTH}  {inline(finding.remedy)}")
        problems += verdict is Verdict.PROBLEM
    return Status.FAILED if problems else Status.MATCHED


def _server(url: str, user: str | None, key: str | None, stream: str) -> Iterator[Finding]:
    url, user, key = credentials(url, user, key)
    if url.partition("://")[0].lower() in SCHEMES:
        options = "--user and --key, or RXHUB_NATS_USER and RXHUB_NATS_PASSWORD"
        yield from system(url, Credentials(user, key, options), stream)
    elif url:
        yield from server(url, user, key)


def _nats(url: str, user: str | None, password: str | None, stream: str) -> Iterator[Finding]:
    if url:
        options = "--nats-user and --nats-password, RXHUB_NATS_USER and RXHUB_NATS_PASSWORD"
        url, user, password = credentials(url, user, password, NATS_OPTIONS)
        yield from system(url, Credentials(user, password, options), stream)
