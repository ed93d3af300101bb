"""The progress of the bridges from one server, stored beside the stream that they fill.

All bridges of one server and subscription share a checkpoint: events from before its time are stored, or covered by a
marker. So a bridge that starts after a crash knows since when events may be missing. An outdated checkpoint only makes
a gap longer than necessary, so bridges do not wait for it to be written, and may overwrite each other's.
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


class _Record(msgspec.Struct):
    """The stored value; server, subscription and bridge are for people who read it."""

    floor: datetime
    id: str | None
    server: str = ""
    subscription: str = ""
    bridge: str = ""


class Checkpoint:
    """The checkpoint of the bridges of one server and subscription. For one thread at a time.

    `target` stores it beside its stream; nothing is stored without one.
    """

    def __init__(self, target: EventHub, server: str, subscription: str, bridge: str) -> None:
        self._target = target
        self._about = server, subscription, bridge
        self._key = f"bridge-{sha256(f'{server} {subscription}'.encode()).hexdigest()[:32]}"
        self._latest: tuple[datetime, str | None] = EVER, None
        self._written = -_WRITE_INTERVAL_S
        self._writing: Future[None] | None = None
        self._reading: Future[str | None] | None = None

    def load(self) -> Position | None:
        """The stored position, without a time if there is none; None while it is being read: call again soon."""
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
            note = msgspec.json.decode(text, type=_Record)
        except Exception as error:
            logger.warning("Reading the checkpoint of the bridge failed: %s", error)
            return Position()
        return Position(note.floor, note.id) if note.floor.tzinfo is not None else Position()

    def save(self, position: Position, at_once: bool = False) -> Future[None] | None:
        """Store, every few seconds, a position before which all missing events are covered by markers.

        Returns a future that is done when it is stored; None if it is not.
        """
        floor = position.floor
        # An event may have the time of the marker before it.
        if floor is None or floor < self._latest[0] or position == self._latest or not (at_once or self._is_time()):
            return None
        note = _Record(floor, position.id, *self._about)
        try:
            self._writing = self._target.kv_put(self._key, msgspec.json.encode(note).decode())
        except RxHubError:
            return None
        self._latest, self._written = (floor, position.id), monotonic()
        return self._writing

    def _is_time(self) -> bool:
        return monotonic() - self._written >= _WRITE_INTERVAL_S and (self._writing is None or self._writing.done())
