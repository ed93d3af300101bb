"""`rxhub serve`: an event server."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from rxhub.cli.credentials import credentials
from rxhub.cli.exit_status import Status, ending
from rxhub.cli.nats_options import NATS_OPTIONS, NatsPassword, NatsUser
from rxhub.cli.output import log_to_stderr, say
from rxhub.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rxhub.embedded import PrivateServer
    from rxhub.server import Backplane

__all__ = ["command"]

_PORT = 8765


@ending
def command(
    context: typer.Context,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Address to listen on. Other machines can connect only with --certificate or --plain-text.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65_535, metavar="PORT", help="Port to listen on. 0 selects a free port.")
    ] = _PORT,
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
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="Proxy, or network of proxies, whose X-Forwarded-For and X-Forwarded-Proto are believed: 127.0.0.1. "
            "Repeat it for several. Default: none.",
        ),
    ] = None,
    heartbeat: Annotated[
        float, typer.Option(min=0.1, max=3_600, metavar="SECONDS", help="Time between heartbeats.")
    ] = 10.0,
    drop: Annotated[
        bool,
        typer.Option("--drop", help="Drop the oldest events of a client that does not read, instead of the client."),
    ] = False,
    nats: Annotated[
        str | None,
        typer.Option(
            "--nats",
            metavar="URL",
            envvar="RXHUB_NATS",
            show_default=False,
            help="Store events in NATS, and act as one server with all others that do: nats://host:4222,host2:4222",
        ),
    ] = None,
    nats_user: NatsUser = None,
    nats_password: NatsPassword = None,
    store: Annotated[
        Path | None,
        typer.Option("--store", metavar="DIR", help="Store events in a directory, by a NATS server of our own."),
    ] = None,
    stream: Annotated[str, typer.Option(metavar="NAME", help="The stream that events are stored in.")] = "events",
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tell of every connection.")] = False,
) -> Status:
    """Serve events to ftrack's clients and to rxhub's, until Ctrl-C."""
    # Loaded here: no other command waits for a web server to be imported.
    from rxhub.errors import UsersError
    from rxhub.server import SlowConsumer, User, Users, UsersFile, serve
    from rxhub.server.forwarded import trusted_networks
    from rxhub.server.key_hash import new_key

    try:
        trusted_networks(trusted_proxy or ())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--trusted-proxy") from None
    log_to_stderr("%(asctime)s %(levelname)s %(name)s: %(message)s")
    if verbose:
        logging.getLogger("rxhub.server").setLevel(logging.INFO)
    exports: dict[str, str] = {}
    notes: list[str] = []
    if users is None:
        key = new_key()
        known = Users([User.with_key("rxhub", key)])
        exports = {"FTRACK_API_USER": "rxhub", "FTRACK_API_KEY": key}
        notes.append("This key is valid until the server stops. `rxhub user add` makes one that stays valid.")
    else:
        known = UsersFile(users)
        if not len(known):
            raise UsersError(f"There are no users in {users}: `rxhub user add NAME --users {users}` makes one.")

    def tell(url: str) -> None:
        # A shell understands all lines: copied as they are, they configure rxhub and ftrack's own clients.
        variables = {"FTRACK_SERVER": _reachable(url), **exports}
        lines = [f"export {name}={quote(value)}" for name, value in variables.items()]
        lines.append(f"# Serving at {url} until Ctrl-C. To connect, paste the lines above into another shell.")
        if not exports:
            lines.append(f"# Set FTRACK_API_USER and FTRACK_API_KEY to a user of {users} and the key of that user.")
        say("\n".join([*lines, *(f"# {note}" for note in notes)]))

    with ExitStack() as stack:
        backplane: Backplane | None = None
        if store is not None:
            # An environment may name the servers of a studio; who names a directory means that.
            source = context.get_parameter_source("nats")
            if source is not None and source.name == "COMMANDLINE":
                raise typer.BadParameter(
                    "give one of them: events are stored in one place.", param_hint="--nats, --store"
                )
            server = stack.enter_context(_store(store))
            backplane = _backplane(server.url, server.user, server.password, stream, lambda: server.trouble)
            if users is None:
                exports["RXHUB_NATS"] = server.url.replace("://", f"://{server.user}:{server.password}@")
                notes.append(f"RXHUB_NATS is for rxhub replay, streams and dead, with --stream {stream}.")
        elif nats is not None:
            backplane = _backplane(*credentials(nats, nats_user, nats_password, NATS_OPTIONS), stream)
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
            backplane=backplane,
            trusted_proxies=trusted_proxy or (),
            on_start=tell,
        )
    return Status.MATCHED


def _backplane(
    url: str,
    user: str | None,
    password: str | None,
    stream: str,
    store_trouble: Callable[[], str] | None = None,
) -> Backplane:
    try:
        from rxhub.server import Backplane

        return Backplane(url, user, password, stream, store_trouble=store_trouble)
    except ModuleNotFoundError as error:
        raise StoreError(str(error)) from None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--nats, --stream") from None


def _reachable(url: str) -> str:
    """The address for clients on this machine, where the server listens on all addresses."""
    return url.replace("://0.0.0.0", "://127.0.0.1").replace("://[::]", "://[::1]")


def _store(directory: Path) -> AbstractContextManager[PrivateServer]:
    from rxhub.embedded import store

    return store(directory)
