"""A bucket, beside what nats-py's own key-value store makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import nats as client
import pytest
from nats.js.errors import KeyNotFoundError

from rxhub.testing import Nats
from rxhub.transport.nats.kv_bucket import KvBucket
from rxhub.transport.nats.options import NatsOptions
from rxhub.transport.nats.reconnecting import ReconnectingClient


@pytest.fixture
def run(nats: Nats) -> Callable[[Callable[[KvBucket], Coroutine[Any, Any, None]]], None]:
    async def with_bucket(what: Callable[[KvBucket], Coroutine[Any, Any, None]]) -> None:
        link = ReconnectingClient(NatsOptions((nats.url,), nats.user, nats.password), "test", lambda *_: None)
        await link.start()
        try:
            await what(KvBucket(link, nats.stream, "of a test", ttl=3600))
        finally:
            await link.close()

    return lambda what: asyncio.run(with_bucket(what))


def test_nats_own_client_reads_what_is_written_and_the_other_way_round(run, nats: Nats) -> None:
    async def both(bucket: KvBucket) -> None:
        assert await bucket.get("a") is None  # there is no bucket yet
        await bucket.put("a", b"1")
        await bucket.put("b", b"")
        await bucket.put("a", b"2")
        async with await client.connect(nats.url, user=nats.user, password=nats.password) as other:
            store = await other.jetstream().key_value(nats.stream)
            assert [(await store.get(key)).value or b"" for key in "ab"] == [b"2", b""]
            assert (await store.status()).ttl == 3600
            await store.put("a", b"3")
            assert (await bucket.get("a"), await bucket.get("b")) == (b"3", b"")
            await bucket.delete("a")
            with pytest.raises(KeyNotFoundError):
                await store.get("a")
            assert await bucket.get("a") is None
            await bucket.put("c", b"4")
            await store.delete("c")
            assert await bucket.get("c") is None

    run(both)


@pytest.mark.parametrize("key", ["", "a.b", "*", ">", "a b", "☃", "\ud800", "x" * 10_000])
def test_a_key_may_be_any_text(run, key: str) -> None:
    async def odd(bucket: KvBucket) -> None:
        await bucket.put(key, b"it")
        await bucket.put("plain", b"another")
        assert (await bucket.get(key), await bucket.get("plain")) == (b"it", b"another")

    run(odd)


def test_many_who_write_at_once_while_there_is_no_bucket(run) -> None:
    async def at_once(bucket: KvBucket) -> None:
        await asyncio.gather(*[bucket.put(f"k{number}", b"%d" % number) for number in range(50)])
        assert await asyncio.gather(*[bucket.get(f"k{number}") for number in range(50)]) == [
            b"%d" % number for number in range(50)
        ]

    run(at_once)
