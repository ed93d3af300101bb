"""The command line: each command is in the module of its name."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from rxhub.cli import (
    bridge,
    dead,
    explain,
    filter,
    groups,
    keys,
    listen,
    plugins,
    publish,
    replay,
    serve,
    streams,
    user,
    work,
)
from rxhub.cli.demo.command import command as demo
from rxhub.cli.doctor.command import command as doctor
from rxhub.cli.help import Commands

__all__ = ["app"]

app = Commands(
    name="rxhub",
    help="Work with events, event servers and stored streams.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
for _name, _command in (
    ("demo", demo),
    ("filter", filter.command),
    ("explain", explain.command),
    ("keys", keys.command),
    ("listen", listen.command),
    ("publish", publish.command),
    ("replay", replay.command),
    ("plugins", plugins.command),
    ("doctor", doctor),
    ("serve", serve.command),
    ("bridge", bridge.command),
    ("work", work.command),
):
    app.command(_name)(_command)
for _name, _group in (("streams", streams.group), ("groups", groups.group), ("user", user.group), ("dead", dead.group)):
    app.add_typer(_group, name=_name)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"rxhub {version('rxhub')}")
        raise typer.Exit


@app.callback()
def rxhub(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Work with events, event servers and stored streams."""
