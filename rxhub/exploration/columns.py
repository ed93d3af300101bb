"""Convert nested events to Arrow columns, one for each dotted key.

Arrow columns have one type. A column is text if its values have several types: strings stay as they are, other values
become JSON. So do values that Arrow cannot express, such as lists of strings and numbers, or integers beyond 64 bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from importlib import import_module
from itertools import islice
from typing import Any, cast

from rxhub.errors import EventError
from rxhub.event import Event
from rxhub.exploration.dotted import dotted
from rxhub.text.extras import missing_dependency
from rxhub.text.jsonable import jsonable
from rxhub.transport.json_payload import write_json

__all__ = ["batches", "table"]

MAX_COLUMNS = 5_000
_MAX_LEVELS = 64
_ORDER = ("position", "recorded", "topic", "id", "sent", "source", "target", "in_reply_to_event")
_TIMES = frozenset({"sent", "position.time", "source.cloudevent.time"})
_SCALARS = frozenset({str, int, float, bool, list})
_NONE = type(None)


def table(events: Iterable[Mapping[str, Any]], flatten: bool, explode: str) -> Any:
    """The events as a `pyarrow.Table`."""
    arrow = _arrow()
    columns = _Columns(flatten)
    columns.add_all(_rows(events, explode))
    arrays = {name: _array(arrow, name, values) for name, values in columns.items()}
    return arrow.table(arrays)


def batches(events: Iterable[Mapping[str, Any]], size: int, flatten: bool, explode: str) -> Any:
    """The events as a `pyarrow.RecordBatchReader`. They are read once for the schema, and again for the batches."""
    arrow = _arrow()
    types: dict[str, Any] = {}
    for columns in _chunks(events, size, flatten, explode):
        for name, values in columns.items():
            found = _array(arrow, name, values).type
            types[name] = _common_type(arrow, types[name], found) if name in types else found
    names = sorted(types, key=_rank)
    schema = arrow.schema([(name, types[name]) for name in names])

    def converted() -> Iterator[Any]:
        for columns in _chunks(events, size, flatten, explode):
            values = dict(columns.items())
            arrays = [_array_of_type(arrow, types[name], values.get(name), columns.count) for name in names]
            yield arrow.record_batch(arrays, schema=schema)

    return arrow.RecordBatchReader.from_batches(schema, converted())


def _arrow() -> Any:
    try:
        return import_module("pyarrow")
    except ModuleNotFoundError as error:
        raise missing_dependency(error, "A frame", "arrow") from None


class _Column:
    """The values of a key, padded with None up to the last row that has one, and the keys inside it."""

    __slots__ = ("children", "has_values", "name", "values")

    def __init__(self, name: str) -> None:
        self.name = name
        self.children: dict[Any, _Column] = {}
        self.values: list[Any] = []
        self.has_values = False


class _Columns:
    """The values of several events by column."""

    def __init__(self, flatten: bool) -> None:
        self.count = 0
        self._flatten = flatten
        self._root = _Column("")
        self._number = 0

    def add_all(self, rows: Iterable[Mapping[str, Any]]) -> None:
        for row in rows:
            kept = row if self._flatten or "data" not in row else {**row, "data": _json(row["data"])}
            self._add(self._root, kept, self.count, _MAX_LEVELS)
            self.count += 1

    def items(self) -> Iterator[tuple[str, list[Any]]]:
        """The names and values of the columns, the envelope before the data."""
        found: list[_Column] = []
        waiting = [self._root]
        while waiting:
            column = waiting.pop()
            waiting += reversed(column.children.values())
            if column.has_values:
                found.append(column)
        for column in sorted(found, key=lambda column: _rank(column.name)):
            column.values += [None] * (self.count - len(column.values))
            yield column.name, column.values

    def _add(self, column: _Column, mapping: Mapping[Any, Any], row: int, levels: int) -> None:
        children = column.children
        for key, item in mapping.items():
            value: Any = item
            child = children.get(key)
            if child is None:
                child = children[key] = self._new(column, key)
            kind = cast("type[Any]", type(value))
            if kind is dict or (kind not in _SCALARS and isinstance(value, Mapping)):
                if levels:
                    self._add(child, cast("Mapping[Any, Any]", value), row, levels - 1)
                    continue
                value = _json(value)
            child.has_values = True
            if value is not None:
                values = child.values
                if len(values) != row:
                    values += [None] * (row - len(values))
                values.append(value)

    def _new(self, column: _Column, key: Any) -> _Column:
        self._number += 1
        if self._number > MAX_COLUMNS:
            raise EventError(
                f"The events have more than {MAX_COLUMNS:,} different keys, which would be as many columns. Select "
                "events with where(), or keep the data as JSON text with flatten=False."
            )
        return _Column(dotted(column.name, key))


def _rank(name: str) -> int:
    """The order of columns: the envelope, other fields, the data. Sorting keeps the order of the keys otherwise."""
    first = name.partition(".")[0]
    return _ORDER.index(first) if first in _ORDER else len(_ORDER) + (first == "data")


def _rows(events: Iterable[Mapping[str, Any]], explode: str) -> Iterator[Mapping[str, Any]]:
    fields = (event.fields if isinstance(event, Event) else event for event in events)
    if not explode:
        return fields
    path = explode.split(".")
    return (row for event in fields for row in _exploded(event, path))


def _exploded(event: Mapping[str, Any], path: list[str]) -> Iterator[Mapping[str, Any]]:
    """One row for each item of the list at a path; the event itself if there is no list, or an empty one."""
    items: Any = event
    for step in path:
        items = cast("Mapping[str, Any]", items).get(step) if isinstance(items, Mapping) else None
    if not isinstance(items, (list, tuple)):
        yield event
        return
    for item in cast("list[Any]", items) or [None]:
        yield _with(event, path, item)


def _with(mapping: Mapping[str, Any], path: list[str], item: Any) -> dict[str, Any]:
    inner = item if len(path) == 1 else _with(mapping[path[0]], path[1:], item)
    return {**mapping, path[0]: inner}


def _chunks(events: Iterable[Mapping[str, Any]], size: int, flatten: bool, explode: str) -> Iterator[_Columns]:
    rows = _rows(events, explode)
    while True:
        columns = _Columns(flatten)
        columns.add_all(islice(rows, size))
        if not columns.count:
            return
        yield columns


def _array(arrow: Any, name: str, values: list[Any]) -> Any:
    """An array of the type that suits all values."""
    kinds = {*map(type, values)} - {_NONE}
    if name in _TIMES and kinds and kinds <= {str, datetime}:
        try:
            return arrow.array([*map(_time, values)], arrow.timestamp("us", "UTC"))
        except (ValueError, OverflowError):
            pass
    try:
        if not kinds:
            return arrow.nulls(len(values))
        if kinds == {int, float}:
            return arrow.array(values, arrow.float64())
        if len(kinds) == 1:
            return arrow.array(values)
    except (arrow.ArrowException, TypeError, ValueError, OverflowError):
        pass
    return arrow.array([*map(_text, values)], arrow.string())


def _array_of_type(arrow: Any, type: Any, values: list[Any] | None, count: int) -> Any:
    if values is None:
        return arrow.nulls(count, type)
    if arrow.types.is_string(type):
        return arrow.array([*map(_text, values)], type)
    if arrow.types.is_timestamp(type):
        return arrow.array([*map(_time, values)], type)
    return arrow.array(values, type)


def _common_type(arrow: Any, one: Any, other: Any) -> Any:
    """The type of a column whose parts have these types."""
    if one == other:
        return one
    try:
        schemas = [arrow.schema([("x", type)]) for type in (one, other)]
        return arrow.unify_schemas(schemas, promote_options="permissive").field("x").type
    except (arrow.ArrowException, TypeError):
        return arrow.string()


def _time(value: Any) -> datetime | None:
    if value is None:
        return None
    time = datetime.fromisoformat(value) if isinstance(value, str) else value
    if time.utcoffset() is None:
        raise ValueError("a time without an offset is not a moment")
    return time.astimezone(UTC)


def _text(value: Any) -> str | None:
    if value is None:
        return None
    # UTF-8 cannot encode lone surrogates.
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else _json(value)


def _json(value: Any) -> str | None:
    if value is None:
        return None
    try:
        return write_json(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return write_json(jsonable(value))
