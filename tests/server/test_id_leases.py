"""Leases of ids are renewed while they are used, and released afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from rxhub.server import id_leases as module
from rxhub.server.id_leases import IdLeases, lease_stream
from rxhub.testing import Nats
from rxhub.transport.nats.connection import NatsConnection
from rxhub.transport.nats.options import NatsOptions
from rxhub.transport.nats.streams import ensure_stream


def with_line(nats: Nats, use: Callable[[NatsConnection], Awaitable[None]]) -> None:
    async def run() -> None:
        line = await NatsConnection.open(nats.url, NatsOptions(nats.url, nats.user, nats.password), "test")
        try:
            await ensure_stream(line, lease_stream(nats.stream, 1))
            await use(line)
        finally:
            await line.close()

    asyncio.run(run())


async def stored(line: NatsConnection, nats: Nats) -> tuple[int, int]:
    """The number of leases, and of all acquisitions and renewals."""
    state = (await line.js_request(f"STREAM.INFO.{nats.stream}-ids"))["state"]
    return state["messages"], state["last_seq"]


def test_the_first_gets_an_id_and_so_do_all_servers_of_that_user(nats: Nats) -> None:
    async def use(line: NatsConnection) -> None:
        here, there = [IdLeases(nats.stream, lambda id: None, 100) for _ in range(2)]
        ids = ["a", "a" * 10_000, "ü \ud800 *", ""]
        hers = [(id, "jane") for id in ids]
        assert await here.acquire(line, hers) == {}
        assert (await there.acquire(line, [*hers, ("b", "joe"), ("a", "joe")])).keys() == {("a", "joe")}
        assert (await here.acquire(line, [("b", "joe"), ("b", "jane")])).keys() == {("b", "jane")}
        # What is known is not asked for again.
        made = await stored(line, nats)
        assert made[0] == 5
        assert await here.acquire(line, [("b", "joe"), *hers]) == {}
        assert await stored(line, nats) == made

    with_line(nats, use)


def test_they_are_renewed_while_somebody_subscribes(nats: Nats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RENEW_AFTER_S", 0.0)

    async def use(line: NatsConnection) -> None:
        owners = {"a": "jane"}
        leases = IdLeases(nats.stream, owners.get, 100)
        await leases.acquire(line, [("a", "jane"), ("b", "jane")])
        await leases.renew(line)
        assert await stored(line, nats) == (2, 3)
        owners.clear()
        await leases.renew(line)
        assert await stored(line, nats) == (2, 3)
        # Another may have it when it was released or has expired; until then its user may.
        assert (await leases.acquire(line, [("a", "joe"), ("a", "jane")])).keys() == {("a", "joe")}
        await line.js_request(f"STREAM.PURGE.{nats.stream}-ids")
        assert await leases.acquire(line, [("a", "joe")]) == {}

    with_line(nats, use)


def test_an_id_is_released_some_time_after_its_client_has_left(nats: Nats, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(line: NatsConnection) -> None:
        owners = {"a": "jane", "b": "jane"}
        leases = IdLeases(nats.stream, owners.get, 100)
        await leases.acquire(line, [("a", "jane"), ("b", "jane")])
        del owners["a"]
        await leases.renew(line)
        assert len(leases) == 2
        monkeypatch.setattr(module, "_RELEASE_AFTER_S", -1.0)
        await leases.renew(line)
        assert len(leases) == 1
        assert (await stored(line, nats))[0] == 1
        assert await leases.acquire(line, [("a", "joe")]) == {}
        assert (await leases.acquire(line, [("b", "joe")])).keys() == {("b", "joe")}

    with_line(nats, use)


def test_an_id_that_is_used_on_another_server_is_not_released(nats: Nats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RELEASE_AFTER_S", -1.0)

    async def use(line: NatsConnection) -> None:
        here, there = IdLeases(nats.stream, lambda id: None, 100), IdLeases(nats.stream, {"a": "jane"}.get, 100)
        assert await here.acquire(line, [("a", "jane")]) == {}
        assert await there.acquire(line, [("a", "jane")]) == {}
        await here.renew(line)
        assert len(here) == 0
        assert (await stored(line, nats))[0] == 1
        assert (await here.acquire(line, [("a", "joe")])).keys() == {("a", "joe")}
        # Now the other server lets it go.
        there = IdLeases(nats.stream, lambda id: None, 100)
        assert await there.acquire(line, [("a", "jane")]) == {}
        await there.renew(line)
        assert await here.acquire(line, [("a", "joe")]) == {}

    with_line(nats, use)


def test_a_user_holds_so_many_ids_at_most(nats: Nats, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(line: NatsConnection) -> None:
        leases = IdLeases(nats.stream, lambda id: None, 3)
        assert await leases.acquire(line, [("a", "jane"), ("b", "jane")]) == {}
        refused = await leases.acquire(line, [("c", "jane"), ("d", "jane"), ("e", "joe"), ("a", "jane")])
        assert refused.keys() == {("d", "jane")}
        assert "ids_per_user" in refused["d", "jane"]
        assert (await stored(line, nats))[0] == 4
        monkeypatch.setattr(module, "_RELEASE_AFTER_S", -1.0)
        await leases.renew(line)
        assert await leases.acquire(line, [("d", "jane")]) == {}

    with_line(nats, use)
