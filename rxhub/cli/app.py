"""The commands, gathered: each lives in the module of its name."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from rxhub.cli import (
    bridge,
    dead,
    explain,
    filter,
    listen,
    plugins,
    publish,
    replay,
    serve,
    streams,
    user,
)
from rxhub.cli.demo.command import command as demo
from rxhub.cli.doctor.command import command as doctor
from rxhub.cli.help import Commands

__all__ = ["app"]

app = Commands(
    name="rxhub",
    help="A reactive event hub, at a terminal.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.command("demo")(demo)
app.command("filter")(filter.command)
app.command("explain")(explain.command)
app.command("listen")(listen.command)
app.command("publish")(publish.command)
app.command("replay")(replay.command)
app.command("plugins")(plugins.command)
app.command("doctor")(doctor)
app.command("serve")(serve.command)
app.command("bridge")(bridge.command)
app.add_typer(streams.group, name="streams")
app.add_typer(user.group, name="user")
app.add_typer(dead.group, name="dead")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rxhub {version('rxhub')}")
        raise typer.Exit


@app.callback()
def rxhub(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """A reactive event hub, at a terminal."""
