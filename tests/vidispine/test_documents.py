"""Documents are escaped by the library: what goes in as text comes out as the same text."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub.vidispine.documents import metadata_document, notification_document, serialize, user_document

NS = "{http://xml.vidispine.com/schema/vidispine}"
# XML hands over a carriage return as a line feed, by its own rules.
sendable = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=40)


@given(sendable, sendable, sendable)
def test_a_user_is_read_back_as_it_was_given(name: str, real_name: str, password: str) -> None:
    document = ET.fromstring(serialize(user_document(name, real_name, password)))
    assert [child.tag for child in document] == [f"{NS}userName", f"{NS}realName", f"{NS}password"]
    assert [child.text or "" for child in document] == [name, real_name, password]


def test_a_name_cannot_close_its_element() -> None:
    evil = "x</userName><password>mine</password><userName>"
    document = ET.fromstring(serialize(user_document(evil, "", "theirs")))
    assert document.findtext(f"{NS}userName") == evil
    assert document.findtext(f"{NS}password") == "theirs"


@pytest.mark.parametrize("character", ["\0", "\x1f", "\ud800", "\ufffe"])
def test_what_xml_cannot_say_is_refused(character: str) -> None:
    with pytest.raises(ValueError, match=r"The userName .* cannot be sent: XML does not allow the character U\+"):
        user_document(f"jo{character}hn", "John", "secret")


def test_a_password_that_cannot_be_sent_is_not_shown() -> None:
    with pytest.raises(ValueError, match="The password cannot be sent") as raised:
        user_document("john", "John", "hunter2\0")
    assert "hunter2" not in str(raised.value)


@given(st.dictionaries(sendable, st.lists(sendable, max_size=3), max_size=3))
def test_metadata_keep_every_value_of_every_field(fields: dict[str, list[str]]) -> None:
    document = ET.fromstring(serialize(metadata_document(fields)))
    read = {
        field.findtext(f"{NS}name"): [value.text or "" for value in field.findall(f"{NS}value")]
        for field in document.iter(f"{NS}field")
    }
    assert read == fields


def test_metadata_are_set_for_the_whole_length_of_an_item() -> None:
    assert serialize(metadata_document({"title": "One & only"})).decode().splitlines()[1] == (
        '<MetadataDocument xmlns="http://xml.vidispine.com/schema/vidispine"><timespan start="-INF" end="+INF">'
        "<field><name>title</name><value>One &amp; only</value></field></timespan></MetadataDocument>"
    )


def test_a_notification_is_written_as_vidispines_reference_has_it() -> None:
    document = notification_document(
        "job/stop",
        "http://hub/notify?a=1&b=2",
        method="POST",
        content_type="application/json",
        retry=5,
        timeout=10,
        synchronous=False,
    )
    assert serialize(document).decode().splitlines()[1] == (
        '<NotificationDocument xmlns="http://xml.vidispine.com/schema/vidispine"><action><http synchronous="false">'
        "<retry>5</retry><contentType>application/json</contentType><url>http://hub/notify?a=1&amp;b=2</url>"
        "<method>POST</method><timeout>10</timeout></http></action><trigger><job><stop /></job></trigger>"
        "</NotificationDocument>"
    )


@pytest.mark.parametrize("trigger", ["", "/", "job/", "job stop", "job/<stop/>", "job//stop", "1job"])
def test_a_trigger_is_a_path_of_element_names(trigger: str) -> None:
    with pytest.raises(ValueError, match="is not a valid trigger"):
        notification_document(
            trigger, "http://hub", method="POST", content_type="", retry=1, timeout=1, synchronous=True
        )
