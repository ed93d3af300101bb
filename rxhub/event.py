"""The envelope: what travels through a hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from os import urandom
from typing import Any, Generic, TypeVar, cast, overload

from rxhub.errors import EventError
from rxhub.redaction import redacted
from rxhub.text.displayable import Displayable

__all__ = ["Event"]

_WIRE_REPLY = "inReplyToEvent"
_REPLY = "in_reply_to_event"
# What stands where the wire has nothing; the id is made when it is asked for.
_EMPTY: dict[str, Callable[[], object] | None] = {
    "id": None,
    "data": dict,
    "sent": None,
    "source": dict,
    "target": str,
    _REPLY: None,
}


T = TypeVar("T")


class _Field(Generic[T]):
    """A key of the envelope as an attribute."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, event: None, owner: type) -> _Field[T]: ...
    @overload
    def __get__(self, event: Event, owner: type) -> T: ...
    def __get__(self, event: Event | None, owner: type) -> _Field[T] | T:
        if event is None:
            return self
        try:
            return event[self.name]
        except KeyError:
            raise AttributeError(f"This event's {self.name!r} was deleted.") from None

    def __set__(self, event: Event, value: T) -> None:
        event[self.name] = value


class Event(MutableMapping[str, Any], Displayable):
    """One event: a mapping over its seven keys, each also an attribute.

    Fields that came from the wire beside the seven are kept as further keys. The id is made when it
    is first asked for, so that creating an event is cheap; until then `_fields["id"]` is None, and
    whoever reads `_fields` directly (compiled expressions do, for speed) uses `fields` instead
    wherever the id may matter.

    Args:
        topic: dotted name of what happened, such as `ftrack.update`.
        id: unique id; 32 hexadecimal digits are made if it is not given.
        data: what happened; an empty dict if it is not given.
        sent: when it was sent, as the sender wrote it.
        source: who published it; the hub fills in `id`, `user` and `host` when publishing.
        target: an expression over the metadata of subscribers; only those that match get the event.
        in_reply_to_event: id of the event that this one answers.

    Raises:
        TypeError: if the id is no text, as happens when data are given by place.
    """

    __slots__ = ("__weakref__", "_fields", "_stopped")

    topic = _Field[str]()
    id = _Field[str]()
    data = _Field[Any]()
    sent = _Field[Any]()
    source = _Field[Any]()
    target = _Field[str]()
    in_reply_to_event = _Field["str | None"]()

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
                f"An event's id is a text, but {type(id).__name__} was given. "
                "Data go by their name: Event(topic, data=…)."
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
        """Make an event of a mapping as ftrack's protocol carries it.

        `inReplyToEvent` becomes `in_reply_to_event` at the envelope alone: the same key inside
        `data` is the user's own and stays.

        Raises:
            EventError: if the payload is no mapping or has no text as its topic.
        """
        if not isinstance(payload, Mapping):
            raise EventError(f"An event is a JSON object, but {type(payload).__name__} was found.")
        return cls.adopt(dict(payload))

    @classmethod
    def adopt(cls, payload: dict[str, Any]) -> Event:
        """As `from_wire`, of a dict that nobody else holds: it becomes the event's own.

        Raises:
            EventError: if it has no text as its topic.
        """
        topic = payload.get("topic")
        if not isinstance(topic, str):
            found = "none" if topic is None else f"a {type(topic).__name__}"
            raise EventError(f'An event needs a text as its "topic", but {found} was found.')
        if _WIRE_REPLY in payload:
            payload[_REPLY] = payload.pop(_WIRE_REPLY)
        for key, empty in _EMPTY.items():
            if payload.get(key) is None:
                payload[key] = None if empty is None else empty()
        event = cls.__new__(cls)
        event._fields = payload
        event._stopped = False
        return event

    def to_wire(self) -> dict[str, Any]:
        """The envelope as ftrack's protocol carries it: a new dict around the same `data`."""
        wire = dict(self.fields)
        if _REPLY in wire:
            wire[_WIRE_REPLY] = wire.pop(_REPLY)
        return wire

    @property
    def fields(self) -> dict[str, Any]:
        """The plain dict behind the event, its id made: for reading fast, not for writing."""
        fields = self._fields
        if fields.get("id", "") is None:
            # os.urandom survives fork and a seeded `random`, and costs a third of uuid4.
            fields["id"] = urandom(16).hex()
        return fields

    def envelope(self, kind: type[Event] | None = None) -> Event:
        """A new, unstopped event (of class `kind`) around the same data, for another hub or thread."""
        kind = kind or Event
        twin = kind.__new__(kind)
        twin._fields = self.fields.copy()
        twin._stopped = False
        return twin

    def stop(self) -> None:
        """Let no later subscriber of the delivery under way get this event."""
        self._stopped = True

    def is_stopped(self) -> bool:
        """Whether a callback of the present or latest delivery stopped this event."""
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
        # What is logged, or listed in a notebook's cell, is often no more than this.
        return f"<{type(self).__name__} {redacted(self.fields)!r}>"

    def __getstate__(self) -> object:
        # As of any object, so that a subclass keeps its class and its attributes; with a dict of its own and an id.
        state = cast("Any", object.__getstate__(self))
        attributes, slots = cast("tuple[Any, dict[str, Any]]", state if type(state) is tuple else (state, {}))
        return attributes, {**slots, "_fields": dict(self.fields)}
