"""`rxhub doctor`: check the environment and the servers, and print a remedy for each problem."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import typer

from rxhub.cli.credentials import NATS_OPTIONS, credentials
from rxhub.cli.doctor.diagnosis import Finding, Verdict
from rxhub.cli.doctor.environment import environment
from rxhub.cli.doctor.nats import NatsLogin, check_nats
from rxhub.cli.doctor.server import check_server
from rxhub.cli.exit_status import Status, exits_with_status
from rxhub.cli.options import Key, Nats, NatsPassword, NatsUser, Server, Stream, User
from rxhub.text.printable import inline
from rxhub.transport.nats.address import SCHEMES

__all__ = ["command"]

_COLOURS = {Verdict.OK: "green", Verdict.NOTE: "yellow", Verdict.PROBLEM: "red"}
_WIDTH = max(len(verdict.value) for verdict in Verdict)
_NO_SERVER = Finding(Verdict.NOTE, "no server was checked", "Use --server or FTRACK_SERVER, --nats or RXHUB_NATS.")


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
    """Check versions and extras, and the connection, key and clock of a server or a NATS system.

    For NATS, also check JetStream, and whether the stream exists or can be created. The checks change nothing.

    Exit status: 0 without problems, 1 if there is a problem, 2 after an error.
    """
    problems = 0
    for finding in chain(
        environment(),
        _server(server, user, key, stream),
        _nats(nats, nats_user, nats_password, stream),
        () if server or nats else (_NO_SERVER,),
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
        yield from check_nats(url, NatsLogin(user, key, options), stream)
    elif url:
        yield from check_server(url, user, key)


def _nats(url: str, user: str | None, password: str | None, stream: str) -> Iterator[Finding]:
    if url:
        options = "--nats-user and --nats-password, RXHUB_NATS_USER and RXHUB_NATS_PASSWORD"
        url, user, password = credentials(url, user, password, NATS_OPTIONS)
        yield from check_nats(url, NatsLogin(user, password, options), stream)
