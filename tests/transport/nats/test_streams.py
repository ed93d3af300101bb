"""Streams are made where they are missing, and left as they are where they are not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from rxhub.errors import HubConnectionError, StreamError
from rxhub.testing import Nats
from rxhub.transport.nats.connection import NatsConnection
from rxhub.transport.nats.options import NatsOptions
from rxhub.transport.nats.streams import dead_letter_config, ensure_stream, last_sequence, stream_config
from tests.transport.nats.servers import Admin, started


def told(nats: Nats, ask: Callable[[NatsConnection], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        line = await NatsConnection.open(nats.url, NatsOptions((nats.url,), nats.user, nats.password), "test")
        try:
            return await ask(line)
        finally:
            await line.close()

    return asyncio.run(run())


def test_a_stream_is_made_once(nats: Nats) -> None:
    wanted = stream_config(nats.stream, max_bytes=1_000_000)
    made = told(nats, lambda line: ensure_stream(line, wanted))
    config = made["config"]
    assert config["subjects"] == [f"{nats.stream}.{kind}.>" for kind in ("event", "reply", "retry")]
    assert (config["discard"], config["storage"], config["max_bytes"]) == ("new", "file", 1_000_000)
    assert config["duplicate_window"] == 20 * 60 * 10**9 and config["allow_direct"]
    other = told(nats, lambda line: ensure_stream(line, stream_config(nats.stream)))
    assert other["config"]["max_bytes"] == 1_000_000 and other["created"] == made["created"]
    assert told(nats, lambda line: last_sequence(line, nats.stream)) == 0
    assert told(nats, lambda line: ensure_stream(line, dead_letter_config(nats.stream)))["config"]["subjects"] == [
        f"{nats.stream}.dead.>"
    ]


def test_many_hubs_that_make_it_at_once(nats: Nats) -> None:
    async def all_at_once(line: NatsConnection) -> list[Any]:
        kinds = [stream_config(nats.stream, max_age=float(age)) for age in range(100, 120)]
        return await asyncio.gather(*[ensure_stream(line, kind) for kind in kinds])

    found = told(nats, all_at_once)
    assert len({info["created"] for info in found}) == 1


def test_ids_are_not_known_longer_than_events_are_kept() -> None:
    assert stream_config("a", max_age=60.0)["duplicate_window"] == 60 * 10**9
    assert stream_config("a", max_age=86_400.0)["duplicate_window"] == 1200 * 10**9


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"subjects": ["{}.event.>"]}, "does not store {}.reply.>, {}.retry.>"),
        ({"subjects": ["{}.other.>"]}, "does not store {}.event.>"),
        ({"retention": "workqueue"}, "retention"),
        ({"retention": "interest"}, "retention"),
        ({"no_ack": True}, "confirms nothing"),
    ],
)
def test_a_stream_of_somebody_else_is_not_used(nats: Nats, change: Mapping[str, Any], complaint: str) -> None:
    name = nats.stream
    config = stream_config(name) | {
        key: [subject.format(name) for subject in value] if isinstance(value, list) else value
        for key, value in change.items()
    }
    with Admin(nats.url, nats.user, nats.password) as admin:
        assert "error" not in admin.ask(f"STREAM.CREATE.{name}", config | {"discard": "old"})
    with pytest.raises(HubConnectionError, match=complaint.format(name, name)):
        told(nats, lambda line: ensure_stream(line, stream_config(name)))


def test_a_stream_of_more_than_ours_is_used(nats: Nats) -> None:
    with Admin(nats.url, nats.user, nats.password) as admin:
        assert "error" not in admin.ask(
            f"STREAM.CREATE.{nats.stream}", {"name": nats.stream, "subjects": [f"{nats.stream}.>"]}
        )
    assert told(nats, lambda line: ensure_stream(line, stream_config(nats.stream)))["config"]["subjects"] == [
        f"{nats.stream}.>"
    ]


def test_subjects_of_another_stream(nats: Nats) -> None:
    with Admin(nats.url, nats.user, nats.password) as admin:
        admin.ask(
            f"STREAM.CREATE.all-{nats.stream}", {"name": f"all-{nats.stream}", "subjects": [f"{nats.stream}.event.>"]}
        )
    with pytest.raises(StreamError, match="overlap"):
        told(nats, lambda line: ensure_stream(line, stream_config(nats.stream)))


def test_servers_that_are_no_cluster_store_once_each(nats: Nats) -> None:
    made = told(nats, lambda line: ensure_stream(line, stream_config(nats.stream, replicas=3)))
    assert made["config"]["num_replicas"] == 1


def test_a_server_that_has_no_room() -> None:
    with started({"jetstream": {"max_file_store": 1_000}}) as server:
        with pytest.raises(StreamError, match="insufficient storage"):
            told(
                Nats(server.url, "", "", "a"), lambda line: ensure_stream(line, stream_config("a", max_bytes=1_000_000))
            )
