"""Clients that disappear, do not read, flood, or send invalid packets do not affect others, and memory is bounded."""

from __future__ import annotations

import gc
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from rxhub.server import Limits, Running, SlowConsumer, User, Users, running
from tests.server.peers import PythonClient
from tests.server.wire import Wire, answer, credentials, opened, packet, raw, request, socket_url, wire
from tests.threads import elsewhere, until

LARGE = "x" * 20_000


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(
        heartbeat=0.5, heartbeat_timeout=20, grace=1, limits=Limits(events=1e6, events_at_once=10**6)
    ) as server:
        yield server


@pytest.fixture(scope="module")
def python(server: Running) -> Iterator[PythonClient]:
    """ftrack's Python client, which subscribes to everything and must live through all of this module."""
    client = PythonClient(server)
    client.connect()
    client.subscribe("topic=*")
    until(lambda: server.stats["subscriptions"] >= 2)
    yield client
    client.close()


def never_reading(server: Running, subscription: str) -> socket.socket:
    """A client with a small window that subscribes and then does not read."""
    sid = request(server, "/socket.io/1/", credentials(server))[1].split(":")[0]
    connection = raw(server, window=4_096)
    connection.sendall(
        f"GET /socket.io/1/websocket/{sid} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    before = server.stats["events_received"]
    payload = packet(
        "ftrack.meta.subscribe", {"subscriber": {"id": "never"}, "subscription": subscription}, number=None
    ).encode()
    until(lambda: b"1::" in connection.recv(4_096, socket.MSG_PEEK))
    connection.sendall(struct.pack("!BBH", 0x81, 0x80 | 126, len(payload)) + bytes(4) + payload)
    until(lambda: server.stats["events_received"] > before)
    return connection


def test_a_client_that_never_reads_is_cut_off_and_the_others_get_everything() -> None:
    limits = Limits(queue=50, events=1e6, events_at_once=10**6)
    with running(limits=limits, heartbeat=5, heartbeat_timeout=20, grace=1) as server:
        with wire(server) as publisher, wire(server) as reader, never_reading(server, "topic=a"):
            reader.subscribe("topic=a", id="reads")
            sent = 0
            while server.stats["slow_consumers"] == 0:
                assert publisher.do("a", LARGE) == {"success": True}
                sent += 1
                assert reader.event()["data"] == LARGE
                assert server.stats["messages_waiting"] <= 50 + 2
                assert sent < 3_000
            until(lambda: (server.stats["connections"], server.stats["subscriptions"]) == (2, 1))
            assert publisher.do("a", 1) == {"success": True}
            assert reader.event()["data"] == 1


def test_or_loses_its_oldest_events_if_that_is_the_policy() -> None:
    limits = Limits(queue=50, events=1e6, events_at_once=10**6)
    with running(limits=limits, slow_consumer=SlowConsumer.DROP, heartbeat=5, heartbeat_timeout=20, grace=1) as server:
        with wire(server) as publisher, never_reading(server, "topic=a"):
            for _ in range(1_000):
                assert publisher.do("a", LARGE) == {"success": True}
                assert server.stats["messages_waiting"] <= 50 + 2
            assert server.stats["connections"] == 2
        until(lambda: server.stats["events_dropped"] > 500)


def test_one_that_publishes_and_never_reads_its_acknowledgements_is_bounded_too() -> None:
    limits = Limits(queue=100, events=1e6, events_at_once=10**6)
    with running(limits=limits, slow_consumer=SlowConsumer.DROP, heartbeat=1, heartbeat_timeout=4, grace=1) as server:
        with never_reading(server, "topic=none") as connection:
            bad = packet("a", target="id=((" + "x" * 500, number=1).encode()
            connection.settimeout(1)
            try:
                for number in range(200_000):
                    payload = bad.replace(b"5:1+", b"5:%d+" % number, 1)
                    connection.sendall(struct.pack("!BBH", 0x81, 0x80 | 126, len(payload)) + bytes(4) + payload)
                    assert server.stats["messages_waiting"] <= 101
                    if server.stats["connections"] == 0:
                        break
            except OSError:  # it was cut off; or its kernel, whose window is full, loses what acknowledges its packets
                pass
            # By its queue, by its heartbeat or, on a slow machine, by TCP, whose window stays closed.
            until(lambda: server.stats["connections"] == 0)
        with wire(server) as other:
            assert other.do("a") == {"success": True}


def test_a_client_that_vanishes_leaves_nothing_behind() -> None:
    with running(heartbeat=0.1, heartbeat_timeout=1, grace=1) as server:
        # The one answers heartbeats while it waits for its acknowledgement, the other does not.
        with wire(server) as other, elsewhere(other.receive) as waiting, never_reading(server, "topic=a"):
            until(lambda: server.stats["silent_clients"] == 1)
            assert server.stats["subscriptions"] == 0
            assert server.stats["connections"] == 1
            other.send(packet("a"))
            assert answer(waiting.join()) == (1, {"success": True})
        reset = raw(server)
        reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        reset.sendall(b"GET /socket.io/1/ HTT")
        reset.close()
        until(lambda: server.stats["connections"] == 0)


def test_one_that_floods_is_read_more_slowly_loses_nothing_and_others_go_on() -> None:
    with running(limits=Limits(events=200, events_at_once=50), grace=1) as server:
        with wire(server) as flood, wire(server) as other:
            start = server.stats["uptime_seconds"]
            for number in range(250):
                flood.send(packet("a", number, number=number))
            got = [answer(flood.receive()) for _ in range(250)]
            assert got == [(number, {"success": True}) for number in range(250)]
            assert server.stats["uptime_seconds"] - start > 0.9
            assert other.do("b") == {"success": True}


pieces = st.sampled_from(
    [
        *("0", "1", "2", "3", "4", "5", "6", "7", "8", "9", ":", "::", ":::", "+", "1+", "-1", "99999999999999999999"),
        *('"', "{", "}", "[", "]", "]}", "null", "1e999", "\x00", "é", "5:1+::", "5:::", "6:::1+[]"),
        *('{"name":"ftrack.event","args":[', '{"topic":"ftrack.meta.subscribe","data":', '{"topic":"a"}'),
    ]
)
nearly = st.lists(pieces, max_size=12).map("".join)
arbitrary_events = st.builds(
    lambda topic, data, fields: packet(topic, data, 1, **fields),
    st.sampled_from(["a", "ftrack.meta.subscribe", "ftrack.meta.unsubscribe", "ftrack.meta.reply", ""]),
    st.recursive(
        st.none() | st.text(max_size=10) | st.integers() | st.just({"subscriber": {"id": "x"}, "subscription": "a=1"}),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["subscriber", "subscription", "id"]), inner, max_size=3)
        ),
        max_leaves=6,
    ),
    st.dictionaries(
        st.sampled_from(["id", "target", "source", "sent", "inReplyToEvent", "self", "in_reply_to_event"]),
        st.none() | st.text(max_size=5) | st.just({"id": "x"}) | st.integers(),
        max_size=3,
    ),
)


