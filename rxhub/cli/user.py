"""`rxhub user`: who may connect to a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rxhub.cli.exit_status import Status, complain, ending
from rxhub.cli.help import Commands
from rxhub.text.printable import inline

__all__ = ["group"]

group = Commands(help="Who may connect to a server.", no_args_is_help=True)

_File = Annotated[Path, typer.Option("--users", metavar="FILE", help="The users file.")]
_Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="The user: api_user of a client.")]
_DEFAULT = Path("users.toml")


@group.command("add")
@ending
def add(
    name: _Name,
    users: _File = _DEFAULT,
    publish: Annotated[
        list[str] | None, typer.Option(metavar="TOPIC", help="May publish this, or PREFIX*; all without it.")
    ] = None,
    subscribe: Annotated[
        list[str] | None, typer.Option(metavar="TOPIC", help="May receive this, or PREFIX*; all without it.")
    ] = None,
    ask: Annotated[bool, typer.Option("--ask", help="Ask for a key instead of making one.")] = False,
) -> Status:
    """Add a user, and print the key: it is stored as a salted hash and can be read nowhere afterwards."""
    from rxhub.server.users import UsersFile

    given: str | None = typer.prompt("Key", hide_input=True, confirmation_prompt=True) if ask else None
    key = UsersFile(users).add(name, key=given, publish=publish, subscribe=subscribe)
    if given is None:
        typer.echo(key)
    return Status.MATCHED


@group.command("list")
@ending
def list_(users: _File = _DEFAULT) -> Status:
    """Print the users and what they may do; ends with 1 if there are none."""
    from rxhub.server.users import UsersFile

    known = UsersFile(users)
    for user in known:
        cells = (
            user.name,
            f"publish {' '.join(user.publish.patterns)}",
            f"subscribe {' '.join(user.subscribe.patterns)}",
        )
        typer.echo("\t".join(map(inline, cells)))
    if not len(known):
        complain(f"no users in {users}; `rxhub user add NAME --users {users}` adds one")
    return Status.MATCHED if len(known) else Status.NOT_MATCHED


@group.command("remove")
@ending
def remove(name: _Name, users: _File = _DEFAULT) -> Status:
    """Remove a user; a running server cuts the user off within a heartbeat."""
    from rxhub.server.users import UsersFile

    UsersFile(users).remove(name)
    return Status.MATCHED
