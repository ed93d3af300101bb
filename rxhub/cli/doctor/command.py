"""`rxhub doctor`: check the environment and the servers, and print a remedy for each problem."""

from __future__ import annotations

from itertools import chain

import typer

from rxhub.cli.credentials import NATS_OPTIONS, ServerAccess, credentials, names_servers
from rxhub.cli.doctor.diagnosis import Verdict, note
from rxhub.cli.doctor.environment import environment
from rxhub.cli.doctor.nats import check_nats
from rxhub.cli.doctor.server import check_server
from rxhub.cli.exit_status import Status, exits_with_status
from rxhub.cli.nats_options import NO_FILES, NatsFiles, with_nats_files
from rxhub.cli.options import Key, Nats, NatsPassword, NatsUser, Server, Stream, User
from rxhub.text.printable import inline
from rxhub.transport.nats.address import SCHEMES

__all__ = ["command"]

_COLOURS = {Verdict.OK: "green", Verdict.NOTE: "yellow", Verdict.PROBLEM: "red"}
_WIDTH = len(Verdict.PROBLEM.value)


@exits_with_status
@with_nats_files
def command(
    files: NatsFiles,
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
    is_nats = server.partition("://")[0].lower() in SCHEMES
    checks = [environment()]
    access = ServerAccess(server)
    if server:
        access = credentials(server, user, key, files=files if is_nats else NO_FILES)
    if is_nats:
        checks.append(check_nats(access, "--user and --key, or RXHUB_NATS_USER and RXHUB_NATS_PASSWORD", stream))
    elif server:
        checks.append(check_server(*access))
    if nats or (names_servers(files) and not is_nats):
        options = "--nats-user and --nats-password, or RXHUB_NATS_USER and RXHUB_NATS_PASSWORD"
        checks.append(check_nats(credentials(nats, nats_user, nats_password, NATS_OPTIONS, files), options, stream))
    if len(checks) == 1:
        checks.append(iter([note("no server was checked", "Use --server or FTRACK_SERVER, --nats or RXHUB_NATS.")]))
    problems = 0
    for verdict, found, remedy in chain.from_iterable(checks):
        typer.echo(f"{typer.style(verdict.value.ljust(_WIDTH), fg=_COLOURS[verdict])}  {inline(found)}")
        if remedy:
            typer.echo(f"{' ' * _WIDTH}  {inline(remedy)}")
        problems += verdict is Verdict.PROBLEM
    return Status.FAILED if problems else Status.MATCHED