@given(st.lists(nearly | arbitrary_events | st.text(max_size=50) | st.binary(max_size=20), min_size=1, max_size=5))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_no_packet_harms_the_server_or_another_client(
    server: Running, python: PythonClient, packets: list[Any]
) -> None:
    sid = request(server, "/socket.io/1/", credentials(server))[1].split(":")[0]
    with connect(socket_url(server, sid), compression=None, close_timeout=0.2, proxy=None) as connection:
        try:
            for each in packets:
                connection.send(each if isinstance(each, bytes) else each.encode("utf-8", "replace").decode())
            connection.send("0::")
            while True:
                connection.recv(10)
        except ConnectionClosed:
            pass


def test_after_all_of_that_everything_is_as_before(server: Running, python: PythonClient) -> None:
    python.received.clear()
    until(lambda: (server.stats["connections"], server.stats["subscriptions"]) == (1, 2))
    with wire(server) as client:
        assert client.do("studio.last", {"text": "ü"}) == {"success": True}
    until(lambda: [event["data"] for event in python.received if event["topic"] == "studio.last"] == [{"text": "ü"}])
    assert python.connected()


@pytest.mark.parametrize(
    "frame",
    [
        b"\x81\x05hello",  # not masked
        b"\x81\x82\x00\x00\x00\x00\xff\xfe",  # no UTF-8
        b"\x83\x80\x00\x00\x00\x00",  # an unknown opcode
        b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00",  # eight exabytes
        b"\xf1\x80\x00\x00\x00\x00",  # reserved bits
        b"\x00" * 100,
    ],
)
def test_no_frame_harms_the_server(server: Running, frame: bytes) -> None:
    sid = request(server, "/socket.io/1/", credentials(server))[1].split(":")[0]
    with raw(server) as connection, wire(server) as other:
        connection.sendall(
            f"GET /socket.io/1/websocket/{sid} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        until(lambda: b"1::" in connection.recv(4_096, socket.MSG_PEEK))
        connection.sendall(frame)
        while connection.recv(4_096):
            pass
        assert other.do("a") == {"success": True}


def waiting_bytes() -> int:
    """What is in the fullest of uvicorn's own buffers."""
    found = [each for each in gc.get_objects() if issubclass(type(each), WebSocketsSansIOProtocol)]
    return max(each.transport.get_write_buffer_size() for each in found)


def test_pings_whose_answers_nobody_reads_are_not_answered_for_ever() -> None:
    with running(grace=1) as server, opened(server, 4_096) as connection:
        connection.settimeout(0.5)
        flood = (b"\x89\xfd" + bytes(4) + b"x" * 125) * 2_000
        sent = 0
        try:
            while sent < 40_000_000:
                sent += connection.send(flood)
        except TimeoutError:
            pass
        assert waiting_bytes() < 1_000_000
        with wire(server) as other:
            assert other.do("a") == {"success": True}
    with running(grace=1) as server, opened(server) as connection:
        assert connection.recv(4_096).endswith(b"1::")
        connection.sendall(b"\x89\x83" + bytes(4) + b"abc")
        assert connection.recv(100) == b"\x8a\x03abc"


def test_a_message_has_not_any_number_of_fragments() -> None:
    with running(heartbeat_timeout=600, grace=1) as server, opened(server) as connection:
        connection.sendall(b"\x01\x82" + bytes(4) + b"2:" + b"\x80\x81" + bytes(4) + b":")
        connection.sendall((b"\x01\x81" + bytes(4) + b"x") + (b"\x00\x81" + bytes(4) + b"x") * 5_000)
        until(lambda: server.stats["connections"] == 0)


def test_an_event_that_takes_much_work_counts_as_several() -> None:
    users = Users([User.with_key("other", "key")])
    with running(users=users, limits=Limits(events=0.001, events_at_once=15), grace=1) as server:
        with wire(server) as reader, wire(server, {"ftrack-user": "other", "ftrack-api-key": "key"}) as publisher:
            reader.subscribe(" and ".join(f"not data.x={number}" for number in range(1, 21)))
            publisher.send(packet("a", [{"x": 0}] * 500))
            reader.event()
            assert not server._events.rate("other").is_ready


def test_a_silent_wire_answers_heartbeats_only(server: Running) -> None:
    with wire(server) as client:
        assert isinstance(client, Wire)
        assert client.connection.recv(5) == "2::"
