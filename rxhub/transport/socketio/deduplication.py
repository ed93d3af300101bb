"""Recognises the second copy of an event.

A client sends an event that was not acknowledged again under the same id, with `sent` set, which is otherwise empty. Of
two events with the same id, one of which has `sent`, the later is a duplicate: a suspended server may read the first
copy after the second. If neither has `sent`, both count: a program may publish the same event object twice.
"""

from __future__ import annotations

from rxhub.concurrency.bounded_dict import BoundedDict
from rxhub.event import Event

__all__ = ["RecentIds"]


class RecentIds:
    """The ids of the latest events."""

    def __init__(self, size: int = 4096) -> None:
        self._ids = BoundedDict[str, bool](size)

    def is_duplicate(self, event: Event) -> bool:
        """Whether `event` was resent and had come before; notes that it has come."""
        fields = event.fields
        identifier, resent = fields["id"], fields["sent"] is not None
        if not isinstance(identifier, str):
            return False
        ids = self._ids
        before = ids.get(identifier)
        if before is None:
            ids[identifier] = resent
            return False
        if before or resent:
            return True
        ids.move_to_end(identifier)
        return False
