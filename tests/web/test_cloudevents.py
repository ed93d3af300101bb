"""CloudEvents, with the SDK of the specification as publisher and reader."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http, to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from rxhub.server import Backplane, Limits, Running, running
from rxhub.testing import Nats
from tests.server.wire import wire
from tests.stored import stored
from tests.web.api import is_problem
from tests.web.reader import reading

FORMAT = JSONFormat()
ATTRIBUTES: dict[str, Any] = {
    "id": "é 1%",
    "source": "/studio/Größe?a=b",
    "type": "studio.published",
    "subject": "shot 10",
    "time": datetime(2026, 3, 1, 12, 30, tzinfo=UTC),
    "dataschema": "https://studio.example/schema",
    "retries": "3",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(limits=Limits(events=1e9), grace=1) as server:
        yield server


def post(server: Running, headers: dict[str, str], body: bytes) -> httpx.Response:
    authorization = {"authorization": f"Bearer {server.api_user}:{server.api_key}"}
    return httpx.post(f"{server.url}/api/events", headers=headers | authorization, content=body, trust_env=False)


def received(reader: Any, number: int) -> Any:
    data = reader.wait(number + 1)[number]
    message = HTTPMessage({"content-type": "application/cloudevents+json"}, json.dumps(data).encode())
    return from_http(message, FORMAT)


@pytest.mark.parametrize("convert", [to_binary, to_structured])
@pytest.mark.parametrize(
    ("media_type", "data"),
    [
        ("application/json", {"frames": [1, 2.5, None], "é": "ü"}),
        ("application/vnd.studio+json", {"a": 1}),
        ("text/plain; charset=utf-8", "grüße\nzwei"),
        ("image/png", b"\x89PNG\xff\x00"),
        (None, None),
    ],
)
def test_an_event_survives(server: Running, convert: Any, media_type: str | None, data: Any) -> None:
    attributes = ATTRIBUTES | ({} if media_type is None else {"datacontenttype": media_type})
    event = CloudEvent(attributes, data)
    message = convert(event, FORMAT)
    with reading(server, "topic=studio.published", format="cloudevents") as reader:
        response = post(server, message.headers, message.body)
        assert (response.status_code, response.json()) == (202, {"ids": ["é 1%"]})
        got = received(reader, 0)
    assert got.get_attributes() == event.get_attributes()
    assert got.get_data() == data


def test_a_batch(server: Running) -> None:
    events = [
        {"specversion": "1.0", "id": str(number), "source": "/a", "type": "batch", "data": {"n": number}}
        for number in range(3)
    ]
    with reading(server, "topic=batch", headers={"accept": "application/x-ndjson"}, format="cloudevents") as reader:
        response = post(server, {"content-type": "application/cloudevents-batch+json"}, json.dumps(events).encode())
        assert response.json() == {"ids": ["0", "1", "2"]}
        got = reader.wait(3)
    assert [event["data"] for event in got] == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_attributes_can_be_subscribed(server: Running) -> None:
    with wire(server) as client:
        client.subscribe('topic=x and source.cloudevent.subject="shot 10" and source.user.username=rxhub')
        event = {"specversion": "1.0", "id": "1", "source": "/a", "type": "x", "subject": "shot 10", "data": [1]}
        post(server, {"content-type": "application/cloudevents+json"}, json.dumps(event).encode())
        got = client.event()
    assert (got["id"], got["data"]) == ("1", [1])
    assert got["source"]["cloudevent"] == {"source": "/a", "subject": "shot 10"}


def test_other_events_are_valid_cloudevents(server: Running) -> None:
    forged = {"source": "", "time": 1, "specversion": "9", "BAD": "x", "good": "y", "nested": {}}
    with reading(server, "topic=plain", format="cloudevents") as reader, wire(server) as client:
        client.do("plain", {"n": 1}, id="e1", source={"id": "me & you"}, target="")
        client.do("plain", None, sent="2026-03-01T12:00:00+00:00", source={"cloudevent": forged})
        first, second = received(reader, 0), received(reader, 1)
    assert (first.get_id(), first.get_type(), first.get_data()) == ("e1", "plain", {"n": 1})
    assert first.get_source() == "urn:rxhub:me%20%26%20you"
    assert second.get_attributes()["good"] == "y"
    assert second.get_time() == datetime(2026, 3, 1, 12, tzinfo=UTC)


VALID = {"specversion": "1.0", "id": "1", "source": "/a", "type": "x"}


@pytest.mark.parametrize(
    "event",
    [
        {},
        [],
        *({name: value for name, value in VALID.items() if name != missing} for missing in VALID),
        VALID | {"specversion": "0.3"},
        VALID | {"id": ""},
        VALID | {"type": 1},
        VALID | {"subject": 1},
        VALID | {"source": True},
        VALID | {"time": "yesterday"},
        VALID | {"time": "2026-03-01T12:00:00"},
        VALID | {"Upper": "x"},
        VALID | {"nested": {"a": 1}},
        VALID | {"data": 1, "data_base64": "AA=="},
        VALID | {"data_base64": "!"},
        VALID | {"data_base64": 1},
        VALID | {"subject": "x" * 20_000},
    ],
)
def test_invalid_cloudevents_are_rejected(server: Running, event: Any) -> None:
    response = post(server, {"content-type": "application/cloudevents+json"}, json.dumps(event).encode())
    assert is_problem(response, 400)
    response = post(server, {"content-type": "application/cloudevents-batch+json"}, json.dumps([VALID, event]).encode())
    assert is_problem(response, 400) and response.json()["index"] == 1


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"ce-id": "%ff", "content-type": "application/json"}, b"{}"),
        ({"content-type": "application/json"}, b"{"),
        ({"content-type": "application/json"}, b"\xff"),
        ({"content-type": "text/plain"}, b"\xff"),
        ({"ce-source": ""}, b""),
    ],
)
def test_invalid_binary_cloudevents_are_rejected(server: Running, headers: dict[str, str], body: bytes) -> None:
    valid = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/a", "ce-type": "x"}
    assert is_problem(post(server, valid | headers, body), 400)


def test_base64_is_kept_as_text(server: Running) -> None:
    with wire(server) as client:
        client.subscribe("topic=x")
        headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/a", "ce-type": "x", "content-type": "a/b"}
        post(server, headers, b"\x00\xff")
        assert client.event()["data"] == b64encode(b"\x00\xff").decode()


def test_events_of_two_sources_may_have_one_id(nats: Nats) -> None:
    backplane = Backplane(nats.url, nats.user, nats.password, nats.stream)
    with running(grace=1, backplane=backplane) as server:
        for source in ("/a", "/b", "/a"):
            body = json.dumps(VALID | {"source": source}).encode()
            assert post(server, {"content-type": "application/cloudevents+json"}, body).status_code == 202
        assert [event["source"]["cloudevent"]["source"] for event in stored(nats)] == ["/a", "/b"]
