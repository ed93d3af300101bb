"""The event: the envelope of the data that hubs exchange."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from os import urandom
from typing import Any, Generic, TypeVar, cast, overload

from rxhub.errors import EventError
from rxhub.redaction import redacted
from rxhub.text.displayable import Displayable

__all__ = ["Event"]

_WIRE_REPLY = "inReplyToEvent"
_REPLY = "in_reply_to_event"

T = TypeVar("T")


class _EnvelopeKey(Generic[T]):
    """A key of the envelope as an attribute."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, event: None, owner: type) -> _EnvelopeKey[T]: ...
    @overload
    def __get__(self, event: Event, owner: type) -> T: ...
    def __get__(self, event: Event | None, owner: type) -> _EnvelopeKey[T] | T:
        if event is None:
            return self
        try:
            return event[self.name]
        except KeyError:
            raise AttributeError(f"This event's {self.name!r} was deleted.") from None

    def __set__(self, event: Event, value: T) -> None:
        event[self.name] = value


class Event(MutableMapping[str, Any], Displayable):
    """One event: a mapping of seven keys, each also an attribute.

    Other fields of a received event are kept as further keys. The id is created on first access, so that creating an
    event is fast. Until then `_fields["id"]` is None; code that reads `_fields` directly (compiled expressions, for
    speed) must use `fields` where the id matters.

    Args:
        topic: dotted name, such as `ftrack.update`.
        id: unique id. Default: 32 hexadecimal digits.
        data: the data. Default: an empty dict.
        sent: when it was sent, in the sender's format.
        source: the publisher; the hub adds `id`, `user` and `host` when it publishes the event.
        target: an expression over the metadata of subscribers; only subscribers that match receive the event.
        in_reply_to_event: id of the event that this one answers.
    """

    __slots__ = ("__weakref__", "_fields", "_stopped")

    topic = _EnvelopeKey[str]()
    id = _EnvelopeKey[str]()
    data = _EnvelopeKey[Any]()
    sent = _EnvelopeKey[Any]()
    source = _EnvelopeKey[Any]()
    target = _EnvelopeKey[str]()
    in_reply_to_event = _EnvelopeKey["str | None"]()

    def __init__(
        self,
        topic: str,
        id: str | None = None,
        data: Any = None,
        sent: Any = None,
        source: Any = None,
        target: str = "",
        in_reply_to_event: str | None = None,
    ) -> None:
        if id is not None and not isinstance(id, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                f"The id of an event must be a string, but {type(id).__name__} was given. "
                "Pass data by name: Event(topic, data=…)."
            )
        self._fields: dict[str, Any] = {
            "topic": topic,
            "id": id or None,
            "data": {} if data is None else data,
            "sent": sent,
            "source": {} if source is None else source,
            "target": target,
            _REPLY: in_reply_to_event,
        }
        self._stopped = False

    @classmethod
    def from_wire(cls, payload: Mapping[str, Any]) -> Event:
        """Create an event from a mapping of ftrack's protocol.

        `inReplyToEvent` becomes `in_reply_to_event` in the envelope, but not inside `data`.

        Raises:
            EventError: if the payload is not a mapping, or its topic is not a string.
        """
        if not isinstance(payload, Mapping):
            raise EventError(f"An event must be a JSON object, but {type(payload).__name__} was found.")
        return cls.adopt(dict(payload))

    @classmethod
    def adopt(cls, payload: dict[str, Any]) -> Event:
        """As `from_wire`, but the event uses the given dict without copying it."""
        topic = payload.get("topic")
        if not isinstance(topic, str):
            found = "none" if topic is None else f"a {type(topic).__name__}"
            raise EventError(f'The "topic" of an event must be a string, but {found} was found.')
        if _WIRE_REPLY in payload:
            payload[_REPLY] = payload.pop(_WIRE_REPLY)
        # Written out: a loop over the names takes twice as long.
        get = payload.get
        if get("id") is None:
            payload["id"] = None  # created on first access
        if get("data") is None:
            payload["data"] = {}
        if get("sent") is None:
            payload["sent"] = None
        if get("source") is None:
            payload["source"] = {}
        if get("target") is None:
            payload["target"] = ""
        if get(_REPLY) is None:
            payload[_REPLY] = None
        event = cls.__new__(cls)
        event._fields = payload
        event._stopped = False
        return event

    def to_wire(self) -> dict[str, Any]:
        """The envelope for ftrack's protocol: a new dict with the same `data`."""
        wire = dict(self.fields)
        if _REPLY in wire:
            wire[_WIRE_REPLY] = wire.pop(_REPLY)
        return wire

    @property
    def fields(self) -> dict[str, Any]:
        """The dict of the event, with its id; for fast reading, not for writing."""
        fields = self._fields
        if fields.get("id", "") is None:
            # os.urandom is safe after fork and with a seeded `random`, and three times as fast as uuid4.
            fields["id"] = urandom(16).hex()
        return fields

    def envelope(self, kind: type[Event] | None = None) -> Event:
        """A new event (of class `kind`) with the same data, not stopped, for another hub or thread."""
        kind = kind or Event
        twin = kind.__new__(kind)
        twin._fields = self.fields.copy()
        twin._stopped = False
        return twin

    def stop(self) -> None:
        """Stop the delivery: later subscribers do not receive this event."""
        self._stopped = True

    def is_stopped(self) -> bool:
        """Whether a callback of the current or last delivery stopped this event."""
        return self._stopped

    def __getitem__(self, key: str) -> Any:
        return self.fields[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._fields[key] = value

    def __delitem__(self, key: str) -> None:
        del self._fields[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __contains__(self, key: object) -> bool:
        return key in self._fields

    def __repr__(self) -> str:
        # Without secrets, since logs and notebooks show it.
        return f"<{type(self).__name__} {redacted(self.fields)!r}>"

    def __getstate__(self) -> object:
        # The default state, so that subclasses keep their attributes, with a copy of the fields and an id.
        state = cast("Any", object.__getstate__(self))
        attributes, slots = cast("tuple[Any, dict[str, Any]]", state if type(state) is tuple else (state, {}))
        return attributes, {**slots, "_fields": dict(self.fields)}
