"""`rxhub serve`: run an event server."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from rxhub.cli.credentials import NATS_OPTIONS, ServerAccess, credentials, names_servers
from rxhub.cli.exit_status import Status, exits_with_status
from rxhub.cli.nats_options import NatsFiles, with_nats_files
from rxhub.cli.options import NatsPassword, NatsUser, OptionalNats, Stream, flag, option
from rxhub.cli.output import log_to_stderr, print_text
from rxhub.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rxhub.server import Backplane

__all__ = ["command"]


@exits_with_status
@with_nats_files
def command(
    context: typer.Context,
    files: NatsFiles,
    host: Annotated[
        str,
        option("ADDRESS", "Address to listen on. Other machines can connect only with --certificate or --plain-text."),
    ] = "127.0.0.1",
    port: Annotated[int, option("PORT", "Port to listen on. 0 selects a free port.", min=0, max=65_535)] = 8765,
    users: Annotated[
        Path | None, option("FILE", "Users file, see `rxhub user`. Default: generate and print a temporary key.")
    ] = None,
    certificate: Annotated[Path | None, option("PEM", "Certificate chain for https.")] = None,
    private_key: Annotated[Path | None, option("PEM", "Private key, if it is not in the certificate file.")] = None,
    origin: Annotated[
        list[str] | None,
        option("URL", "Origin of web pages that may connect, for example https://studio.example. Repeatable."),
    ] = None,
    plain_text: Annotated[bool, flag("Allow other machines to connect without TLS.", "--plain-text")] = False,
    trusted_proxy: Annotated[
        list[str] | None,
        option(
            "ADDRESS",
            "Address or network of a proxy whose X-Forwarded-For and X-Forwarded-Proto are trusted, for example "
            "127.0.0.1. Repeatable.",
        ),
    ] = None,
    webhooks: Annotated[Path | None, option("FILE", "TOML file with incoming webhooks, for POST /hooks/NAME.")] = None,
    heartbeat: Annotated[float, option("SECONDS", "Time between heartbeats.", min=0.1, max=3_600)] = 10.0,
    drop: Annotated[
        bool, flag("Drop the oldest events of slow clients, instead of disconnecting them.", "--drop")
    ] = False,
    nats: OptionalNats = None,
    nats_user: NatsUser = None,
    nats_password: NatsPassword = None,
    store: Annotated[Path | None, option("DIR", "Store events in this directory, with a private NATS server.")] = None,
    stream: Stream = "events",
    demo: Annotated[bool, flag("Publish sample events of a studio. Not with --users.", "--demo")] = False,
    verbose: Annotated[bool, flag("Log every connection.", "--verbose", "-v")] = False,
) -> Status:
    """Run an event server for hubs, ftrack's clients and HTTP, with a console for browsers, until Ctrl-C.

    With --nats or --store, events are stored. All servers with the same --nats and --stream act as one.
    """
    # Imported here, so that other commands do not import a web server.
    from rxhub.cli.demo.on_server import ServedDemo
    from rxhub.errors import UsersError
    from rxhub.server import SlowConsumer, User, Users, UsersFile, serve
    from rxhub.server.authentication import Credentials
    from rxhub.server.forwarded import trusted_networks
    from rxhub.server.key_hash import new_key
    from rxhub.server.request_auth import is_loopback

    if demo and users is not None:
        raise typer.BadParameter("The demo has its own user. Omit --users.", param_hint="--demo, --users")
    try:
        trusted_networks(trusted_proxy or ())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--trusted-proxy") from None
    log_to_stderr("%(asctime)s %(levelname)s %(name)s: %(message)s")
    if verbose:
        logging.getLogger("rxhub.server").setLevel(logging.INFO)
    exports: dict[str, str] = {}
    notes: list[str] = []
    sign_in: Credentials | None = None
    key = new_key()
    if users is None:
        known = Users([User.with_key("rxhub", key, is_admin=True)])
        exports = {"FTRACK_API_USER": "rxhub", "FTRACK_API_KEY": key}
        notes.append("This key is valid until the server stops. `rxhub user add` creates a permanent one.")
        # Not with a users file: anyone who can read the log could sign in as one of its permanent users.
        sign_in = Credentials("rxhub", new_key()) if is_loopback(host) else None
    else:
        known = UsersFile(users)
        if not len(known):
            raise UsersError(f"There are no users in {users}. Add one: rxhub user add NAME --users {users}")

    def print_start(url: str) -> None:
        # Valid shell code: pasted unchanged, the lines configure rxhub and ftrack's clients.
        variables = {"FTRACK_SERVER": _client_url(url), **exports}
        lines = [f"export {name}={quote(value)}" for name, value in variables.items()]
        lines.append(f"# Serving at {url} until Ctrl-C. To connect, paste the lines above into another shell.")
        if not exports:
            lines.append(f"# Set FTRACK_API_USER and FTRACK_API_KEY to a user in {users} and its key.")
        console = f"Console in a browser: {_client_url(url)}/"
        lines += [f"# {note}" for note in (*notes, console if sign_in is None else f"{console}#token={sign_in.key}")]
        print_text("\n".join(lines))
        if studio is not None:
            studio.start(_client_url(url))

    with ExitStack() as stack:
        backplane: Backplane | None = None
        access: ServerAccess | None = None
        if store is not None:
            # --store overrides RXHUB_NATS, but contradicts --nats.
            source = context.get_parameter_source("nats")
            if source is not None and source.name == "COMMANDLINE":
                raise typer.BadParameter(
                    "Events are stored in one place. Give only one of these options.", param_hint="--nats, --store"
                )
            from rxhub.embedded import store as private_server

            server = stack.enter_context(private_server(store))
            backplane = _backplane(server.url, server.user, server.password, stream, lambda: server.trouble, store)
            if users is None:
                exports["RXHUB_NATS"] = server.url.replace("://", f"://{server.user}:{server.password}@")
                notes.append(f"RXHUB_NATS configures rxhub replay, streams and dead; use them with --stream {stream}.")
            access = ServerAccess(server.url, server.user, server.password)
        elif nats is not None or names_servers(files):
            access = credentials(nats or "", nats_user, nats_password, NATS_OPTIONS, files)
            backplane = _backplane(*access, stream)
        studio = stack.enter_context(ServedDemo("rxhub", key, access, stream)) if demo else None
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
            webhooks=webhooks,
            sign_in=sign_in,
            on_start=print_start,
        )
    return Status.MATCHED


def _backplane(
    url: str,
    user: str | None,
    password: str | None,
    stream: str,
    store_trouble: Callable[[], str] | None = None,
    store_directory: Path | None = None,
) -> Backplane:
    try:
        from rxhub.server import Backplane

        return Backplane(url, user, password, stream, store_trouble=store_trouble, store_directory=store_directory)
    except ModuleNotFoundError as error:
        raise StoreError(str(error)) from None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--nats, --stream") from None


def _client_url(url: str) -> str:
    """Return the URL for clients on this machine if the server listens on all addresses."""
    return url.replace("://0.0.0.0", "://127.0.0.1").replace("://[::]", "://[::1]")
