"""A server, and the commands beside it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager

from rxhub import Event, EventHub
from rxhub.server import Running
from tests.cli.terminal import COMMAND
from tests.threads import LIMIT, until

__all__ = ["ENV", "listening", "peer", "variables"]

ENV = ("FTRACK_SERVER", "FTRACK_API_USER", "FTRACK_API_KEY")


def variables(server: Running) -> dict[str, str]:
    return {**os.environ, **dict(zip(ENV, (server.url, server.api_user, server.api_key), strict=True))}


@contextmanager
def peer(server: Running) -> Generator[EventHub]:
    """Another hub on the server, once that knows of its subscriber to replies."""
    with EventHub(server.url, server.api_user, server.api_key) as hub, hub.start():
        hub.connect()
        hub.publish(Event("settled")).result(LIMIT)
        yield hub


@contextmanager
def listening(server: Running, *arguments: str) -> Generator[subprocess.Popen[bytes]]:
    """`rxhub listen`, once the server knows of it."""
    # Not the subscriptions that there are: those of the tests before may just be leaving.
    before = server.stats["events_received"]
    process = subprocess.Popen(
        [*COMMAND, "listen", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=variables(server)
    )
    try:
        # The hub's own subscriber to replies, and the one of the command.
        until(lambda: server.stats["events_received"] >= before + 2 or process.poll() is not None)
        yield process
    finally:
        process.kill()
        process.communicate()
