"""`rxhub bridge`: the events of an ftrack server into a stream of NATS JetStream."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Annotated, Self

import typer

from rxhub import EventHub
from rxhub.bridge import Bridge, Counts
from rxhub.cli.credentials import credentials
from rxhub.cli.exit_status import Status, complain, ending
from rxhub.cli.nats_options import NATS_OPTIONS, NatsPassword, NatsUser
from rxhub.cli.output import log_to_stderr
from rxhub.cli.server_options import INTERRUPTED, Key, User
from rxhub.text.printable import inline

__all__ = ["command"]

_GRACE = 10.0
_FAREWELL = 1.0
_REPORT = 60.0
_TICK = 0.25
# What the server sends while the bridge is busy; then it is not read, for a moment.
_INBOX = 10_000
# The outbox has room for markers beside what the bridge lets wait.
_MARKERS = 100

logger = logging.getLogger("rxhub.bridge")


@ending
def command(
    source: Annotated[
        str,
        typer.Argument(metavar="SERVER", envvar="FTRACK_SERVER", show_default=False, help="https://studio.example"),
    ],
    target: Annotated[
        str,
        typer.Argument(metavar="NATS", envvar="RXHUB_NATS", show_default=False, help="nats://host[:port][,host…]"),
    ],
    stream: Annotated[str, typer.Option(metavar="NAME", help="Where to store; made if it is not there.")] = "events",
    subscription: Annotated[str, typer.Option(metavar="SUBSCRIPTION", help="Which events.")] = "topic=*",
    user: User = None,
    key: Key = None,
    nats_user: NatsUser = None,
    nats_password: NatsPassword = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", show_default=False, help="Which bridge it is, in its markers; that of the machine."
        ),
    ] = None,
    buffer: Annotated[
        int, typer.Option(min=1, metavar="N", help="How many events may wait while NATS is away.")
    ] = 50_000,
) -> Status:
    """Store the events of a server in a stream, as they come, until Ctrl-C or SIGTERM.

    Each event is stored once, however many bridges there are. Where events may be missing, since the bridge or the
    server was away, the stream has a marker: an event of topic rxhub.bridge.gap. A lost connection is made again, to
    either side.

    Ends with 0 after SIGTERM and 130 after Ctrl-C, once what was read is stored; with 1 if after ten seconds some of it
    is not; with 2 if one of the two cannot be reached at the start, or does not let us in.
    """
    source_access = credentials(source, user, key)
    target_access = credentials(target, nats_user, nats_password, NATS_OPTIONS)
    try:
        bridge = Bridge(
            EventHub(*source_access, overflow="block", inbox=_INBOX),
            EventHub(*target_access, stream=stream, outbox=buffer + _MARKERS),
            subscription,
            name=name,
            buffer=buffer,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    try:
        with bridge.target, bridge.source:
            bridge.target.connect()
            bridge.source.connect()
            way = f"{bridge.source.get_server_url()} → {stream} at {bridge.target.get_server_url()}"
            try:
                counts, by = _run(bridge, way)
            except BaseException:
                bridge.target.close(0)
                raise
            bridge.target.close(_FAREWELL)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    complain(f"ended: {bridge.counts}")
    # Closing the hub has stored some more, perhaps.
    left = counts.waiting - (bridge.counts.stored - counts.stored)
    if left:
        complain(
            f"{left:,} events were read, and NATS has not confirmed in time that they are stored. The marker of the "
            "next bridge that starts tells of the gap."
        )
        return Status.FAILED
    if by == signal.SIGINT:
        raise typer.Exit(INTERRUPTED)
    return Status.MATCHED


def _run(bridge: Bridge, way: str) -> tuple[Counts, int]:
    """Bridge until a signal comes: what became of the events, and the signal."""
    show = _in_a_line if sys.stderr.isatty() else _in_a_log
    with _Signals() as signals, bridge.source.start(), show(bridge, way) as shown, bridge:
        while not signals.came:
            shown()
            sleep(_TICK)
        counts = bridge.close(_GRACE)
        shown()
    return counts, signals.came


class _Signals:
    """SIGINT and SIGTERM ask for the end; a second one does not wait for it.

    Attributes:
        came: the first that came; 0 before.
    """

    def __init__(self) -> None:
        self.came = 0

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: object) -> None:
        # No more than this: what is interrupted may hold any lock.
        self.came = number
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def _in_a_log(bridge: Bridge, way: str) -> Generator[Callable[[], None]]:
    """Lines for a service's log: what happens, and how it stands once a minute if that has changed."""
    log_to_stderr("%(asctime)s %(levelname)s %(name)s: %(message)s")
    logger.setLevel(logging.INFO)
    logger.info("%s (%s)", way, bridge.subscription)
    last, due = bridge.counts, monotonic() + _REPORT

    def shown() -> None:
        nonlocal last, due
        if monotonic() > due:
            due = monotonic() + _REPORT
            if (counts := bridge.counts) != last:
                last = counts
                logger.info("%s", counts)

    yield shown


@contextmanager
def _in_a_line(bridge: Bridge, way: str) -> Generator[Callable[[], None]]:
    """One line that changes, below what happens."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(stderr=True)
    with Live(console=console, auto_refresh=False) as live:
        # Made here, where stderr is what makes room for the line.
        log_to_stderr("%(asctime)s %(levelname)s: %(message)s")
        logger.setLevel(logging.INFO)

        def shown() -> None:
            away = [end for end, hub in (("server", bridge.source), ("NATS", bridge.target)) if not hub.connected]
            state = f" · {' and '.join(away)} away, connecting again" if away else ""
            live.update(
                Text(inline(f"{way} · {bridge.counts}{state} · Ctrl-C ends"), overflow="ellipsis"), refresh=True
            )

        yield shown
