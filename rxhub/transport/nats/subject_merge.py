"""Merge many filters into few that do not overlap.

The filters are in a tree by their tokens. Merging begins with one filter for each kind of subject (events, replies,
retries). It replaces the widest `head.>` by the filters below it, the cheapest first among equals, while there is room;
replies come last. So a thousand topics `ftrack.update.…` become one `ftrack.update.>`, and a few others stay as they
are. A change touches as many nodes as the filter has tokens, so ten thousand subscribers cost the same as a hundred.
Tokens after the sixteenth are not distinguished, since clients may send topics with thousands.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import NamedTuple

__all__ = ["SubjectTree"]

_DEEPEST = 16
# `stream.kind`: what is of two kinds is never asked for by one filter, since some kinds are for others alone.
_KIND = 2
_REPLIES = "reply"


class _SubjectNode:
    """The filters below a head, and how often the head itself was added: as one subject, and as `head.>`."""

    __slots__ = ("below", "exact", "wide")

    def __init__(self) -> None:
        self.below: dict[str, _SubjectNode] = {}
        self.exact = 0
        self.wide = 0

    @property
    def has_below(self) -> bool:
        return bool(self.wide or self.below)


class _Wide(NamedTuple):
    """A node for which one `head.>` may stand. In order of what is narrowed first."""

    of_replies: bool
    breadth: int
    cost: int
    head: str
    node: _SubjectNode


class SubjectTree:
    """Filters, each one subject or `head.>`, of one stream."""

    def __init__(self) -> None:
        self._root = _SubjectNode()

    def add(self, filter: str) -> bool:
        """Put one in; whether that can make a difference, since it was not there."""
        path, is_wide = _path(filter)
        node = self._root
        for token in path:
            following = node.below.get(token)
            if following is None:
                following = node.below[token] = _SubjectNode()
            node = following
        if is_wide:
            node.wide += 1
            return node.wide == 1
        node.exact += 1
        return node.exact == 1

    def remove(self, filter: str) -> bool:
        """Take one out that was put in; whether that can make a difference, since it is there no more."""
        path, is_wide = _path(filter)
        nodes = [self._root]
        for token in path:
            nodes.append(nodes[-1].below[token])
        node = nodes[-1]
        if is_wide:
            node.wide -= 1
        else:
            node.exact -= 1
        left = node.wide if is_wide else node.exact
        for token, above in zip(reversed(path), reversed(nodes[:-1]), strict=True):
            if node.exact or node.has_below:
                break
            del above.below[token]
            node = above
        return not left

    def reduce(self, most: int) -> list[str]:
        """At most `most` filters (or one for each kind of subject) around all that are there, in alphabetical order."""
        chosen: list[str] = []
        wide: list[_Wide] = []
        for head, node in self._kinds(chosen):
            self._put(head, node, most, chosen, wide)
        count = len(chosen) + len(wide)
        while wide:
            widest = heappop(wide)
            if count + widest.cost > most:
                chosen.append(f"{widest.head}.>")
                continue
            count += widest.cost
            for token, node in widest.node.below.items():
                head = f"{widest.head}.{token}"
                if node.exact:
                    chosen.append(head)
                if node.has_below:
                    self._put(head, node, most, chosen, wide)
        return sorted(chosen)

    def _kinds(self, chosen: list[str]) -> Iterator[tuple[str, _SubjectNode]]:
        """The nodes to begin with; a subject that ends before is chosen."""
        waiting = [(token, node, 1) for token, node in self._root.below.items()]
        while waiting:
            head, node, depth = waiting.pop()
            if node.exact:
                chosen.append(head)
            if node.wide or (node.below and depth == _KIND):
                yield head, node
            else:
                waiting += [(f"{head}.{token}", below, depth + 1) for token, below in node.below.items()]

    def _put(self, head: str, node: _SubjectNode, most: int, chosen: list[str], wide: list[_Wide]) -> None:
        """Put what is below a node where it is chosen, if that is one filter, or where it may be narrowed."""
        while not node.wide and len(node.below) == 1:
            ((token, only),) = node.below.items()
            if only.exact and only.has_below:
                break
            head, node = f"{head}.{token}", only
            if only.exact:
                chosen.append(head)
                return
        if node.wide:
            chosen.append(f"{head}.>")
            return
        tokens = head.split(".")
        heappush(wide, _Wide(tokens[1:_KIND] == [_REPLIES], len(tokens), _cost(node, most), head, node))


def _cost(node: _SubjectNode, most: int) -> int:
    """How many filters more it takes to narrow a node; of one that nobody can afford, a part of it."""
    if len(node.below) > most:
        return len(node.below)
    return sum((node.exact > 0) + node.has_below for node in node.below.values()) - 1


def _path(filter: str) -> tuple[list[str], bool]:
    path = filter.split(".")
    if path[-1] == ">":
        path.pop()
        return path[:_DEEPEST], True
    return path[:_DEEPEST], len(path) > _DEEPEST
