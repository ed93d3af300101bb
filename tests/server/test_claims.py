"""Claims to ids: renewed while they are needed, forgotten when they are not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from rxhub.server import claims as module
from rxhub.server.claims import Claims, configuration
from rxhub.testing import Nats
from rxhub.transport.nats.address import Address
from rxhub.transport.nats.line import Line
from rxhub.transport.nats.streams import ensured


def with_line(nats: Nats, use: Callable[[Line], Awaitable[None]]) -> None:
    async def run() -> None:
        line = await Line.open(nats.url, Address.parse(nats.url, nats.user, nats.password), "test")
        try:
            await ensured(line, configuration(nats.stream, 1))
            await use(line)
        finally:
            await line.close()

    asyncio.run(run())


async def stored(line: Line, nats: Nats) -> tuple[int, int]:
    """How many claims there are, and how many were ever made or renewed."""
    state = (await line.ask(f"STREAM.INFO.{nats.stream}-ids"))["state"]
    return state["messages"], state["last_seq"]


def test_the_first_gets_an_id_and_so_do_all_servers_of_that_user(nats: Nats) -> None:
    async def use(line: Line) -> None:
        here, there = [Claims(nats.stream, lambda id: None) for _ in range(2)]
        ids = ["a", "a" * 10_000, "ü \ud800 *", ""]
        hers = [(id, "jane") for id in ids]
        assert await here.take(line, hers) == set()
        assert await there.take(line, [*hers, ("b", "joe"), ("a", "joe")]) == {("a", "joe")}
        assert await here.take(line, [("b", "joe"), ("b", "jane")]) == {("b", "jane")}
        # What is known is not asked for again.
        assert await stored(line, nats) == (5, 5)

    with_line(nats, use)


def test_they_are_renewed_while_somebody_subscribes_and_forgotten_else(
    nats: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RENEWED_AFTER", 0.0)

    async def use(line: Line) -> None:
        owners = {"a": "jane"}
        claims = Claims(nats.stream, owners.get)
        await claims.take(line, [("a", "jane"), ("b", "jane")])
        await claims.renew(line)
        assert await stored(line, nats) == (2, 3)
        owners.clear()
        await claims.renew(line)
        assert await stored(line, nats) == (2, 3)
        # Another may have it when it has expired; until then its user may.
        assert await claims.take(line, [("a", "joe"), ("a", "jane")]) == {("a", "joe")}
        await line.ask(f"STREAM.PURGE.{nats.stream}-ids")
        assert await claims.take(line, [("a", "joe")]) == set()

    with_line(nats, use)
