"""Dead letters: the stored event, with its failure in the headers of the message.

`cli/dead.py`, `web/openapi_schemas.py` and `web/console/stored.js` also list the fields. Payload and topic are the
original's. Texts in headers are JSON strings in ASCII, since a line break would end a header.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from rxhub.errors import EventError, ProtocolError
from rxhub.event import Event
from rxhub.transport.json_payload import read_stored
from rxhub.transport.nats.direct_client import parse_headers
from rxhub.transport.nats.publishing import MESSAGE_ID
from rxhub.transport.nats.pull_consumer import Message
from rxhub.transport.nats.subjects import Subjects, consumer_name

__all__ = ["DeadLetter", "headers_of", "subject_of", "tokens_of"]

GROUP = "Rxhub-Group"
REASON = "Rxhub-Reason"
TRACEBACK = "Rxhub-Traceback"
ATTEMPTS = "Rxhub-Attempts"
SEQUENCE = "Rxhub-Sequence"
TIME = "Rxhub-Time"

_MAX_AGE = timedelta(days=365_000)
_LONGEST_REASON = 500
_LONGEST_TRACEBACK = 8_000
# What headers cost beyond their names and values, generously.
_OVERHEAD = 200


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that a group could not handle.

    Attributes:
        id: identifies it, in order of failure.
        group: that failed to handle it.
        topic: of the event.
        reason: the last error of the handler, or another reason.
        traceback: of the error; empty if there is none or no room for it.
        attempts: the number of attempts.
        sequence: of the event in its stream.
        stored: when the event was stored.
        died: when it became a dead letter.
        data: the stored event.
        subject: of the dead letter.
    """

    id: int
    group: str
    topic: str
    reason: str
    traceback: str = field(repr=False)
    attempts: int
    sequence: int
    stored: datetime
    died: datetime
    data: bytes = field(repr=False)
    subject: str = field(repr=False)

    @property
    def event(self) -> Event | None:
        """The event; None if the data is not a valid event."""
        try:
            return read_stored(self.data)
        except (ProtocolError, EventError):
            return None

    @classmethod
    def read(cls, subjects: Subjects, message: Mapping[str, Any]) -> DeadLetter:
        """Read the response of `STREAM.MSG.GET`. Invalid headers are ignored."""
        headers = parse_headers(b64decode(message.get("hdrs") or b""))
        subject: str = message["subject"]
        died = datetime.fromisoformat(message["time"])
        try:
            topic = subjects.topic(subject)
        except EventError:
            topic = ".".join(tokens_of(subject))
        return cls(
            id=message["seq"],
            group=_text(headers, GROUP) or subject.split(".")[2],
            topic=topic,
            reason=_text(headers, REASON) or "unknown",
            traceback=_text(headers, TRACEBACK),
            attempts=_number(headers, ATTEMPTS),
            sequence=_number(headers, SEQUENCE) or _as_number(headers.get(MESSAGE_ID, "").rpartition(":")[2]),
            stored=_moment(headers, TIME) or died,
            died=died,
            data=b64decode(message.get("data") or b""),
            subject=subject,
        )

    def is_since(self, moment: int | datetime | timedelta) -> bool:
        """Whether it died at an aware time or later, at most so long ago, or has this id or a higher one."""
        match moment:
            case int():
                return self.id >= moment
            case timedelta():
                return self.died >= datetime.now(UTC) - min(moment, _MAX_AGE)
            case datetime():
                return self.died >= moment

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON. Data that is not an event is a string, with invalid UTF-8 replaced."""
        event = self.event
        names = ("id", "group", "topic", "reason", "traceback", "attempts", "sequence")
        return {name: getattr(self, name) for name in names} | {
            "stored": self.stored.isoformat(),
            "died": self.died.isoformat(),
            "event": self.data.decode(errors="replace") if event is None else event.to_wire(),
        }


def subject_of(subjects: Subjects, group: str, message: Message) -> str:
    """The subject of the dead letter of a message."""
    return ".".join([subjects.stream, "dead", consumer_name(group), *tokens_of(message.subject)])


def tokens_of(subject: str) -> list[str]:
    """The tokens of a subject that encode the topic."""
    tokens = subject.split(".")
    return tokens[3 if tokens[1] in ("retry", "dead") else 2 :]


def headers_of(group: str, message: Message, reason: str, traceback: str, attempts: int, room: int) -> dict[str, str]:
    """The headers of a dead letter; only its id if they and the payload together would exceed `room` bytes."""
    # A recreated stream counts from 1 again.
    least = {MESSAGE_ID: f"{consumer_name(group)}:{message.nanoseconds}:{message.sequence}"}
    short = {
        **least,
        GROUP: json.dumps(group),
        REASON: json.dumps(reason if len(reason) <= _LONGEST_REASON else reason[: _LONGEST_REASON - 1] + "…"),
        ATTEMPTS: str(attempts),
        SEQUENCE: str(message.sequence),
        TIME: datetime.fromtimestamp(message.time, UTC).isoformat(),
    }
    # The end of a traceback is the most useful part.
    full = {**short, TRACEBACK: json.dumps(traceback[-_LONGEST_TRACEBACK:])} if traceback else short
    size = len(message.data) + sum(len(name) + len(value) + 4 for name, value in full.items()) + _OVERHEAD
    return full if size <= room else least


def _text(headers: Mapping[str, str], name: str) -> str:
    try:
        return str(json.loads(headers.get(name, '""')))
    except ValueError:
        return ""


def _number(headers: Mapping[str, str], name: str) -> int:
    return _as_number(headers.get(name, ""))


def _as_number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 20 else 0


def _moment(headers: Mapping[str, str], name: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(headers.get(name, ""))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
