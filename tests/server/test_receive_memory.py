"""Incomplete and unhandled messages are counted, bounded, and freed immediately."""

from __future__ import annotations

import gc
import socket
import struct
import tracemalloc
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from rxhub.server import Limits, Running, User, Users, running
from rxhub.server.connection import ClientConnection
from rxhub.server.counters import Counters
from rxhub.server.key_hash import Hash, hashed
from rxhub.server.receive_memory import UnreadBudget, UnreadBytes
from rxhub.server.uvicorn_protocols import Http, WebSocket
from tests.server.wire import answer, frame, opened, packet, wire
from tests.threads import until

MEGABYTE = 1024 * 1024
FULL = 4 * MEGABYTE


def begun(length: int, sent: int, opcode: int = 0x81) -> bytes:
    """The beginning of a frame."""
    return struct.pack("!BBQ", opcode, 0x80 | 127, length) + bytes(4) + b"x" * sent


def fragment(data: bytes, opcode: int = 0x00) -> bytes:
    assert len(data) < 126
    return struct.pack("!BB", opcode, 0x80 | len(data)) + bytes(4) + data


@pytest.fixture
def server() -> Iterator[Running]:
    with running(grace=1) as server:
        yield server


@pytest.mark.parametrize(
    ("sent", "held"),
    [
        (begun(FULL, MEGABYTE), MEGABYTE),
        (begun(MEGABYTE, MEGABYTE, 0x01), MEGABYTE),  # a fragment
        (begun(MEGABYTE, MEGABYTE, 0x01) + begun(MEGABYTE, MEGABYTE, 0x00), 2 * MEGABYTE),
        (begun(MEGABYTE, MEGABYTE, 0x02), MEGABYTE),  # binary
        (fragment(b"x", 0x01) + fragment(b"x") * 4_000, 64 * 4_000),  # 64: what each takes beside its content
        (fragment(b"", 0x01) + fragment(b"") * 4_000, 64 * 4_000),
        (
            fragment(b"x", 0x01) + fragment(b"x" * 100, 0x89) + begun(2 * MEGABYTE, MEGABYTE, 0x00),
            MEGABYTE,
        ),  # a ping between
    ],
)
def test_an_incomplete_message_is_counted_until_the_connection_ends(server: Running, sent: bytes, held: int) -> None:
    with opened(server) as client:
        client.sendall(sent)
        until(lambda: held <= server.stats["unread_bytes"] <= 1.1 * held)
    until(lambda: server.stats["unread_bytes"] == 0 == server.stats["connections"])


def test_a_message_that_is_complete_counts_no_more_once_it_was_handled(server: Running) -> None:
    with opened(server) as client:
        event = packet("a", "x" * MEGABYTE).encode()
        client.sendall(begun(len(event), 0) + event[:-1])
        until(lambda: server.stats["unread_bytes"] > MEGABYTE)
        client.sendall(event[-1:])
        until(lambda: server.stats["unread_bytes"] == 0)
        assert server.stats["packets_received"] == 1


def test_one_that_waits_for_its_turn_counts_as_well() -> None:
    with running(limits=Limits(events=0.001, events_at_once=1), grace=1) as server, opened(server) as client:
        for _ in range(2):  # the second uses what is not there
            client.sendall(fragment(b"2::", 0x81))
        event = packet("a", "x" * MEGABYTE).encode()
        client.sendall(begun(len(event), 0) + event)
        until(lambda: server.stats["unread_bytes"] > MEGABYTE)
    until(lambda: server.stats["connections"] == 0)
    until(lambda: server.stats["unread_bytes"] == 0)


def test_a_user_can_hold_so_much_and_others_do_not_notice() -> None:
    limits = Limits(unread_per_user=8 * MEGABYTE, unread=64 * MEGABYTE)
    other = User("other", Hash(hashed("key")))
    with running(users=Users([other]), limits=limits, grace=1) as server, ExitStack() as stack:
        with wire(server, {"ftrack-user": "other", "ftrack-api-key": "key"}) as client, wire(server) as same:
            for _ in range(30):
                attacker = stack.enter_context(opened(server))
                with suppress(OSError):
                    attacker.sendall(begun(FULL, FULL - 1))
            until(lambda: server.stats["unread_limit_reached"] >= 28)
            assert server.stats["unread_bytes"] <= limits.unread_per_user
            assert client.do("a", "x" * 100_000) == {"success": True}
            assert same.do("a", "x" * 100_000) == {"success": True}


