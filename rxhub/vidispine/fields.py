"""Parse the fields of a notification from JSON or XML.

A notification is a list of fields. A key may occur more than once, and a field may have several values. XML is parsed
with expat: the document is flat, so no tree is needed, and document types are rejected, so no entity can be declared.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias
from xml.parsers import expat

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
    """The fields of a notification that came as `application/json`.

    Raises:
        NotificationError: if the body is not valid.
    """
    try:
        document = msgspec.json.decode(body, type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotificationError(
            f'The notification is not JSON of the form {{"field": [{{"key": …, "value": …}}]}}: {error}'
        ) from None
    return ImmutableMultiDict([(field.key, value) for field in document.field for value in _texts(field.value)])


def parse_xml(body: bytes) -> Fields:
    """The fields of a notification that came as `application/xml`.

    Raises:
        NotificationError: if the body is not valid, or declares a document type.
    """
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = reader.refuse
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        # LookupError and ValueError: the encoding is unknown to Python or not supported by expat.
        if isinstance(error, NotificationError):
            raise
        raise NotificationError(f"The notification is not valid XML: {error}") from None
    return ImmutableMultiDict(reader.pairs)


class _Reader:
    """Collects all `<field><key>…</key><value>…</value></field>`."""

    def __init__(self) -> None:
        self.pairs: list[tuple[str, str]] = []
        self._within: list[str] = []
        self._key: str | None = None
        self._values: list[str] = []
        self._text: list[str] = []

    def refuse(self, *declaration: Any) -> None:
        raise NotificationError("The notification declares a document type, which is not allowed.")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._within) >= MAX_DEPTH:
            raise NotificationError(f"The notification is nested deeper than {MAX_DEPTH} elements.")
        self._within.append(name.rpartition(" ")[2])
        self._text.clear()
        if self._within[-1] == "field":
            self._key = None
            self._values = []

    def text(self, data: str) -> None:
        self._text.append(data)

    def end(self, name: str) -> None:
        local = self._within.pop()
        if self._within[-1:] == ["field"]:
            if local == "key":
                self._key = "".join(self._text).strip()
            elif local == "value":
                self._values.append("".join(self._text))
        elif local == "field":
            if self._key is None:
                raise NotificationError("The notification has a field without a key.")
            self.pairs += [(self._key, value) for value in self._values or [""]]
        self._text.clear()


def _texts(value: _Value) -> Iterator[str]:
    for each in value or [None] if isinstance(value, list) else [value]:
        yield each if isinstance(each, str) else "" if each is None else msgspec.json.encode(each).decode()
