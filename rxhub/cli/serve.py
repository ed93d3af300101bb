"""`rxhub serve`: an event server."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from rxhub.cli.status import Status, ending

__all__ = ["command"]

_PORT = 8765


@ending
def command(
    host: Annotated[
        str, typer.Option(help="Address to listen at; anything but this machine's own needs a certificate.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen at; 0 takes a free one.")] = _PORT,
    users: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Who may connect, see `rxhub user`. Without it a key is made and printed."),
    ] = None,
    certificate: Annotated[Path | None, typer.Option(metavar="PEM", help="Certificate chain, for https.")] = None,
    private_key: Annotated[
        Path | None, typer.Option(metavar="PEM", help="Its private key, if in a file of its own.")
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="A web page's origin that may connect: https://studio.example"),
    ] = None,
    plain_text: Annotated[
        bool, typer.Option("--plain-text", help="Send keys and events over a network without TLS.")
    ] = False,
    heartbeat: Annotated[float, typer.Option(min=0.1, max=3_600, help="Seconds between two heartbeats.")] = 10.0,
    drop: Annotated[
        bool,
        typer.Option("--drop", help="Drop the oldest events of a client that does not read, instead of the client."),
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tell of every connection.")] = False,
) -> Status:
    """Serve events to ftrack's clients and to rxhub's, until Ctrl-C."""
    # Loaded here: no other command waits for a web server to be imported.
    from rxhub.errors import UsersError
    from rxhub.server import SlowConsumer, User, Users, UsersFile, serve
    from rxhub.server.keys import new_key

    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    if verbose:
        logging.getLogger("rxhub.server").setLevel(logging.INFO)
    printed: list[str] = []
    if users is None:
        key = new_key()
        known = Users([User.with_key("rxhub", key)])
        printed = [
            "api_user  rxhub",
            f"api_key   {key}",
            "Another key is made at the next start; `rxhub user add` makes one that lasts.",
        ]
    else:
        known = UsersFile(users)
        if not len(known):
            raise UsersError(f"There are no users in {users}: `rxhub user add NAME --users {users}` makes one.")

    def tell(url: str) -> None:
        typer.echo("\n".join([f"server    {url}", *printed]))

    serve(
        known,
        host=host,
        port=port,
        certificate=certificate,
        private_key=private_key,
        plain_text=plain_text,
        origins=origin or (),
        heartbeat=heartbeat,
        heartbeat_timeout=3 * heartbeat,
        slow_consumer=SlowConsumer.DROP if drop else SlowConsumer.DISCONNECT,
        on_start=tell,
    )
    return Status.MATCHED
