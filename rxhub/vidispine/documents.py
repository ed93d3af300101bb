"""The XML documents that are sent to Vidispine.

ElementTree escapes the values, but would also write characters that XML 1.0 does not allow, such as NUL and lone
surrogates. For these, the functions raise ValueError.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element, SubElement

__all__ = ["NAMESPACE", "metadata_document", "notification_document", "serialize", "user_document"]

# As an attribute: ElementTree does not support a default namespace together with attributes.
NAMESPACE = "http://xml.vidispine.com/schema/vidispine"

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NAME = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)


def serialize(document: Element) -> bytes:
    """The document as UTF-8."""
    return ET.tostring(document, encoding="utf-8", xml_declaration=True)


def user_document(name: str, real_name: str, password: str) -> Element:
    """A `UserDocument`, for `POST /user`. Errors do not show the password."""
    document = Element("UserDocument", xmlns=NAMESPACE)
    _text(document, "userName", name)
    _text(document, "realName", real_name)
    _text(document, "password", password, secret=True)
    return document


def metadata_document(fields: Mapping[str, str | Iterable[str]]) -> Element:
    """A `MetadataDocument` that sets `fields` (the value or values of each) for the whole duration of an item.

    Raises:
        ValueError: if a name or value has a character that XML does not allow.
    """
    document = Element("MetadataDocument", xmlns=NAMESPACE)
    timespan = SubElement(document, "timespan", start="-INF", end="+INF")
    for name, given in fields.items():
        field = SubElement(timespan, "field")
        _text(field, "name", name)
        for value in [given] if isinstance(given, str) else given:
            _text(field, "value", value)
    return document


def notification_document(
    trigger: str, url: str, *, method: str, content_type: str, retry: int, timeout: int, synchronous: bool
) -> Element:
    """A `NotificationDocument`: Vidispine calls `url` for each `trigger`; arguments as in `register_notification`."""
    document = Element("NotificationDocument", xmlns=NAMESPACE)
    action = SubElement(SubElement(document, "action"), "http", synchronous=str(synchronous).lower())
    _text(action, "retry", str(retry))
    _text(action, "contentType", content_type)
    _text(action, "url", url, secret=True)
    _text(action, "method", method)
    _text(action, "timeout", str(timeout))
    place = SubElement(document, "trigger")
    for name in trigger.split("/"):
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{trigger!r} is not a valid trigger: expected element names joined by slashes, such as "
                "job/stop, item/create or metadata/modify."
            )
        place = SubElement(place, name)
    return document


def _text(parent: Element, name: str, value: str, *, secret: bool = False) -> None:
    if found := _FORBIDDEN.search(value):
        shown = "" if secret else f" {value[:80]!r}"
        raise ValueError(f"The {name}{shown} cannot be sent: XML does not allow the character U+{ord(found[0]):04X}.")
    SubElement(parent, name).text = value