def test_and_all_together() -> None:
    limits = Limits(unread=8 * MEGABYTE)
    with running(limits=limits, grace=1) as server, ExitStack() as stack:
        with wire(server) as client:
            for _ in range(10):
                attacker = stack.enter_context(opened(server))
                with suppress(OSError):
                    attacker.sendall(begun(FULL, FULL - 1))
            until(lambda: server.stats["unread_limit_reached"] >= 8)
            assert server.stats["unread_bytes"] <= limits.unread
            assert client.do("a", "x" * 100_000) == {"success": True}


def test_whoever_holds_most_is_closed() -> None:
    closed: list[str] = []
    counters = Counters()
    budget = UnreadBudget(Limits(unread=100, unread_per_user=60), counters)
    held = {}
    for name, user in [("a", "jane"), ("b", "jane"), ("c", "bob")]:
        held[name] = UnreadBytes(lambda name=name: closed.append(name))
        held[name].attach(budget, user)
    held["a"].set(40)
    held["b"].set(20)
    held["c"].set(30)
    assert closed == []
    held["b"].set(25)
    assert closed == ["a"]
    assert budget.total == 55
    held["b"].set(59)
    held["c"].set(50)
    assert closed == ["a", "b"]
    held["a"].set(10)  # of no one any more
    for unread in held.values():
        unread.close()
    assert budget.total == 0
    assert counters.unread_limit_reached == 2


def living(*kinds: type) -> list[Any]:
    return [thing for thing in gc.get_objects() if type(thing) in kinds]


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize(
    "sent", [begun(FULL, FULL - 1), begun(FULL - 1, FULL - 1, 0x01), b"\x81\xff", b"\xff\xff", b""]
)
def test_nothing_of_a_connection_is_left_without_the_garbage_collector(server: Running, sent: bytes) -> None:
    with wire(server) as warm:
        warm.do("a")
    until(lambda: server.stats["sockets_open"] == 0)
    with opened(server) as client:
        until(lambda: server.stats["connections"] == 1)
        left = [weakref.ref(thing) for thing in living(ClientConnection, WebSocket, Http)]
        assert len(left) >= 2
        with suppress(OSError):
            client.sendall(sent)
        until(lambda: server.stats["unread_bytes"] >= len(sent) - 14 or not server.stats["connections"])
    until(lambda: server.stats["connections"] == 0)
    until(lambda: not any(isinstance(ref(), (ClientConnection, WebSocket)) for ref in left))


@pytest.mark.usefixtures("no_collection")
def test_clients_that_vanish_leave_no_memory_behind(server: Running) -> None:
    def attack(count: int) -> None:
        clients = []
        for _ in range(count):
            client = opened(server)
            client.sendall(begun(FULL, FULL - 1))
            clients.append(client)
        until(lambda: server.stats["unread_bytes"] >= count * (FULL - 1))
        for client in clients:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        until(lambda: server.stats["connections"] == 0)

    attack(2)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        attack(12)
        until(lambda: tracemalloc.get_traced_memory()[0] - before < MEGABYTE)
    finally:
        tracemalloc.stop()


@pytest.mark.usefixtures("no_collection")
def test_a_silent_client_holds_not_even_its_last_message(server: Running) -> None:
    tracemalloc.start()
    try:
        with wire(server) as client:
            client.do("a")
            before = tracemalloc.get_traced_memory()[0]
            client.send(packet("a", "x" * 3 * MEGABYTE))
            assert answer(client.receive())[1]["success"] is False  # it is too large
            until(lambda: tracemalloc.get_traced_memory()[0] - before < MEGABYTE)
    finally:
        tracemalloc.stop()


@pytest.mark.usefixtures("no_collection")
def test_what_a_client_did_not_read_is_freed_when_it_ends(server: Running) -> None:
    event = packet("ftrack.meta.subscribe", {"subscriber": {"id": "never"}, "subscription": "topic=a"})
    with wire(server) as publisher:
        publisher.do("b")
        tracemalloc.start()
        try:
            with opened(server, window=4_096) as client:
                client.sendall(frame(event))
                until(lambda: server.stats["subscriptions"] == 1)
                before = tracemalloc.get_traced_memory()[0]
                for _ in range(20):
                    publisher.do("a", "x" * 500_000)
                assert tracemalloc.get_traced_memory()[0] - before > 4 * MEGABYTE
            until(lambda: tracemalloc.get_traced_memory()[0] - before < MEGABYTE)
        finally:
            tracemalloc.stop()
