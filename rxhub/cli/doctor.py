"""`rxhub doctor`: whether all that rxhub needs is there, and what to do where it is not."""

from __future__ import annotations

from collections.abc import Iterator

import typer

from rxhub.cli.doctor_environment import environment
from rxhub.cli.doctor_server import server
from rxhub.cli.finding import Finding, Verdict
from rxhub.cli.server import Key, Server, User
from rxhub.cli.status import Status, ending

__all__ = ["command"]

_COLOURS = {Verdict.OK: "green", Verdict.NOTE: "yellow", Verdict.PROBLEM: "red"}
_WIDTH = max(len(verdict.value) for verdict in Verdict)


@ending
def command(
    server: Server = "",
    user: User = None,
    key: Key = None,
) -> Status:
    """Check versions, extras, and whether a server can be reached, takes the key, and has the same time.

    Ends with 0 if there is no problem, with 1 if there is one, and with 2 after an error.
    """
    problems = 0
    for finding in _findings(server, user, key):
        verdict = finding.verdict
        typer.echo(f"{typer.style(verdict.value.ljust(_WIDTH), fg=_COLOURS[verdict])}  {_printable(finding.found)}")
        if finding.remedy:
            typer.echo(f"{' ' * _WIDTH}  {_printable(finding.remedy)}")
        problems += verdict is Verdict.PROBLEM
    return Status.FAILED if problems else Status.MATCHED


def _findings(url: str, user: str | None, key: str | None) -> Iterator[Finding]:
    yield from environment()
    if url:
        yield from server(url, user, key)
    else:
        yield Finding(Verdict.NOTE, "no server was looked for", "Name one: --server, or FTRACK_SERVER.")


def _printable(text: str) -> str:
    """What a server says may hold what a terminal would obey."""
    return "".join([character if character.isprintable() else " " for character in text])
