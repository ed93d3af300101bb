"""The connection that is kept up: what runs on it begins again on each line, and it ends when it is told to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from itertools import groupby
from typing import Any

import pytest

from rxhub.errors import HubConnectionError, StreamError
from rxhub.testing import Nats
from rxhub.transport.nats import connection as line_module
from rxhub.transport.nats.connection import NatsConnection
from rxhub.transport.nats.options import NatsOptions
from rxhub.transport.nats.reconnecting import ReconnectingClient
from tests.proxy import Proxy
from tests.threads import LIMIT
from tests.transport.nats.servers import speaking, started


@pytest.fixture
def proxy(nats: Nats) -> Iterator[Proxy]:
    with Proxy(int(nats.url.rpartition(":")[2])) as proxy:
        yield proxy
        proxy.black_hole = False


class Runs:
    """A part that notes on which lines it ran, and does something there."""

    def __init__(self, act: Callable[[NatsConnection], Awaitable[object]] | None = None) -> None:
        self.lines: list[NatsConnection] = []
        self.ended = 0
        self._act = act

    async def run(self, line: NatsConnection) -> None:
        self.lines.append(line)
        try:
            if self._act is not None:
                await self._act(line)
            else:
                await asyncio.Event().wait()
        finally:
            self.ended += 1


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT):
        while not holds():
            await asyncio.sleep(0.005)


def address(nats: Nats, proxy: Proxy | None = None) -> NatsOptions:
    return NatsOptions((nats.url if proxy is None else f"nats://127.0.0.1:{proxy.port}",), nats.user, nats.password)


def test_a_part_runs_on_every_line(nats: Nats, proxy: Proxy) -> None:
    states: list[tuple[bool, str, int]] = []

    async def run() -> None:
        link = ReconnectingClient(address(nats, proxy), on_state=lambda *state: states.append(state))
        early, late = Runs(), Runs()
        link.attach(early)
        assert not await link.publish("nobody")
        with pytest.raises(HubConnectionError, match="no connection"):
            await link.js_request("INFO", timeout=0.01)
        await link.start()
        link.attach(late)
        link.attach(late)
        assert await link.publish("nobody") and (await link.js_request("INFO"))["streams"] >= 0
        await until(lambda: early.lines and late.lines)
        for count in (2, 3):
            proxy.reset()
            await until(lambda count=count: len(early.lines) == len(late.lines) == count)
            assert early.ended == late.ended == count - 1 and early.lines == late.lines
        await link.detach(late)
        assert late.ended == 3 and early.ended == 2
        await link.close()
        assert early.ended == 3 and link.connection is None and link.is_closed
        assert not await link.publish("nobody")
        with pytest.raises(HubConnectionError, match="closed"):
            await link.ready()
        await link.close()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())
    assert [connected for connected, _ in groupby(states, lambda state: state[0])] == [
        True,
        False,
        True,
        False,
        True,
        False,
    ]
    assert all(attempt == 0 for connected, _, attempt in states if connected)
    assert states[1][1] and states[-1] == (False, "", 0)


def test_a_part_that_fails_is_tried_again_and_the_line_stays(nats: Nats, caplog: pytest.LogCaptureFixture) -> None:
    errors = [StreamError(503, 1, "busy"), HubConnectionError("nobody"), KeyError("mine")]

    async def act(line: NatsConnection) -> None:
        if errors:
            raise errors.pop(0)

    async def run() -> None:
        link = ReconnectingClient(address(nats))
        await link.start()
        bad, good = Runs(act), Runs()
        link.attach(bad)
        link.attach(good)
        await until(lambda: len(bad.lines) == 4)
        assert len(set(bad.lines)) == 1 and len(good.lines) == 1
        # It has returned, so it is done for good, and may be attached anew.
        await until(lambda: bad not in link._tasks)
        link.attach(bad)
        await until(lambda: len(bad.lines) == 5)
        await link.close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(run())
    assert "busy" in caplog.text and "nobody. Retrying" in caplog.text
    assert "Internal error in the task 'Runs on NATS': KeyError: 'mine'" in caplog.text


def test_the_first_connection_must_succeed() -> None:
    async def run(*servers: str) -> None:
        link = ReconnectingClient(NatsOptions(servers))
        with pytest.raises(HubConnectionError) as raised:
            await link.start()
        for server in servers:
            assert server in str(raised.value)
        await link.close()
        assert len(asyncio.all_tasks()) == 1

    with speaking(b"no\r\n") as one, speaking(b"nor I\r\n") as other:
        asyncio.run(run(one, other))


def test_one_server_that_lets_us_in_is_enough(nats: Nats) -> None:
    async def run(nobody: str) -> None:
        for _ in range(4):
            link = ReconnectingClient(NatsOptions((nobody, nats.url), nats.user, nats.password))
            await link.start()
            assert link.connection is not None and link.connection.server == nats.url
            await link.close()

    with speaking(b"no\r\n") as nobody:
        asyncio.run(run(nobody))


def test_a_server_that_is_another_one_for_a_while_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "_CLOSED_POLL_S", 0.02)
    states: list[tuple[bool, str, int]] = []

    async def run() -> None:
        with started({}) as server:
            link = ReconnectingClient(NatsOptions((server.url,)), on_state=lambda *state: states.append(state))
            await link.start()
        await until(lambda: len(states) >= 4)
        with started({}, server.port):
            link.retry_now()
            await until(lambda: states[-1][0])
        await link.close()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())
    assert [attempts for connected, _, attempts in states if not connected][:3] == [0, 1, 2]
    assert any("refused" in why for _, why, _ in states)


@pytest.mark.parametrize("moment", ["while it stands", "while it is tried again", "while it hangs up"])
def test_closing_at_any_moment_leaves_nothing_behind(
    moment: str, nats: Nats, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_module, "_CONNECT_TIMEOUT_S", 0.3)
    monkeypatch.setattr(line_module, "_PING_INTERVAL_S", 0.1)

    async def talk(line: NatsConnection) -> None:
        while True:
            await line.client.publish("nobody", b"x" * 100_000)
            await asyncio.sleep(0)

    async def run() -> None:
        states: list[bool] = []
        link = ReconnectingClient(address(nats, proxy), on_state=lambda connected, *_: states.append(connected))
        await link.start()
        link.attach(Runs(talk))
        await asyncio.sleep(0.05)
        if moment == "while it is tried again":
            proxy.black_hole = True
            proxy.reset()
            await until(lambda: states[-1] is False)
        elif moment == "while it hangs up":
            proxy.black_hole = True
            line = link.connection
            assert line is not None
            await line.closed
        async with asyncio.timeout(LIMIT):
            await link.close()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())


def test_a_part_that_publishes_much_over_a_dead_line_is_run_on_the_next_one(
    nats: Nats, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_module, "_PING_INTERVAL_S", 0.1)

    async def talk(line: NatsConnection) -> None:
        while True:
            await line.client.publish("nobody", b"x" * 100_000)
            await asyncio.sleep(0.001)

    async def run() -> None:
        link = ReconnectingClient(address(nats, proxy))
        await link.start()
        part = Runs(talk)
        link.attach(part)
        await asyncio.sleep(0.05)
        proxy.black_hole = True
        await until(lambda: link.connection is None)
        proxy.black_hole = False
        await until(lambda: len(part.lines) == 2)
        await link.close()
        assert part.ended == 2

    asyncio.run(run())


def test_telling_over_a_line_that_is_cut_does_not_wait_for_ever(
    nats: Nats, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_module, "_PING_INTERVAL_S", 0.1)

    async def run() -> None:
        link = ReconnectingClient(address(nats, proxy))
        await link.start()
        proxy.black_hole = True
        answers: list[Any] = []

        async def tell() -> None:
            while answers[-1:] != [False]:
                answers.append(await link.publish("nobody", b"x" * 100_000))
                await asyncio.sleep(0)

        async with asyncio.timeout(LIMIT):
            await tell()
        assert True in answers
        proxy.black_hole = False
        await link.close()

    asyncio.run(run())


def test_on_how_many_servers_something_is_stored(nats: Nats) -> None:
    async def run() -> None:
        link = ReconnectingClient(address(nats))
        assert link.replicas == 1
        await link.start()
        assert link.replicas == 1
        await link.close()
        assert ReconnectingClient(NatsOptions(("nats://a:1", "nats://b:1", "nats://c:1"))).replicas == 3

    asyncio.run(run())
