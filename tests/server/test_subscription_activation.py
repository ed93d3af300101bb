"""Every activation completes, and leases are renewed under load."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager

import pytest

from rxhub.embedded import PrivateServer
from rxhub.errors import Refused
from rxhub.server import id_leases as leases_module
from rxhub.server import subscription_activation as module
from rxhub.server.id_leases import IdLeases, lease_stream
from rxhub.server.subscription_activation import SubscriptionActivator
from rxhub.transport.nats.streams import ensure_stream
from tests.threads import LIMIT
from tests.transport.nats.reading import Reader, Studio, studio


@asynccontextmanager
async def activator(
    server: PrivateServer, owners: Mapping[str, str] | None = None
) -> AsyncGenerator[tuple[Studio, SubscriptionActivator]]:
    """An activator on a new stream, for a server with these owners of ids."""
    async with studio(server) as at:
        await ensure_stream(at.peer, lease_stream(at.stream, 1))
        live = Reader(at, "a").ordered
        made = SubscriptionActivator(at.stream, live, lambda: ["a"], IdLeases(at.stream, (owners or {}).get, 1_000))
        for part in (live, made):
            at.link.attach(part)
        yield at, made


async def claimed(at: Studio) -> int:
    """The number of acquisitions and renewals of leases."""
    return (await at.peer.js_request(f"STREAM.INFO.{at.stream}-ids"))["state"]["last_seq"]


async def let_in(future: Future[None]) -> None:
    async with asyncio.timeout(LIMIT):
        await asyncio.wrap_future(future)


def test_who_is_let_in_gets_what_is_stored_behind_that(nats_of_the_session: PrivateServer) -> None:
    async def run() -> None:
        async with activator(nats_of_the_session) as (at, made):
            await at.store("a", "b")
            begins: list[int] = []
            await let_in(made.request("x", "jane", begins.append))
            await at.store("a")
            await let_in(made.request("y", "jane", begins.append))
            assert begins == [2, 3]
            with pytest.raises(Refused, match="another user"):
                await let_in(made.request("x", "joe", begins.append))
            assert begins == [2, 3]

    asyncio.run(run())


def test_claims_are_renewed_in_time_though_somebody_comes_or_goes_all_the_time(
    nats_of_the_session: PrivateServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RENEWAL_INTERVAL_S", 0.1)
    monkeypatch.setattr(leases_module, "_RENEW_AFTER_S", 0.0)

    async def run() -> None:
        async with activator(nats_of_the_session, {"x": "jane"}) as (at, made):
            await let_in(made.request("x", "jane", lambda last: None))

            async def come_and_go() -> None:
                while True:
                    made.wake()
                    await asyncio.sleep(0)

            coming = asyncio.create_task(come_and_go())
            try:
                async with asyncio.timeout(LIMIT):
                    while await claimed(at) < 4:
                        await asyncio.sleep(0.01)
            finally:
                coming.cancel()
                await asyncio.wait([coming])

    asyncio.run(run())


def test_one_who_cannot_be_let_in_is_told_and_the_others_are_let_in(
    nats_of_the_session: PrivateServer, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(last: int) -> None:
        raise ZeroDivisionError("who wrote this?")

    async def run() -> None:
        async with activator(nats_of_the_session) as (_, made):
            begins: list[int] = []
            one, bad, other = [made.request(id, "jane", enter) for id, enter in (
                ("x", begins.append), ("y", fail), ("z", begins.append),
            )]  # fmt: skip
            await let_in(one)
            await let_in(other)
            with pytest.raises(Refused, match="Internal error of the server"):
                await let_in(bad)
            assert begins == [0, 0]
            await let_in(made.request("y", "jane", begins.append))

    asyncio.run(run())
    assert "who wrote this?" in caplog.text
