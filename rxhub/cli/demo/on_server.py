"""`rxhub serve --demo`: the studio as a client of the server, and a group of processes if the server stores events."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from threading import Event as Flag
from threading import Thread
from typing import Self

from rxhub import Event, EventHub, sample_events
from rxhub.cli.credentials import ServerAccess
from rxhub.cli.demo.studio import play, studio
from rxhub.errors import RxHubError

__all__ = ["ServedDemo"]

_PACE_S = 0.4
_STOP_TIMEOUT_S = 5.0
_CLOSE_TIMEOUT_S = 0.2

_logger = logging.getLogger("rxhub.demo")


class ServedDemo:
    """The studio, in a thread of the server's process.

    Args:
        user: name of a user of the server.
        key: of the user.
        nats: of the server's stream; None if it stores no events.
        stream: where it stores them.
    """

    def __init__(self, user: str, key: str, nats: ServerAccess | None = None, stream: str | None = None) -> None:
        self._user = user
        self._key = key
        self._nats = nats
        self._stream = stream
        self._is_over = Flag()
        self._thread = Thread(target=self._run, name="rxhub-demo", daemon=True)
        self._url = ""

    def start(self, url: str) -> None:
        """Begin to publish events to the server at this URL. Returns immediately."""
        self._url = url
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End within some seconds."""
        self._is_over.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_TIMEOUT_S)

    def _run(self) -> None:
        try:
            with _quiet_log(), ExitStack() as stack:
                if self._nats is not None:
                    stack.enter_context(_thumbnails(self._nats, self._stream))
                hub = stack.enter_context(EventHub(self._url, self._user, self._key))
                # The server is gone by then, and would not accept what is left.
                stack.callback(hub.close, _CLOSE_TIMEOUT_S)
                hub.connect()
                studio(hub, hub.scheduler)
                while not self._is_over.is_set():
                    for _ in play(hub, list(_fresh_events()), _PACE_S, hub.scheduler):
                        if self._is_over.is_set():
                            break
        except RxHubError as error:
            if not self._is_over.is_set():
                _logger.error("The demo ended: %s", error)


@contextmanager
def _quiet_log() -> Generator[None]:
    """Do not log the errors of the studio's callbacks in the log of the server. The server's loggers are others."""
    logger = logging.getLogger("rxhub")
    logger.addFilter(_nothing)
    try:
        yield
    finally:
        logger.removeFilter(_nothing)


def _nothing(_: logging.LogRecord) -> bool:
    return False


def _fresh_events() -> Iterator[Event]:
    """The sample events with new ids: a server does not store an id twice."""
    for event in sample_events():
        yield Event(event.topic, data=event.data, source=event.source, target=event.target)


def _thumbnails(nats: ServerAccess, stream: str | None) -> EventHub:
    """A group that fails once for each render without frames, so that a retry succeeds. Closing the hub ends it."""
    hub = EventHub(*nats, stream=stream)
    failed: set[object] = set()

    @hub.process("topic=studio.render.finished", group="thumbnails", retries=0)
    def thumbnail(event: Event) -> None:
        job, frames = event.data["job"], event.data["frames"]
        if not frames and job not in failed:
            failed.add(job)
            raise FileNotFoundError(f"There are no frames of job {job}. Retry when the farm has copied them.")

    return hub
