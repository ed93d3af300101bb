"""`rxhub bridge`: store the events of an ftrack server in a stream of NATS JetStream."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Annotated

import typer

from rxhub import EventHub
from rxhub.bridge import Bridge, Counts
from rxhub.cli.credentials import NATS_OPTIONS, credentials
from rxhub.cli.exit_status import Status, exits_with_status
from rxhub.cli.nats_options import NatsFiles, with_nats_files
from rxhub.cli.options import Key, NatsPassword, NatsUser, Stream, User, argument, option
from rxhub.cli.output import log_to_stderr, print_error
from rxhub.concurrency.shutdown import on_shutdown_signal
from rxhub.text.printable import inline

__all__ = ["command"]

_DRAIN_TIMEOUT_S = 10.0
_CLOSE_TIMEOUT_S = 1.0
_REPORT_INTERVAL_S = 60.0
_POLL_INTERVAL_S = 0.25
# Events that the server sends while the bridge is busy. If the inbox is full, the bridge reads no more for a moment.
_INBOX_EVENTS = 10_000
# Room in the outbox for gap markers, in addition to --buffer.
_OUTBOX_MARKERS = 100

logger = logging.getLogger("rxhub.bridge")


@exits_with_status
@with_nats_files
def command(
    source: Annotated[str, argument("SERVER", "Server, for example https://studio.example.", envvar="FTRACK_SERVER")],
    target: Annotated[
        str,
        argument(
            "NATS",
            "NATS servers, for example nats://host or nats://one,two,three.",
            envvar="RXHUB_NATS",
            show_default=False,
        ),
    ] = "",
    *,
    files: NatsFiles,
    stream: Stream = "events",
    subscription: Annotated[str, option("SUBSCRIPTION", "Events to store.")] = "topic=*",
    user: User = None,
    key: Key = None,
    nats_user: NatsUser = None,
    nats_password: NatsPassword = None,
    name: Annotated[str | None, option("NAME", "Name of this bridge in gap markers. Default: the host name.")] = None,
    buffer: Annotated[
        int, option("N", "Maximum number of events to buffer while NATS is unavailable.", min=1)
    ] = 50_000,
    metrics: Annotated[
        str | None,
        option(
            "PORT",
            "Port for /metrics, which Prometheus reads, or ADDRESS:PORT. Without an address, only this machine can "
            "connect.",
        ),
    ] = None,
) -> Status:
    """Store the events of a server in a stream, until Ctrl-C or SIGTERM. If the stream does not exist, create it.

    Each event is stored once, even if several bridges run. Where events may be missing because the bridge or the server
    was unavailable, the bridge stores a gap marker: an event with the topic rxhub.bridge.gap. After a lost connection
    to either side, it reconnects.

    Exit status: 0 after SIGTERM and 130 after Ctrl-C if all events were stored, 1 if some were not stored within ten
    seconds, 2 if the server or NATS is unreachable at the start or rejects the credentials.
    """
    source_access = credentials(source, user, key)
    target_access = credentials(target, nats_user, nats_password, NATS_OPTIONS, files)
    if metrics is not None:
        _serve_metrics(metrics)
    try:
        bridge = Bridge(
            EventHub(*source_access, overflow="block", inbox=_INBOX_EVENTS),
            EventHub(*target_access, stream=stream, outbox=buffer + _OUTBOX_MARKERS),
            subscription,
            name=name,
            buffer=buffer,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    with bridge.target, bridge.source:
        bridge.target.connect()
        bridge.source.connect()
        title = f"{bridge.source.get_server_url()} → {stream} at {bridge.target.get_server_url()}"
        try:
            counts, signal_number = _run(bridge, title)
        except BaseException:
            bridge.target.close(0)
            raise
        bridge.target.close(_CLOSE_TIMEOUT_S)
    print_error(f"ended: {bridge.counts}")
    # Closing the hub may have stored more events.
    left = counts.waiting - (bridge.counts.stored - counts.stored)
    if left:
        print_error(
            f"NATS did not acknowledge {left:,} events in time, so they may be missing. The next bridge stores a gap "
            "marker."
        )
        return Status.FAILED
    return Status.INTERRUPTED if signal_number == signal.SIGINT else Status.MATCHED


def _serve_metrics(text: str) -> None:
    """Count from now on, and answer Prometheus until the end of the process."""
    from rxhub.telemetry.metrics import enable
    from rxhub.worker.endpoint import HttpEndpoint, metrics_route, parse_address

    try:
        address = parse_address(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--metrics") from None
    enable()
    HttpEndpoint(*address, metrics_route())


def _run(bridge: Bridge, title: str) -> tuple[Counts, int]:
    """Bridge until a signal arrives; return the counts and the number of the signal. A second signal exits at once."""
    show = _status_line if sys.stderr.isatty() else _log_lines
    with on_shutdown_signal(lambda: None) as watch, bridge.source.start(), show(bridge, title) as update, bridge:
        assert watch is not None, "commands run in the main thread"
        while not watch.received:
            update()
            sleep(_POLL_INTERVAL_S)
        counts = bridge.close(_DRAIN_TIMEOUT_S)
        update()
    return counts, watch.received


@contextmanager
def _log_lines(bridge: Bridge, title: str) -> Generator[Callable[[], None]]:
    """Log events of the bridge, and the counts once a minute if they changed."""
    log_to_stderr("%(asctime)s %(levelname)s %(name)s: %(message)s")
    logger.setLevel(logging.INFO)
    logger.info("%s (%s)", title, bridge.subscription)
    last, due = bridge.counts, monotonic() + _REPORT_INTERVAL_S

    def update() -> None:
        nonlocal last, due
        if monotonic() > due:
            due = monotonic() + _REPORT_INTERVAL_S
            if (counts := bridge.counts) != last:
                last = counts
                logger.info("%s", counts)

    yield update


@contextmanager
def _status_line(bridge: Bridge, title: str) -> Generator[Callable[[], None]]:
    """Show one line with the current counts, below the log messages."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(stderr=True)
    with Live(console=console, auto_refresh=False) as live:
        # Here, because rich has replaced stderr to print messages above the line.
        log_to_stderr("%(asctime)s %(levelname)s: %(message)s")
        logger.setLevel(logging.INFO)

        def update() -> None:
            lost = [side for side, hub in (("server", bridge.source), ("NATS", bridge.target)) if not hub.connected]
            state = f" · reconnecting to {' and '.join(lost)}" if lost else ""
            text = inline(f"{title} · {bridge.counts}{state} · Ctrl-C to exit")
            live.update(Text(text, overflow="ellipsis"), refresh=True)

        yield update
