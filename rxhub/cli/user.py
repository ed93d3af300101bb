"""`rxhub user`: manage the users of a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rxhub.cli.exit_status import Status, exits_with_status
from rxhub.cli.help import Commands
from rxhub.cli.options import argument, flag, option
from rxhub.cli.output import print_error
from rxhub.text.printable import inline

__all__ = ["group"]

group = Commands(help="Manage the users of a server.", no_args_is_help=True)

_File = Annotated[Path, option("FILE", "Users file.", "--users")]
_Name = Annotated[str, argument("NAME", "User name, the api_user of a client.")]
_DEFAULT = Path("users.toml")


@group.command("add")
@exits_with_status
def add(
    name: _Name,
    users: _File = _DEFAULT,
    publish: Annotated[
        list[str] | None, option("TOPIC", "Topic, or PREFIX*, that the user may publish. Repeatable. Default: all.")
    ] = None,
    subscribe: Annotated[
        list[str] | None, option("TOPIC", "Topic, or PREFIX*, that the user may receive. Repeatable. Default: all.")
    ] = None,
    admin: Annotated[
        bool, flag("Let the user see and disconnect all clients, and manage dead letters.", "--admin")
    ] = False,
    ask: Annotated[bool, flag("Prompt for a key instead of generating one.", "--ask")] = False,
) -> Status:
    """Add a user and print the key. The file stores only a salted hash, so the key cannot be shown again."""
    from rxhub.server.users import UsersFile

    given: str | None = typer.prompt("Key", hide_input=True, confirmation_prompt=True) if ask else None
    key = UsersFile(users).add(name, key=given, publish=publish, subscribe=subscribe, admin=admin)
    if given is None:
        typer.echo(key)
    return Status.MATCHED


@group.command("list")
@exits_with_status
def list_(users: _File = _DEFAULT) -> Status:
    """Print the users and their permissions. Exit status: 1 if there are none."""
    from rxhub.server.users import UsersFile

    known = UsersFile(users)
    for user in known:
        cells = (
            user.name,
            f"publish {' '.join(user.publish.patterns)}",
            f"subscribe {' '.join(user.subscribe.patterns)}",
            *(["admin"] if user.is_admin else []),
        )
        typer.echo("\t".join(map(inline, cells)))
    if not len(known):
        print_error(f"no users in {users}; `rxhub user add NAME --users {users}` adds one")
    return Status.MATCHED if len(known) else Status.NOT_MATCHED


@group.command("remove")
@exits_with_status
def remove(name: _Name, users: _File = _DEFAULT) -> Status:
    """Remove a user. A running server disconnects the user within one heartbeat."""
    from rxhub.server.users import UsersFile

    UsersFile(users).remove(name)
    return Status.MATCHED
