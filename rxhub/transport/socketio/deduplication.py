"""Which events have come already: a resent one is told apart by its id.

A client that loses its connection before an event was acknowledged cannot know whether the server has passed it
on, and sends it again under the same id; its `sent`, which is otherwise empty, then has the time. Of two events with
one id, of which either has `sent`, the later is a duplicate: a server that was stopped may read the first copy
after the second. If neither has it there is none: a program may publish the same event object twice and mean it.
"""

from __future__ import annotations

from rxhub.concurrency.bounded_dict import BoundedDict
from rxhub.event import Event

__all__ = ["RecentIds"]


class RecentIds:
    """The ids of the latest events.

    Args:
        size: how many are remembered; about 100 bytes each.
    """

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
