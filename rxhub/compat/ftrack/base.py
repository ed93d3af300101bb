"""`ftrack_api.event.base`: the event of ftrack's client."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from os import urandom
from typing import Any, cast

import rxhub.event

__all__ = ["Event"]


class Event(rxhub.event.Event):
    """A mapping of seven keys, which are also attributes, with the arguments of `rxhub.Event`.

    As in ftrack, a false `data`, `source` or `id` counts as missing, and programs can set further attributes.
    """

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
        # In ftrack's order, since programs print events.
        self._data = {
            "id": id or urandom(16).hex(),
            "data": data or {},
            "topic": topic,
            "sent": sent,
            "source": source or {},
            "target": target,
            "in_reply_to_event": in_reply_to_event,
        }
        self._stopped = False

    # In the event's `__dict__` as in ftrack, since programs and subclasses access them. The class attribute hides the
    # slot of `rxhub.Event`.
    _data: dict[str, Any]
    _stopped: bool = False

    def _set_fields(self, fields: dict[str, Any]) -> None:
        if fields.get("id", "") is None:
            fields["id"] = urandom(16).hex()
        self._data = fields

    # Reading must not call a Python function: each dispatch reads it several times.
    _fields: Any = property(attrgetter("_data"), _set_fields)

    def __getitem__(self, key: str) -> Any:
        value = self._data[key]
        return self.fields[key] if value is None and key == "id" else value

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> rxhub.event.Event:
        """`event` itself, or an event around its dict if it belongs to another class.

        Programs can hold events of ftrack's own class from before `install()`.
        """
        if isinstance(event, rxhub.event.Event):
            return event
        wrapper = cls.__new__(cls)
        fields = getattr(event, "_data", None)
        wrapper._fields = cast("dict[str, Any]", fields) if isinstance(fields, dict) else dict(event)
        wrapper._stopped = False
        return wrapper

    def envelope(self, kind: type[rxhub.event.Event] | None = None) -> rxhub.event.Event:
        return super().envelope(kind or type(self))

    def __str__(self) -> str:
        return f"<{type(self).__name__} {self.fields}>"

    __repr__ = __str__
