"""Responses of the server, over real sockets."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
from base64 import b64encode
from collections.abc import Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from rxhub.server import Limits, Running, Topics, User, Users, UsersFile, application, running
from rxhub.server.authentication import Credentials
from rxhub.server.client import CloseReason
from rxhub.server.connection import ClientConnection
from rxhub.server.event_server import EventServer
from rxhub.server.key_hash import Hash, hashed
from rxhub.transport.socketio.protocol import Handshake
from tests.server.wire import answer, credentials, packet, request, socket_url, wire
from tests.threads import until

LIMITED = User("limited", Hash(hashed("limited key")), publish=Topics(["studio.*"]), subscribe=Topics(["studio.*"]))
OTHER = User("other", Hash(hashed("other key")))
AS_LIMITED = {"ftrack-user": "limited", "ftrack-api-key": "limited key"}
AS_OTHER = {"ftrack-user": "other", "ftrack-api-key": "other key"}


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(users=Users([LIMITED, OTHER]), grace=1) as server:
        yield server


def accepted(response: dict[str, object]) -> bool:
    return response == {"success": True}


def test_a_handshake_is_answered_with_a_session(server: Running) -> None:
    for path in (
        "/socket.io/1/",
        "/socket.io/1",
        f"/socket.io/1/?api_user={server.api_user}&api_key={server.api_key}&t=1",
    ):
        status, line, headers = request(server, path, {} if "?" in path else credentials(server))
        assert status == 200
        handshake = Handshake.parse(line)
        assert handshake.transports == ("websocket",)
        assert handshake.heartbeat == 30
        assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"ftrack-user": "rxhub"},
        {"ftrack-user": "rxhub", "ftrack-api-key": "wrong"},
        {"ftrack-user": "nobody", "ftrack-api-key": "wrong"},
        {"ftrack-user": "rxhub", "ftrack-api-key": ""},
        {"ftrack-user": "rxhub", "ftrack-api-key": "x" * 10_000},
    ],
)
def test_without_the_right_key_it_is_refused_and_which_part_is_wrong_is_not_told(server: Running, headers) -> None:
    status, body, _ = request(server, "/socket.io/1/", headers)
    assert status == 401
    assert "nobody" not in body
    assert "wrong." in body or "Send a user and key" in body


def test_a_session_is_good_for_one_websocket(server: Running) -> None:
    sid = request(server, "/socket.io/1/", credentials(server))[1].split(":")[0]
    with connect(socket_url(server, sid), proxy=None) as connection:
        assert connection.recv(10) == "1::"
    for bad in (sid, "made-up", "%00"):
        with pytest.raises(InvalidStatus, match="403"):
            connect(socket_url(server, bad), proxy=None)


def test_a_session_is_bound_to_its_user(server: Running) -> None:
    sid = request(server, "/socket.io/1/", credentials(server))[1].split(":")[0]
    with pytest.raises(InvalidStatus, match="403"):
        connect(socket_url(server, sid, "?api_user=other&api_key=x"), proxy=None)


def test_pages_of_other_origins_are_refused(server: Running) -> None:
    evil = {"origin": "https://evil.example"}
    status, _, headers = request(server, "/socket.io/1/", credentials(server) | evil)
    assert status == 403
    assert "access-control-allow-origin" not in headers
    sid = request(server, "/socket.io/1/", credentials(server))[1].split(":")[0]
    with pytest.raises(InvalidStatus, match="403"):
        connect(socket_url(server, sid), additional_headers=evil, proxy=None)


def test_a_page_of_an_allowed_origin_may_read_the_answer(server: Running) -> None:
    status, _, headers = request(server, "/socket.io/1/", credentials(server) | {"origin": server.url})
    assert status == 200
    assert headers["access-control-allow-origin"] == server.url
    assert headers["access-control-allow-credentials"] == "true"
    assert request(server, "/socket.io/1/", {"origin": server.url})[2]["access-control-allow-origin"] == server.url


def test_subscribing_publishing_and_answering(server: Running) -> None:
    with wire(server) as one, wire(server, AS_OTHER) as two:
        assert accepted(one.subscribe("topic=studio.* and data.n>=2", id="one"))
        assert accepted(two.subscribe("topic=ftrack.meta.reply", id="two"))
        for n in (1, 2):
            assert accepted(two.do("studio.a", {"n": n, "text": "a:b"}, id="asked", source={"id": "two"}, extra=[1]))
        got = one.event()
        assert got["data"] == {"n": 2, "text": "a:b"}
        assert got["extra"] == [1]
        assert accepted(one.do("ftrack.meta.reply", {"n": 3}, target="id=two", inReplyToEvent="asked"))
        assert two.event()["inReplyToEvent"] == "asked"
        assert accepted(one.do("ftrack.meta.unsubscribe", {"subscriber": {"id": "one"}}))
        assert accepted(two.do("studio.a", {"n": 2}))
        assert accepted(one.do("studio.b"))  # would come behind the event


def test_an_event_comes_exactly_as_it_was_sent(server: Running) -> None:
    payload = '{ "name":"ftrack.event", "args":[ {"topic":"exact","data":{"n":1.50,"é":"\\u00e9"},"x":1e2} ] }'
    with wire(server) as client:
        client.subscribe("topic=exact")
        client.send(f"5:7+::{payload}")
        got = {client.receive(), client.receive()}
        assert got == {f"5:::{payload}", '6:::7+[{"success":true}]'}


@pytest.mark.parametrize(
    ("topic", "data", "message"),
    [
        (
            "ftrack.meta.subscribe",
            {"subscriber": {"id": "x"}, "subscription": "topic=(("},
            "Cannot read|Unexpected|end",
        ),
        ("ftrack.meta.subscribe", {"subscriber": {"id": 5}, "subscription": "topic=a"}, '"id"'),
        ("ftrack.meta.subscribe", {"subscriber": "x", "subscription": "topic=a"}, "object"),
        ("ftrack.meta.subscribe", {"subscriber": {"id": "x"}}, "subscription"),
        ("ftrack.meta.subscribe", None, "object"),
        ("ftrack.meta.subscribe", {"subscriber": {"id": "x", "y": "y" * 100_000}, "subscription": ""}, "bytes"),
        ("ftrack.meta.unsubscribe", {"subscriber": {}}, '"id"'),
        ("ftrack.meta.unsubscribe", [], "object"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_reason_and_the_connection_goes_on(
    server: Running, topic: str, data: object, message: str
) -> None:
    with wire(server) as client:
        response = client.do(topic, data)
        assert response["success"] is False
        assert re.search(message, response["message"])
        assert client.do("studio.a", target="id=((")["success"] is False
        client.send('5:3+::{"name":"other","args":[]}')
        assert answer(client.receive())[1]["success"] is False
        client.send("3:4::hello")
        assert answer(client.receive())[1]["success"] is False
        assert accepted(client.do("studio.a"))


def test_rules_say_what_a_user_may_publish_and_receive(server: Running) -> None:
    with wire(server) as free, wire(server, AS_LIMITED) as limited:
        assert limited.do("ftrack.update")["success"] is False
        assert accepted(limited.do("studio.a"))
        assert limited.subscribe("topic=ftrack.update")["success"] is False
        assert accepted(limited.subscribe("topic=*"))
        assert accepted(free.do("ftrack.update"))
        assert accepted(free.do("studio.b"))
        assert limited.event()["topic"] == "studio.b"


def test_nobody_takes_the_replies_of_another_user(server: Running) -> None:
    with wire(server) as mine, wire(server, AS_OTHER) as other:
        assert accepted(mine.subscribe("topic=ftrack.meta.reply", id="mine"))
        assert "another user" in other.subscribe("topic=ftrack.meta.reply", id="mine")["message"]
        with wire(server) as back:
            assert accepted(back.subscribe("topic=ftrack.meta.reply", id="mine"))


def test_a_client_that_says_goodbye_is_let_go(server: Running) -> None:
    with wire(server) as client:
        client.send("0::")
        with pytest.raises(ConnectionClosed):
            client.receive()


def test_health_is_open_and_statistics_are_not(server: Running) -> None:
    assert request(server, "/health")[:2] == (200, '{"status":"ok"}')
    for path in ("/stats", "/metrics"):
        status, _, headers = request(server, path)
        assert status == 401
        assert headers["www-authenticate"].startswith("Basic")
        assert request(server, path, {"ftrack-user": "rxhub", "ftrack-api-key": "wrong"})[0] == 401
    stats = json.loads(request(server, "/stats", credentials(server))[1])
    assert stats.keys() == server.stats.keys()
    basic = b64encode(f"{server.api_user}:{server.api_key}".encode()).decode()
    status, body, headers = request(server, "/metrics", {"authorization": f"Basic {basic}"})
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = [line.split() for line in body.splitlines() if not line.startswith("#")]
    ours = {name.removeprefix("rxhub_server_") for name, _ in samples if not name.startswith("process_")}
    assert {name.removesuffix("_total") for name in ours} == stats.keys()
    assert "process_resident_memory_bytes" in body
    assert all(float(value) >= 0 for _, value in samples)


def test_statistics_count(server: Running) -> None:
    # Of the tests before, which may have left open what they asked by.
    until(lambda: server.stats["connections"] == server.stats["subscriptions"] == server.stats["sockets_open"] == 0)
    before = server.stats
    with wire(server) as client:
        client.subscribe("topic=count")
        client.do("other")
        client.send(packet("count", number=None))
        client.event()
        until(lambda: server.stats["sockets_open"] == 1)  # without the handshake's
        now = server.stats
        grown = {name: now[name] - before[name] for name in now if now[name] != before[name]}
        assert grown.pop("uptime_seconds") > 0
        grown.pop("sessions_waiting", None)  # some of the tests before expire in time
        assert grown == {
            "handshakes": 1,
            "connections_opened": 1,
            "connections": 1,
            "sockets_open": 1,
            "users_connected": 1,
            "subscriptions": 1,
            "packets_received": 3,
            "events_received": 3,
            "events_delivered": 1,
        }
    until(lambda: server.stats["subscriptions"] == 0)


def test_no_key_gets_into_a_log(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    query = f"?api_user={server.api_user}&api_key={server.api_key}"
    sid = request(server, f"/socket.io/1/{query}")[1].split(":")[0]
    with connect(socket_url(server, sid, query), proxy=None) as connection:
        assert connection.recv(10) == "1::"
    request(server, "/socket.io/1/?api_user=rxhub&api_key=wrong-secret")
    until(lambda: "Rejected" in caplog.text)
    ours = [record.getMessage() for record in caplog.records if record.name.partition(".")[0] in {"uvicorn", "rxhub"}]
    assert ours
    assert not [message for message in ours if server.api_key in message or "wrong-secret" in message]


def test_wrong_keys_are_soon_not_even_checked() -> None:
    with running(limits=Limits(failures=0.001, failures_at_once=3)) as server:
        wrong = {"ftrack-user": "rxhub", "ftrack-api-key": "wrong"}
        assert [request(server, "/socket.io/1/", wrong)[0] for _ in range(5)] == [401, 401, 401, 429, 429]
        assert request(server, "/socket.io/1/", credentials(server))[0] == 200  # whose key is known
        assert request(server, "/socket.io/1/", {**wrong, "ftrack-user": "nobody"})[0] == 401


def test_a_client_that_keeps_connecting_is_held_off() -> None:
    with running(limits=Limits(handshakes=0.001, handshakes_at_once=3)) as server:
        statuses = [request(server, "/socket.io/1/", credentials(server))[0] for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        assert server.stats["handshakes_refused"] == 2


def test_many_at_once_with_a_key_that_is_not_known_yet() -> None:
    fresh = User("fresh", Hash(hashed("key")))
    with running(users=Users([fresh]), limits=Limits(failures_at_once=1)) as server, ThreadPoolExecutor(16) as pool:
        headers = {"ftrack-user": "fresh", "ftrack-api-key": "key"}
        assert {
            status for status, _, _ in pool.map(lambda _: request(server, "/socket.io/1/", headers), range(32))
        } == {200}


def test_there_are_so_many_clients_of_a_user_and_of_all() -> None:
    limits = Limits(connections=2, connections_per_user=1)
    users = Users([User.with_key(name, "key") for name in ("a", "b", "c")])
    as_user = {name: {"ftrack-user": name, "ftrack-api-key": "key"} for name in "abc"}
    with running(users=users, limits=limits, grace=1) as server, ExitStack() as stack:
        stack.enter_context(wire(server, as_user["a"]))
        with pytest.raises(InvalidStatus), wire(server, as_user["a"]):
            pass
        with wire(server, as_user["b"]), pytest.raises(InvalidStatus), wire(server, as_user["c"]):
            pass
        until(lambda: server.stats["connections"] == 1)
        stack.enter_context(wire(server, as_user["c"]))


def test_a_session_that_is_not_used_expires() -> None:
    with running(limits=Limits(session_expiry=0.05)) as server:
        sid = request(server, "/socket.io/1/", credentials(server))[1].split(":")[0]
        until(lambda: server.stats["sessions_waiting"] == 0)
        with pytest.raises(InvalidStatus, match="403"):
            connect(socket_url(server, sid), proxy=None)


def test_a_user_who_is_removed_is_cut_off_and_the_others_are_not(tmp_path: Path) -> None:
    path = tmp_path / "users.toml"
    file = UsersFile(path)
    file.add("jane", key="key")
    file.add("bob", key="key")
    with mounted(UsersFile(path), heartbeat=0.1) as server:
        as_user = {name: {"ftrack-user": name, "ftrack-api-key": "key"} for name in ("jane", "bob")}
        with wire(server, as_user["jane"]) as jane, wire(server, as_user["bob"]) as bob:
            file.remove("jane")
            with pytest.raises(ConnectionClosed):
                jane.receive()
            assert accepted(bob.do("studio.a"))
            assert request(server, "/socket.io/1/", as_user["jane"])[0] == 401


def test_a_session_of_a_key_that_was_replaced_lets_nobody_in(tmp_path: Path) -> None:
    path = tmp_path / "users.toml"
    file = UsersFile(path)
    file.add("jane", key="stolen")
    file.add("bob", key="key")
    with mounted(UsersFile(path)) as server:
        line = request(server, "/socket.io/1/", {"ftrack-user": "jane", "ftrack-api-key": "stolen"})[1]
        file.remove("jane")
        file.add("jane", key="new")
        assert request(server, "/socket.io/1/", {"ftrack-user": "bob", "ftrack-api-key": "key"})[0] == 200
        with pytest.raises(InvalidStatus, match="403"):
            connect(socket_url(server, line.split(":")[0]), proxy=None)


def test_who_is_ended_before_the_connection_begins_is_not_served() -> None:
    async def main() -> ClientConnection:
        server = EventServer(Users([User.with_key("me", "key")]))
        user = await server.authenticate(Credentials("me", "key"), "")
        connection = server.connect(server.handshake(user).split(":")[0], None)
        connection.update_user(None)

        async def receive() -> dict[str, Any]:
            return await asyncio.Future()

        async def send(message: MutableMapping[str, Any]) -> None:
            pass

        async with asyncio.timeout(10):
            await connection.run(receive, send)
        return connection

    assert asyncio.run(main()).close_reason is CloseReason.REMOVED


@contextmanager
def mounted(users: Users, **options: float) -> Iterator[Running]:
    """The application below a path of another one, run by an uvicorn of the program's own."""
    app = Starlette(routes=[Mount("/hub", application(users, **options))])  # type: ignore[arg-type]
    config = uvicorn.Config(app, port=0, log_config=None, ws="rxhub.server.uvicorn_protocols:WebSocket", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Running(f"http://127.0.0.1:{port}/hub", "rxhub", "", None)  # type: ignore[arg-type]
    finally:
        server.should_exit = True
        thread.join(20)


def test_it_mounts_in_another_application() -> None:
    with (
        mounted(Users([User.with_key("rxhub", "key")])) as server,
        wire(server, {"ftrack-user": "rxhub", "ftrack-api-key": "key"}) as client,
    ):
        assert accepted(client.subscribe("topic=a"))
        assert accepted(client.do("b"))
        client.send(packet("a", number=None))
        assert client.event()["topic"] == "a"
        assert request(server, "/health")[0] == 200


def test_a_large_event_is_refused_and_a_huge_one_ends_the_connection() -> None:
    with running(limits=Limits(message=20_000), grace=1) as server, wire(server) as client, wire(server) as other:
        assert accepted(client.do("a", "x" * 19_000))
        assert "characters at most" in client.do("a", "x" * 30_000)["message"]
        client.send(packet("a", "x" * 90_000))
        with pytest.raises(ConnectionClosed):
            client.receive()
        assert accepted(other.do("a"))
