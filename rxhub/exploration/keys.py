"""Which keys events have: how often, with values of which types, and examples.

Most events of a topic have the same keys with values of the same types. The counter therefore counts shapes: the keys
of a mapping with the types of its values. Python compares a shape in one step, instead of one step for each value.
Shapes are converted to counts of keys at the end, or when a mapping has too many of them.

Examples are taken from a copy without secrets, of the first events that have a shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast, overload

from rxhub.event import Event
from rxhub.exploration.dotted import dotted
from rxhub.redaction import redacted
from rxhub.redaction.preview import is_secret_path
from rxhub.redaction.strings import REDACTED
from rxhub.text.displayable import Displayable
from rxhub.text.safe_repr import safe_repr

__all__ = ["Key", "KeyCounter", "Keys", "key_row"]

MAX_KEYS = 10_000
"""Further keys are counted together: events with ids as keys may have millions."""

MAX_LEVELS = 64
_MAX_SHAPES = 500
"""Of one key. Mappings whose keys are ids have a new shape each time."""

_MAX_EXAMPLES = 3
_FIRST = 100
"""The first events, and those with a new shape, may give examples."""
_MAX_EXAMPLE_LENGTH = 60

_NAMES: dict[type, str] = {str: "string", bool: "boolean", type(None): "null", int: "integer", float: "number"}


class Key(NamedTuple):
    """One dotted key.

    Attributes:
        name: the key, as in a subscription. Items of lists have the key of their list.
        events: how many events have it.
        types: how many values of each type it has: string, integer, number, boolean, null, object, list, or the name of
            a Python type.
        examples: up to three different values, as text without secrets.
    """

    name: str
    events: int
    types: Mapping[str, int]
    examples: tuple[str, ...]


class Keys(Sequence[Key], Displayable):
    """The keys of events, in the order in which they appeared; keys inside another key follow it.

    Attributes:
        events: the number of events.
        omitted: the number of keys beyond the first 10,000.
    """

    def __init__(self, keys: Sequence[Key], events: int, omitted: int = 0) -> None:
        self.events = events
        self.omitted = omitted
        self._keys = keys

    @overload
    def __getitem__(self, index: int | str) -> Key: ...
    @overload
    def __getitem__(self, index: slice) -> Keys: ...
    def __getitem__(self, index: int | str | slice) -> Key | Keys:
        """A key by its place or its name, or several by their places."""
        if isinstance(index, str):
            for key in self._keys:
                if key.name == index:
                    return key
            raise KeyError(index)
        found = self._keys[index]
        return found if isinstance(found, Key) else Keys(found, self.events, self.omitted)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return self._repr_mimebundle_()["text/plain"]


def key_row(key: Key, events: int) -> tuple[str, str, str, str]:
    """A key as a row of a table: the part of the events that have it, its name, its types, and examples."""
    types = ", ".join(f"{name} {count:,}" for name, count in key.types.items())
    return f"{100 * key.events / max(1, events):.3g} %", key.name, types, ", ".join(key.examples)


class _Shape:
    """The keys of a mapping, and the types of their values.

    Attributes:
        count: how many mappings have it.
        events: how many events have it, and none of the other shapes at the same key before it.
        mappings: the keys whose values are dicts, with their nodes.
        others: those of other values that may contain keys.
    """

    __slots__ = ("count", "events", "kinds", "mappings", "others")

    def __init__(self, node: _Node, mapping: Mapping[Any, Any]) -> None:
        self.count = self.events = 0
        children = node.children
        self.kinds: list[tuple[_Node, type[Any]]] = [
            (children[key], type(value)) for key, value in mapping.items() if key in children
        ]
        self.mappings: list[tuple[Any, _Node]] = []
        self.others: list[tuple[Any, _Node]] = []
        for key, value in mapping.items():
            if key in children and type(value) not in _NAMES:
                (self.mappings if type(value) is dict else self.others).append((key, children[key]))


class _Node:
    """A key in the tree.

    Attributes:
        last: the number of the last event that has the key.
        seen: the shapes that this event has at the key.
    """

    __slots__ = ("children", "count", "examples", "last", "seen", "shapes", "types")

    def __init__(self) -> None:
        self.children: dict[Any, _Node] = {}
        self.shapes: dict[tuple[Any, ...], _Shape] = {}
        self.count = 0
        self.last = 0
        self.seen: list[_Shape] = []
        self.types: dict[type, int] = {}
        self.examples: list[str] = []

    def flush(self) -> None:
        """Convert the shapes to counts of keys."""
        for shape in self.shapes.values():
            for child, kind in shape.kinds:
                child.count += shape.events
                child.types[kind] = child.types.get(kind, 0) + shape.count
            shape.count = shape.events = 0


class KeyCounter:
    """Counts the keys of events as they are added."""

    def __init__(self) -> None:
        self._root = _Node()
        self._events = 0
        self._keys = 0
        self._omitted = 0
        self._has_rare = False

    def add(self, event: Mapping[str, Any]) -> None:
        """Count the keys of one event, or of any mapping."""
        self._events += 1
        self._has_rare = self._events <= _FIRST
        fields = event.fields if isinstance(event, Event) else event
        self._visit(self._root, fields, MAX_LEVELS)
        if self._has_rare:
            _add_examples(self._root, redacted(fields), (), MAX_LEVELS)

    def result(self) -> Keys:
        """The keys so far."""
        return Keys([*_list(self._root, "")], self._events, self._omitted)

    def _visit(self, node: _Node, mapping: Mapping[Any, Any], levels: int) -> None:
        signature = (*mapping, *map(type, mapping.values()))
        shape = node.shapes.get(signature)
        if shape is None:
            shape = self._new_shape(node, mapping, signature)
        shape.count += 1
        if node.last != self._events:
            node.last = self._events
            node.seen = [shape]
            shape.events += 1
        elif shape not in node.seen:
            _count_others(node, shape)
        if levels:
            for key, child in shape.mappings:
                self._visit(child, mapping[key], levels - 1)
            for key, child in shape.others:
                self._visit_other(child, mapping[key], levels - 1)

    def _new_shape(self, node: _Node, mapping: Mapping[Any, Any], signature: tuple[Any, ...]) -> _Shape:
        self._has_rare = True
        for key in mapping:
            if key not in node.children:
                if self._keys < MAX_KEYS:
                    self._keys += 1
                    node.children[key] = _Node()
                else:
                    self._omitted += 1
        shape = _Shape(node, mapping)
        if len(node.shapes) >= _MAX_SHAPES:
            node.flush()
            node.shapes.clear()
        node.shapes[signature] = shape
        return shape

    def _visit_other(self, node: _Node, value: Any, levels: int) -> None:
        if type(value) is list or isinstance(value, (list, tuple)):
            items = cast("list[Any]", value)
            kinds = [*map(type, items)]
            for kind in {*kinds}:
                if kind is dict:
                    for item in items:
                        if type(item) is dict:
                            self._visit(node, cast("dict[Any, Any]", item), levels)
                else:
                    node.types[kind] = node.types.get(kind, 0) + kinds.count(kind)
                    if kind not in _NAMES and levels:
                        for item in items:
                            if type(item) is kind:
                                self._visit_other(node, item, levels - 1)
        elif isinstance(value, Mapping):
            self._visit(node, cast("Mapping[Any, Any]", value), levels)


def _count_others(node: _Node, shape: _Shape) -> None:
    """Count the keys that the earlier shapes of the same event do not have."""
    counted = {child for seen in node.seen for child, _ in seen.kinds}
    for child, _ in shape.kinds:
        child.count += child not in counted
    node.seen.append(shape)


def _add_examples(node: _Node, value: Any, path: tuple[str, ...], levels: int) -> None:
    """Add the values of a redacted event as examples, at nodes that have few."""
    kind = cast("type[Any]", type(value))
    if levels <= 0:
        return
    if issubclass(kind, Mapping):
        for key, item in value.items():
            child = node.children.get(key)
            if child is not None:
                _add_examples(child, item, (*path, str(key)), levels - 1)
    elif issubclass(kind, (list, tuple)):
        for item in value[:_MAX_EXAMPLES]:
            _add_examples(node, item, path, levels - 1)
    elif len(node.examples) < _MAX_EXAMPLES:
        example = REDACTED if is_secret_path(path) else safe_repr(value, _MAX_EXAMPLE_LENGTH)
        if example not in node.examples:
            node.examples.append(example)


def _list(node: _Node, prefix: str) -> Iterator[Key]:
    node.flush()
    for key, child in node.children.items():
        name = dotted(prefix, key)
        types: dict[str, int] = {}
        for kind, count in child.types.items():
            type_name = _type_name(kind)
            types[type_name] = types.get(type_name, 0) + count
        most_frequent = sorted(types.items(), key=lambda item: (-item[1], item[0]))
        yield Key(name, child.count, dict(most_frequent), tuple(child.examples))
        yield from _list(child, name)


def _type_name(kind: type[Any]) -> str:
    if issubclass(kind, Mapping):
        return "object"
    return "list" if issubclass(kind, (list, tuple)) else _NAMES.get(kind, kind.__name__)
