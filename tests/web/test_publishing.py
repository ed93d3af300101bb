"""`POST /api/events`."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from rxhub import Event, EventHub
from rxhub.server import Backplane, Limits, Running, Topics, User, Users, running
from rxhub.server.key_hash import Hash, hashed
from rxhub.testing import Nats
from tests.server.wire import raw, wire
from tests.stored import stored
from tests.threads import elsewhere, until
from tests.web.api import api, is_problem

LIMITED = User("limited", Hash(hashed("key")), publish=Topics(["studio.*"]))
AS_LIMITED = {"user": "limited", "key": "key"}
UNBOUND = Limits(events=1e9, events_at_once=10**9)


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(users=Users([LIMITED]), limits=UNBOUND, grace=1) as server:
        yield server


def publish(server: Running, body: Any, media_type: str = "application/json", query: str = "", **options: Any) -> Any:
    content = body if isinstance(body, (str, bytes)) else json.dumps(body)
    headers = {"content-type": media_type} | options.pop("headers", {})
    return api(server, "POST", f"/events{query}", headers=headers, content=content, **options)


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        ('{"topic":"a","data":{"n":1},"id":"x"}', "application/json"),
        ('{"topic":"a","data":{"n":1},"id":"x"}', "application/json; charset=utf-8"),
        (' [{"topic":"a","data":{"n":1},"id":"x"}, {"topic":"b","id":"y"}]\n', "application/json"),
        ('{"topic":"a","data":{"n":1},"id":"x"}\n\n {"topic":"b","id":"y"}\r\n', "application/x-ndjson"),
        ('{"topic":"a","data":{"n":1},"id":"x"}', "application/jsonl"),
    ],
)
def test_events_are_delivered_in_order(server: Running, body: str, media_type: str) -> None:
    ids = ["x", "y"] if '"y"' in body else ["x"]
    with wire(server) as client:
        client.subscribe("topic=a or topic=b")
        response = publish(server, body, media_type)
        assert (response.status_code, response.json()) == (202, {"ids": ids})
        got = [client.event() for _ in ids]
    assert [event["id"] for event in got] == ids
    assert got[0]["data"] == {"n": 1}


@pytest.mark.parametrize(
    "event",
    [
        {"topic": "a"},
        {"topic": "a", "id": None, "source": None},
        {"topic": "a", "id": "", "source": {}},
        {"topic": "a", "data": {"id": 1, "source": 2}},
    ],
)
def test_a_missing_id_and_source_are_added(server: Running, event: dict[str, Any]) -> None:
    with wire(server) as client:
        client.subscribe("topic=a")
        (identifier,) = publish(server, event).json()["ids"]
        got = client.event()
    assert got["id"] == identifier and len(identifier) == 32
    assert got["source"]["user"] == {"username": "rxhub"} and got["source"]["id"]
    assert got.get("data") == event.get("data")


def test_a_complete_event_arrives_as_it_was_sent(server: Running) -> None:
    text = '{ "topic":"exact","id":"1","source":{"id":"me"},"data":{"n":1.50,"é":"\\u00e9"},"more":[1e2] }'
    with wire(server) as client:
        client.subscribe("topic=exact")
        assert publish(server, text).status_code == 202
        assert text in client.receive()


INVALID = [
    "",
    " ",
    "null",
    "[]",
    "1",
    '"topic"',
    "{}",
    '{"topic":1}',
    '{"topic":"a"',
    '{"topic":"a"}{"topic":"b"}',
    '{"topic":"a"},{"topic":"b"}',
    '{"topic":"a"}],"x":[1',
    '{"topic":"a","data":NaN}',
    '{"topic":"a","data":"\\ud800"}',
    '{"topic":"a","data":1' + "0" * 5_000 + "}",
    '{"topic":"a","data":' + "[" * 100 + "]" * 100 + "}",
    "[" * 100_000,
    '{"a":' * 100_000,
    '[{"topic":"a"},1]',
    '[{"topic":"a"},{"topic":2}]',
    '[{"topic":"a"},{"topic":"b"}',
    '{"topic":"a","source":"me"}',
    '{"topic":"a","target":{"id":1}}',
    '{"topic":"a","source":{"x":"' + "y" * 20_000 + '"}}',
    b'{"topic":"\xff"}',
    b"\xff\xfe{\x00",
]


@pytest.mark.parametrize("body", INVALID, ids=range(len(INVALID)))
def test_invalid_events_are_rejected_and_none_is_published(server: Running, body: str | bytes) -> None:
    with wire(server) as client:
        client.subscribe("topic=a or topic=b or topic=end")
        assert is_problem(publish(server, body), 400)
        if isinstance(body, str) and body.strip():
            assert is_problem(publish(server, f'{{"topic":"a"}}\n{body}', "application/x-ndjson"), 400)
        assert publish(server, {"topic": "end"}).status_code == 202
        assert client.event()["topic"] == "end"


def test_the_last_of_equal_keys_counts(server: Running) -> None:
    with wire(server) as client:
        client.subscribe("topic=b")
        assert publish(server, '{"topic":"a","id":"1","topic":"b","id":null}').status_code == 202
        got = client.event()
    assert (got["topic"], len(got["id"])) == ("b", 32)


def test_a_user_publishes_only_allowed_topics(server: Running) -> None:
    with wire(server) as client:
        client.subscribe("topic=studio.* or topic=other or topic=end")
        response = publish(server, [{"topic": "studio.a"}, {"topic": "other"}], **AS_LIMITED)
        assert is_problem(response, 403) and response.json()["index"] == 1
        assert publish(server, {"topic": "studio.b"}, **AS_LIMITED).status_code == 202
        assert client.event()["topic"] == "studio.b"


@pytest.mark.parametrize("topic", ["ftrack.meta.subscribe", "ftrack.meta.unsubscribe"])
def test_subscribing_is_not_publishing(server: Running, topic: str) -> None:
    assert is_problem(publish(server, {"topic": topic, "data": {"subscriber": {"id": "x"}}}), 400)


@pytest.mark.parametrize("media_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/xml"])
def test_other_media_types_are_rejected(server: Running, media_type: str) -> None:
    assert is_problem(publish(server, {"topic": "a"}, media_type), 415)


def test_invalid_targets_are_rejected(server: Running) -> None:
    response = publish(server, {"topic": "a", "target": "id="})
    assert is_problem(response, 400) and response.json()["ids"] == []


def test_large_bodies_and_events_are_rejected(server: Running) -> None:
    big = json.dumps({"topic": "a", "data": "x" * 1_100_000})
    assert is_problem(publish(server, big), 413)
    assert is_problem(publish(server, [{"topic": "a"}] * 1_001), 413)
    assert is_problem(publish(server, '{"topic":"a"}\n' * 1_001, "application/x-ndjson"), 413)
    assert is_problem(publish(server, "\n" * 2_000_000, "application/x-ndjson"), 413)
    assert is_problem(publish(server, "[" + "1," * 2_000_000 + "1]"), 413)
    assert len(publish(server, [{"topic": "a"}] * 1_000).json()["ids"]) == 1_000
    assert is_problem(publish(server, " " * 5_000_000), 413)

    def chunks() -> Iterator[bytes]:
        for _ in range(80):
            yield b" " * 65_536

    response = httpx.post(
        f"{server.url}/api/events",
        content=chunks(),
        headers={"authorization": f"Bearer {server.api_user}:{server.api_key}", "content-type": "application/json"},
        trust_env=False,
    )
    assert is_problem(response, 413)
    assert publish(server, {"topic": "a"}).status_code == 202


def head(server: Running, *lines: str) -> bytes:
    authorization = f"Authorization: Bearer {server.api_user}:{server.api_key}"
    return "\r\n".join(
        ["POST /api/events HTTP/1.1", "Host: x", authorization, "Content-Type: application/json", *lines, "", ""]
    ).encode()


def test_an_endless_body_ends_the_connection(server: Running) -> None:
    with raw(server) as connection, pytest.raises(OSError):
        connection.sendall(head(server, "Transfer-Encoding: chunked"))
        for _ in range(2_000):
            connection.sendall(b"10000\r\n" + bytes(0x10000) + b"\r\n")
        while connection.recv(65_536):
            pass
        raise ConnectionError
    until(lambda: server.stats["unread_bytes"] == 0)


def test_bodies_may_be_slower_than_the_time_for_a_request() -> None:
    with running(limits=Limits(request_timeout=0.3), grace=1) as server, raw(server) as connection:
        body = b'{"topic":"a"}'
        connection.sendall(head(server, f"Content-Length: {len(body)}"))
        before = server.stats["uptime_seconds"]
        until(lambda: server.stats["uptime_seconds"] > before + 1)
        connection.sendall(body)
        assert b"202 Accepted" in connection.recv(65_536)


def test_a_user_has_limited_memory_for_incomplete_bodies() -> None:
    limits = Limits(unread_per_user=300_000)
    with running(users=Users([LIMITED]), limits=limits, grace=1) as server:
        connections: list[socket.socket] = []
        for _ in range(3):
            connection = raw(server)
            connections.append(connection)
            connection.sendall(head(server, "Content-Length: 1000000"))
            connection.sendall(b" " * 150_000)
        until(lambda: server.stats["unread_limit_reached"] > 0)
        until(lambda: server.stats["unread_bytes"] <= 300_000)
        assert publish(server, {"topic": "studio.a"}, **AS_LIMITED).status_code == 202
        for connection in connections:
            connection.close()
        until(lambda: server.stats["unread_bytes"] == 0)


def test_a_user_has_a_limited_number_of_requests() -> None:
    with running(limits=Limits(connections_per_user=2), grace=1) as server:
        with raw(server) as one, raw(server) as two:
            for connection in (one, two):
                connection.sendall(head(server, "Content-Length: 1000"))
            until(lambda: server.stats["users_connected"] == 1)
            until(lambda: is_problem(publish(server, {"topic": "a"}), 429))
        until(lambda: publish(server, {"topic": "a"}).status_code == 202)
    assert server.stats["users_connected"] == 0


def test_a_user_who_publishes_too_much_has_to_wait() -> None:
    with running(users=Users([LIMITED]), limits=Limits(events=1, events_at_once=5), grace=1) as server:
        assert publish(server, [{"topic": "a"}] * 20).status_code == 202
        response = publish(server, {"topic": "a"})
        assert is_problem(response, 429)
        assert int(response.headers["retry-after"]) >= 1
        assert publish(server, {"topic": "studio.a"}, **AS_LIMITED).status_code == 202


@pytest.fixture
def storing(nats: Nats) -> Iterator[Running]:
    backplane = Backplane(nats.url, nats.user, nats.password, nats.stream)
    with running(limits=UNBOUND, grace=1, backplane=backplane) as server:
        yield server


def test_accepted_events_are_stored_once(storing: Running, nats: Nats) -> None:
    events = [{"topic": "a", "id": str(number), "data": {"n": number}} for number in range(5)]
    for _ in range(3):
        assert publish(storing, events).json() == {"ids": ["0", "1", "2", "3", "4"]}
        assert [event["data"]["n"] for event in stored(nats)] == [0, 1, 2, 3, 4]


def test_invalid_events_are_not_stored(storing: Running, nats: Nats) -> None:
    assert is_problem(publish(storing, [{"topic": "a"}, {"topic": "a", "target": "id="}]), 400)
    assert is_problem(publish(storing, [{"topic": "a"}, {"topic": "x" * 10_000}]), 503)
    assert all(event["topic"] == "a" for event in stored(nats))


def test_replies_are_collected(server: Running) -> None:
    with EventHub(server.url, server.api_user, server.api_key) as hub, hub.start():
        hub.connect()
        hub.subscribe("topic=asked", lambda event: {"twice": 2 * event.data["n"]})
        hub.subscribe("topic=asked", lambda event: "other")
        hub.subscribe("topic=silent", lambda event: None)
        response = publish(server, {"topic": "asked", "data": {"n": 2}}, query="?reply=20&count=2")
        assert response.status_code == 200
        (identifier,) = response.json()["ids"]
        assert [reply["data"] for reply in response.json()["replies"]] == [{"twice": 4}, "other"]
        assert {reply["inReplyToEvent"] for reply in response.json()["replies"]} == {identifier}
        response = publish(server, {"topic": "silent"}, query="?reply=0.2")
        assert response.json()["replies"] == []
        accept = {"accept": "application/x-ndjson"}
        event = {"topic": "asked", "data": {"n": 3}}
        lines = publish(server, event, query="?reply=20&count=2", headers=accept).text.splitlines()
        content = [json.loads(line) for line in lines if line]
        assert list(content[0]) == ["ids"]
        assert [reply["data"] for reply in content[1:]] == [{"twice": 6}, "other"]
    until(lambda: server.stats["connections"] == 0)


def test_replies_to_others_are_not_collected(server: Running) -> None:
    with wire(server) as client:
        client.subscribe("topic=asked")

        def ask() -> Any:
            return publish(
                server, {"topic": "asked", "id": "mine", "source": {"id": "me-1"}}, query="?reply=20&count=1"
            )

        with elsewhere(ask) as asking:
            assert client.event()["source"] == {"id": "me-1"}
            for target, answered in (("id=me-1", "another"), ("id=me-2", "mine"), ("id=me-1", "mine")):
                client.do("ftrack.meta.reply", {"to": f"{target} {answered}"}, target=target, inReplyToEvent=answered)
        (reply,) = asking.result.json()["replies"]
        assert reply["data"] == {"to": "id=me-1 mine"}


@pytest.mark.parametrize(
    "query", ["reply=x", "reply=-1", "reply=nan", "reply=1e9", "count=1", "reply=1&count=0", "x=1"]
)
def test_invalid_parameters_are_rejected(server: Running, query: str) -> None:
    assert is_problem(publish(server, {"topic": "a"}, query=f"?{query}"), 400)


def test_replies_need_one_event_with_a_source(server: Running) -> None:
    assert is_problem(publish(server, [{"topic": "a"}, {"topic": "b"}], query="?reply=1"), 400)
    assert is_problem(publish(server, {"topic": "a", "source": {"id": 1}}, query="?reply=1"), 400)
    with wire(server) as client:
        client.subscribe("topic=ftrack.meta.reply", id="taken")
        event = {"topic": "studio.a", "source": {"id": "taken"}}
        assert is_problem(publish(server, event, query="?reply=1", **AS_LIMITED), 409)


def test_replies_come_through_a_store(storing: Running) -> None:
    with EventHub(storing.url, storing.api_user, storing.api_key) as hub, hub.start():
        hub.connect()
        hub.subscribe("topic=asked", lambda event: event.data)
        hub.publish(Event("settled")).result(10)
        response = publish(storing, {"topic": "asked", "data": [1]}, query="?reply=20&count=1")
        assert [reply["data"] for reply in response.json()["replies"]] == [[1]]
