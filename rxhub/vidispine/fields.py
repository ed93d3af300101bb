"""Parse the fields of a notification from JSON or XML: a key may occur more than once, a field have several values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias
from xml.etree import ElementTree as ET

import msgspec
from starlette.datastructures import ImmutableMultiDict

from rxhub.vidispine.errors import NotificationError

__all__ = ["Fields", "parse_json", "parse_xml"]

Fields: TypeAlias = ImmutableMultiDict[str, str]
"""A read-only mapping of keys to values; `getlist(key)` has all values in order, `[key]` the last one."""

MAX_DEPTH = 16

_Scalar: TypeAlias = str | int | float | bool | None
_Value: TypeAlias = _Scalar | list[_Scalar]


class _FieldEntry(msgspec.Struct):
    key: str
    value: _Value = None


class _Document(msgspec.Struct):
    field: list[_FieldEntry] = []


def parse_json(body: bytes) -> Fields:
    """The fields of a notification in JSON; raises NotificationError if the body is not valid."""
    try:
        document = msgspec.json.decode(body, type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotificationError(
            f'The notification is not JSON of the form {{"field": [{{"key": …, "value": …}}]}}: {error}'
        ) from None
    return ImmutableMultiDict([(field.key, value) for field in document.field for value in _texts(field.value)])


def _texts(value: _Value) -> Iterator[str]:
    for each in value or [None] if isinstance(value, list) else [value]:
        yield each if isinstance(each, str) else "" if each is None else msgspec.json.encode(each).decode()


def parse_xml(body: bytes) -> Fields:
    """The fields of all `<field><key>…</key><value>…</value></field>`, in any namespace.

    Raises:
        NotificationError: if the body is not valid, or declares a document type.
    """
    parser = ET.XMLParser(target=_TreeBuilder())
    try:
        parser.feed(body)
        fields = [element for element in parser.close().iter() if element.tag.rpartition("}")[2] == "field"]
    except (ET.ParseError, LookupError, ValueError) as error:
        # LookupError and ValueError: the encoding is unknown to Python or not supported by expat.
        if isinstance(error, NotificationError):
            raise
        raise NotificationError(f"The notification is not valid XML: {error}") from None
    pairs: list[tuple[str, str]] = []
    for field in fields:
        key = field.findtext("{*}key")
        if key is None:
            raise NotificationError("The notification has a field without a key.")
        pairs += [(key.strip(), value.text or "") for value in field.iterfind("{*}value")] or [(key.strip(), "")]
    return ImmutableMultiDict(pairs)


class _TreeBuilder(ET.TreeBuilder):
    """Rejects document types, so that no entity can be declared, and deep nesting."""

    _depth = 0

    def doctype(self, *_: Any) -> None:
        raise NotificationError("The notification declares a document type, which is not allowed.")

    def start(self, *element: Any) -> ET.Element:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise NotificationError(f"The notification is nested deeper than {MAX_DEPTH} elements.")
        return super().start(*element)

    def end(self, *element: Any) -> ET.Element:
        self._depth -= 1
        return super().end(*element)
