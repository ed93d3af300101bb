"""Ids that one process has stored are known to the others, also after failures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from math import inf
from typing import Any

import pytest

from rxhub.errors import HubConnectionError
from rxhub.testing import Nats
from rxhub.transport.nats.options import NatsOptions
from rxhub.transport.nats.processing.handled_ids import HandledIdStore, digest_of
from rxhub.transport.nats.reconnecting import ReconnectingClient

Made = Callable[[], HandledIdStore]


@pytest.fixture
def run(nats: Nats) -> Callable[[Callable[[Made, ReconnectingClient], Awaitable[None]]], None]:
    """Runs a test with a function that creates the store of another process."""

    async def connected(test: Callable[[Made, ReconnectingClient], Awaitable[None]]) -> None:
        link = ReconnectingClient(NatsOptions((nats.url,), nats.user, nats.password))
        await link.start()
        try:
            await test(lambda: HandledIdStore(link, nats.stream, "g", 1), link)
        finally:
            await link.close()

    return lambda test: asyncio.run(connected(test))


@pytest.fixture
def bucket(nats: Nats) -> str:
    return f"KV_{nats.stream}-handled-g"


def ids(begin: int, end: int) -> list[bytes]:
    """The digests of some ids."""
    return [digest_of(f"id {number}") for number in range(begin, end)]


def test_what_one_process_has_stored_is_known_to_those_that_run_and_to_those_that_begin(run) -> None:
    async def test(made: Made, link: ReconnectingClient) -> None:
        one, running = made(), made()
        assert await running.known(ids(0, 3)) == set()
        await one.mark(ids(0, 2))
        await running.mark(ids(2, 3))
        await one.mark(ids(3, 4))
        for process in (one, running, made()):
            assert await process.known(ids(0, 10)) == set(ids(0, 4))

    run(test)


def test_many_ids_are_one_write_and_few_messages(run, bucket: str) -> None:
    async def test(made: Made, link: ReconnectingClient) -> None:
        process = made()
        await asyncio.gather(*[process.mark(ids(begin, begin + 64)) for begin in range(0, 6_400, 64)])
        state = (await link.js_request(f"STREAM.INFO.{bucket}"))["state"]
        assert state["last_seq"] == 100 and state["messages"] == 25
        assert await process.known(ids(0, 7_000)) == await made().known(ids(0, 7_000)) == set(ids(0, 6_400))

    run(test)


def test_processes_that_store_at_the_same_time_know_all(run) -> None:
    async def test(made: Made, link: ReconnectingClient) -> None:
        processes = [made() for _ in range(4)]

        async def work(begin: int, process: HandledIdStore) -> None:
            for number in range(begin, begin + 300):
                await process.mark(ids(number, number + 1))
                assert await process.known(ids(number, number + 1))

        await asyncio.gather(*[work(300 * number, process) for number, process in enumerate(processes)])
        for process in [*processes, made()]:
            assert await process.known(ids(0, 1_300)) == set(ids(0, 1_200))

    run(test)


@pytest.mark.parametrize("id", ["", "a.b *>", "☃", "\ud800", "x" * 100_000])
def test_an_id_may_be_any_text(run, id: str) -> None:
    async def test(made: Made, link: ReconnectingClient) -> None:
        await made().mark([digest_of(id)])
        assert await made().known([digest_of(id), digest_of(id + "x")]) == {digest_of(id)}

    run(test)


def test_more_pages_than_one_request_brings_are_read(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rxhub.transport.nats.processing.handled_ids._PAGE_BYTES", 1)

    async def test(made: Made, link: ReconnectingClient) -> None:
        process = made()
        for id in ids(0, 600):
            await process.mark([id])
        assert await made().known(ids(0, 700)) == set(ids(0, 600))

    run(test)


def test_pages_are_read_one_by_one_from_a_server_that_sends_no_batches(run) -> None:
    async def test(made: Made, link: ReconnectingClient) -> None:
        for begin in range(3):
            await made().mark(ids(begin, begin + 1))
        process = made()
        process._bucket._one_by_one_until = inf
        assert await process.known(ids(0, 10)) == set(ids(0, 3))

    run(test)


@pytest.mark.parametrize("is_stored", [True, False])
def test_a_write_that_may_have_been_stored_costs_no_id_that_was_confirmed(run, is_stored: bool) -> None:
    async def test(made: Made, link: ReconnectingClient) -> None:
        process = made()
        await process.mark(ids(0, 1))
        put = process._bucket.put
        delayed: list[Any] = []

        async def unknown(key: str, value: bytes) -> int:
            delayed.append((key, value))
            raise HubConnectionError("no answer")

        process._bucket.put = unknown  # type: ignore[method-assign]
        with pytest.raises(HubConnectionError):
            await process.mark(ids(1, 2))
        process._bucket.put = put  # type: ignore[method-assign]
        await process.mark(ids(2, 3))
        if is_stored:
            # The server applies it after a later write.
            await put(*delayed[0])
        assert await made().known(ids(0, 10)) == set(ids(0, 3)) - (set() if is_stored else set(ids(1, 2)))

    run(test)


def test_a_bucket_that_was_deleted_is_made_again_and_read_from_its_beginning(run, bucket: str) -> None:
    async def test(made: Made, link: ReconnectingClient) -> None:
        one, other = made(), made()
        for begin in range(5):
            await one.mark(ids(begin, begin + 1))
        assert await other.known(ids(0, 10)) == set(ids(0, 5))
        await link.js_request(f"STREAM.DELETE.{bucket}")
        assert await other.known(ids(0, 10)) == set()
        await one.mark(ids(7, 8))
        await made().mark(ids(8, 9))
        for process in (one, other, made()):
            assert await process.known(ids(5, 10)) == set(ids(7, 9))

    run(test)


def test_ids_are_forgotten_after_a_week(run, monkeypatch: pytest.MonkeyPatch) -> None:
    today = datetime(2026, 1, 1, tzinfo=UTC)
    monkeypatch.setattr("rxhub.transport.nats.processing.handled_ids.server_time", lambda info: today)

    async def test(made: Made, link: ReconnectingClient) -> None:
        nonlocal today
        process = made()
        for day in range(1, 31):
            today = today.replace(day=day)
            await process.known([])
            await process.mark(ids(day, day + 1))
            assert await process.known(ids(0, 32)) == set(ids(max(1, day - 7), day + 1))

    run(test)
