"""The XML documents that are sent to Vidispine.

They are built as trees and escaped by the library, so that a name such as `</userName>` stays a name. What XML 1.0
cannot say at all (a NUL, a lone surrogate) is refused here: the library would write it, and no parser would read it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element, SubElement

__all__ = ["NAMESPACE", "metadata_document", "notification_document", "serialize", "user_document"]

NAMESPACE = "http://xml.vidispine.com/schema/vidispine"

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NAME = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)


def serialize(document: Element) -> bytes:
    """The document as UTF-8."""
    return ET.tostring(document, encoding="utf-8", xml_declaration=True)


def user_document(name: str, real_name: str, password: str) -> Element:
    """A `UserDocument`, for `POST /user`.

    Raises:
        ValueError: if one of them has a character that XML cannot carry; the password is not shown.
    """
    document = _element("UserDocument")
    _text(document, "userName", name)
    _text(document, "realName", real_name)
    _text(document, "password", password, secret=True)
    return document


def metadata_document(fields: Mapping[str, str | Iterable[str]]) -> Element:
    """A `MetadataDocument` that sets `fields` for the whole length of an item.

    Args:
        fields: the value of each field, or its values.

    Raises:
        ValueError: if a name or value has a character that XML cannot carry.
    """
    document = _element("MetadataDocument")
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
    """A `NotificationDocument` that has Vidispine call `url` when `trigger` happens.

    Args:
        trigger: the elements below `<trigger>`, joined by slashes: `job/stop`, `metadata/modify`.
        url: where Vidispine sends the notification.
        method: POST or PUT.
        content_type: `application/json` or `application/xml`.
        retry: how often Vidispine tries again.
        timeout: seconds until Vidispine takes the attempt for failed.
        synchronous: whether Vidispine waits for the answer before it goes on.

    Raises:
        ValueError: if the trigger is no such path, or the address cannot stand in XML.
    """
    document = _element("NotificationDocument")
    action = SubElement(SubElement(document, "action"), "http", synchronous=str(synchronous).lower())
    for name, value in (
        ("retry", str(retry)),
        ("contentType", content_type),
        ("url", url),
        ("method", method),
        ("timeout", str(timeout)),
    ):
        _text(action, name, value, secret=name == "url")
    place = SubElement(document, "trigger")
    for name in trigger.split("/"):
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{trigger!r} names no trigger: expected element names joined by slashes, such as "
                "job/stop, item/create or metadata/modify."
            )
        place = SubElement(place, name)
    return document


def _element(name: str) -> Element:
    # An attribute, and no tag that names it: ElementTree knows no default namespace once there are attributes.
    return Element(name, xmlns=NAMESPACE)


def _text(parent: Element, name: str, value: str, *, secret: bool = False) -> None:
    if found := _FORBIDDEN.search(value):
        shown = "" if secret else f" {value[:80]!r}"
        raise ValueError(f"The {name}{shown} cannot be sent: XML has no character U+{ord(found[0]):04X}.")
    SubElement(parent, name).text = value
