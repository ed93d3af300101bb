"""Which events have come already: a resent one is told apart by its id.

A client that loses its connection before an event was acknowledged cannot know whether the server has passed it
on, and sends it again under the same id; its `sent`, which is otherwise empty, then has the time. So
an event with `sent` whose id came lately is a duplicate. One without is not: a program may well publish the same
event object twice and mean it.
"""

from __future__ import annotations

from collections import OrderedDict

from rxhub.event import Event

__all__ = ["Recent"]


class Recent:
    """The ids of the latest events.

    Args:
        size: how many are remembered; about 100 bytes each.

    Attributes:
        duplicates: how many were found so far.
    """

    def __init__(self, size: int = 4096) -> None:
        self._size = size
        self._ids: OrderedDict[object, None] = OrderedDict()
        self.duplicates = 0

    def is_duplicate(self, event: Event) -> bool:
        """Whether `event` was resent and had come before; notes that it has come."""
        fields = event.fields
        identifier = fields["id"]
        if not isinstance(identifier, str):
            return False
        ids = self._ids
        if identifier in ids:
            if fields["sent"] is not None:
                self.duplicates += 1
                return True
            ids.move_to_end(identifier)
            return False
        ids[identifier] = None
        if len(ids) > self._size:
            ids.popitem(last=False)
        return False
