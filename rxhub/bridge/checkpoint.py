"""How far the bridges from one server have come, kept beside the stream that they lead into.

All bridges of one server and subscription share one note: whatever came before the time in it is stored, or told by a
marker, no matter by which of them. So one that starts after a crash knows since when something may be missing, and one
that was away while another one stood knows that next to nothing is.

A note that is older than it could be makes a gap longer than it need be, and does no other harm; so nobody waits for
notes to be written, and two who write at once need not agree.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future
from datetime import datetime
from hashlib import sha256
from time import monotonic

import msgspec

from rxhub.bridge.gap import EVER, Position
from rxhub.errors import NotDurable, RxHubError
from rxhub.hub import EventHub

__all__ = ["Checkpoint"]

_WRITE_INTERVAL_S = 5.0

logger = logging.getLogger("rxhub.bridge")


class _Note(msgspec.Struct):
    """What is kept; the server, the subscription and the bridge are for people who look."""

    floor: datetime
    id: str | None
    server: str = ""
    subscription: str = ""
    bridge: str = ""


class Checkpoint:
    """The note of the bridges of one server and subscription. For one thread at a time.

    Args:
        target: beside whose stream it is kept; nothing is, where there is none.
        server: from where the events come.
        subscription: which of them.
        bridge: who writes.
    """

    def __init__(self, target: EventHub, server: str, subscription: str, bridge: str) -> None:
        self._target = target
        self._about = server, subscription, bridge
        self._key = f"bridge-{sha256(f'{server} {subscription}'.encode()).hexdigest()[:32]}"
        self._latest: tuple[datetime, str | None] = EVER, None
        self._written = -_WRITE_INTERVAL_S
        self._writing: Future[None] | None = None
        self._reading: Future[str | None] | None = None

    def recalled(self) -> Position | None:
        """The latest place, with no time in it if none is known; None while it is being read: ask again soon."""
        if self._reading is None:
            try:
                self._reading = self._target.kv_get(self._key)
            except NotDurable:
                return Position()
        if not self._reading.done():
            return None
        reading, self._reading = self._reading, None
        try:
            text = reading.result()
            if text is None:
                return Position()
            note = msgspec.json.decode(text, type=_Note)
        except Exception as error:
            logger.warning("How far the bridges had come could not be read: %s", error)
            return Position()
        return Position(note.floor, note.id) if note.floor.tzinfo is not None else Position()

    def note(self, place: Position, at_once: bool = False) -> Future[None] | None:
        """Write a place down, now and then.

        Args:
            place: up to which nothing is missing that no marker tells of.
            at_once: not only now and then.

        Returns:
            A future that is done when it was written, if it is.
        """
        floor = place.floor
        # An event may have the time of the marker before it, and is the last one nevertheless.
        if floor is None or floor < self._latest[0] or place == self._latest or not (at_once or self._is_time()):
            return None
        note = _Note(floor, place.id, *self._about)
        try:
            self._writing = self._target.kv_put(self._key, msgspec.json.encode(note).decode())
        except RxHubError:
            return None
        self._latest, self._written = (floor, place.id), monotonic()
        return self._writing

    def _is_time(self) -> bool:
        return monotonic() - self._written >= _WRITE_INTERVAL_S and (self._writing is None or self._writing.done())
