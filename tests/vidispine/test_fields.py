"""What a notification says, from JSON and from XML."""

from __future__ import annotations

import json
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub.expression import compile
from rxhub.vidispine import NotificationError
from rxhub.vidispine.fields import parse_json, parse_xml

# The job notification of Vidispine's documentation, abridged.
JOB = (
    b'{"field":[{"key":"type","value":"ESSENCE_VERSION"},{"key":"action","value":"STOP"},'
    b'{"key":"currentStepStatus","value":"FINISHED"},{"key":"jobId","value":"VX-20"},{"key":"itemId","value":"VX-30"},'
    b'{"key":"user","value":"admin"},{"key":"status","value":"FAILED_TOTAL"},{"key":"fileId","value":"VX-15"}]}'
)

text = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=20)
pairs = st.lists(st.tuples(text.map(str.strip), text), max_size=8)


def as_json(fields: list[tuple[str, str]]) -> bytes:
    return json.dumps({"field": [{"key": key, "value": value} for key, value in fields]}).encode()


def as_xml(fields: list[tuple[str, str]]) -> bytes:
    inner = "".join(
        f"<field>\n<key>{escape(key)}</key>\n<value>{escape(value)}</value>\n</field>\n" for key, value in fields
    )
    namespace = "http://xml.vidispine.com/schema/vidispine"
    document = f'<SimpleMetadataDocument xmlns="{namespace}">\n{inner}</SimpleMetadataDocument>'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{document}'.encode()


@given(pairs)
def test_every_value_of_every_key_is_kept_in_order(fields: list[tuple[str, str]]) -> None:
    assert parse_json(as_json(fields)).multi_items() == fields
    assert parse_xml(as_xml(fields)).multi_items() == fields


def test_a_field_may_have_several_values() -> None:
    json_fields = parse_json(b'{"field": [{"key": "tag", "value": ["a", "b"]}, {"key": "tag", "value": "c"}]}')
    xml_fields = parse_xml(
        b"<d><field><key>tag</key><value>a</value><value>b</value></field><field><key>tag</key><value>c</value></field></d>"
    )
    assert json_fields.getlist("tag") == xml_fields.getlist("tag") == ["a", "b", "c"]
    assert json_fields["tag"] == xml_fields["tag"] == "c"


def test_values_are_texts() -> None:
    fields = parse_json(
        b'{"field": [{"key": "a", "value": 1}, {"key": "b", "value": true}, {"key": "c", "value": null}, '
        b'{"key": "d"}, {"key": "e", "value": []}, {"key": "f", "value": 2.5}]}'
    )
    assert fields.multi_items() == [("a", "1"), ("b", "true"), ("c", ""), ("d", ""), ("e", ""), ("f", "2.5")]


def test_what_a_job_says_can_be_subscribed_to() -> None:
    failed = compile("notification.action=STOP and notification.status=FAILED_TOTAL")
    assert failed({"notification": parse_json(JOB)})


def test_fields_are_read_only() -> None:
    with pytest.raises(TypeError):
        parse_json(JOB)["status"] = "FINISHED"  # type: ignore[index]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'{"field": {}}',
        b'{"field": [1]}',
        b'{"field": [{"value": "x"}]}',
        b'{"field": [{"key": 1}]}',
        b'{"field": [{"key": "a", "value": {"b": 1}}]}',
        b'{"field": ' + b"[" * 200_000,
        b'\xff\xfe{"field"',
    ],
)
def test_json_that_is_no_notification_is_refused(body: bytes) -> None:
    with pytest.raises(NotificationError, match="is not JSON of the form"):
        parse_json(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<a>",
        b"<a></b>",
        b"\xff",
        b'<?xml version="1.0" encoding="no-such"?><a/>',
        b'<?xml version="1.0" encoding="utf-7"?><a/>',
        b"<a>&undeclared;</a>",
        b"<d><field><key>\0</key></field></d>",
    ],
)
def test_what_is_no_xml_is_refused(body: bytes) -> None:
    with pytest.raises(NotificationError, match="is not valid XML"):
        parse_xml(body)


@pytest.mark.parametrize(
    "declaration",
    [
        b"<!DOCTYPE d>",
        b'<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>',
        b'<!DOCTYPE d SYSTEM "file:///etc/passwd">',
        b'<!DOCTYPE d [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        b'<!DOCTYPE d PUBLIC "x" "http://evil.invalid/x.dtd">',
    ],
)
def test_a_document_type_is_refused_before_any_entity_is_declared(declaration: bytes) -> None:
    with pytest.raises(NotificationError, match="declares a document type"):
        parse_xml(declaration + b"<d><field><key>a</key><value>&b;</value></field></d>")


def test_a_field_without_a_key_is_refused() -> None:
    with pytest.raises(NotificationError, match="a field without a key"):
        parse_xml(b"<d><field><value>x</value></field></d>")


def test_deep_xml_is_refused() -> None:
    with pytest.raises(NotificationError, match="nested deeper than 16"):
        parse_xml(b"<a>" * 200_000)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for parse in (parse_json, parse_xml):
        try:
            parse(body)
        except NotificationError:
            continue
