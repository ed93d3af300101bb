"""`GET /api/events`."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import InvalidStatus

from rxhub.embedded import store
from rxhub.server import Backplane, Limits, Running, SlowConsumer, Topics, User, Users, UsersFile, application, running
from rxhub.server.key_hash import Hash, hashed
from rxhub.testing import Nats
from tests.server.wire import raw, wire
from tests.serving import serving
from tests.threads import elsewhere, until
from tests.web.api import api, is_problem
from tests.web.reader import frames, reading

LIMITED = User("limited", Hash(hashed("key")), subscribe=Topics(["studio.*"]))
AS_LIMITED = {"user": "limited", "key": "key"}
LINES = {"accept": "application/x-ndjson"}
UNBOUND = Limits(events=1e9, events_at_once=10**9, handshakes=1e6, handshakes_at_once=10**6)
KEY = "the-same"


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(users=Users([LIMITED]), limits=UNBOUND, heartbeat=0.2, grace=1) as server:
        yield server


def publish(server: Running, *values: Any, topic: str = "studio.a", **fields: Any) -> None:
    events = [{"topic": topic, "data": {"n": value}, **fields} for value in values]
    response = api(server, "POST", "/events", events)
    assert response.status_code == 202, response.text


def test_server_sent_events(server: Running) -> None:
    with reading(server, "topic=studio.* and data.n>=2") as reader:
        assert reader.headers["content-type"].startswith("text/event-stream")
        assert reader.headers["cache-control"] == "no-store"
        publish(server, 1, 2, 3, id=None)
        reader.wait(2)
    assert [frame["event"] for frame in reader.frames] == ["studio.a", "studio.a"]
    assert reader.values == [2, 3]
    assert [frame["id"] for frame in reader.frames] == [event["id"] for event in reader.data]


def test_lines(server: Running) -> None:
    with reading(server, "topic=studio.a", headers=LINES) as reader, wire(server) as client:
        assert reader.headers["content-type"] == "application/x-ndjson"
        client.do("studio.a", {"n": 1}, extra="é")
        (event,) = reader.wait(1)
    assert event == {"topic": "studio.a", "data": {"n": 1}, "extra": "é"}


def test_heartbeats(server: Running) -> None:
    for headers in ({}, LINES):
        with reading(server, "topic=none", headers=headers) as reader:
            until(lambda: reader.heartbeats >= 3)
        assert not reader.frames


@pytest.mark.parametrize("headers", [{}, LINES])
def test_hostile_events_stay_one_frame(server: Running, headers: dict[str, str]) -> None:
    topic = "studio.x\n\ndata: forged\r\nid: 7\u2028\0"
    with reading(server, "topic=studio.*", headers=headers) as reader:
        text = json.dumps({"topic": topic, "id": "a\nb\0", "data": {"n": "a\r\nb"}}, indent=1)
        with wire(server) as client:
            client.send(f'5:1+::{{"name":"ftrack.event","args":[{text}]}}')
            assert "true" in client.receive()
        publish(server, "end")
        reader.wait(2)
    assert [event["topic"] for event in reader.data] == [topic, "studio.a"]
    assert reader.values == ["a\r\nb", "end"]


def test_a_gap_cannot_be_forged(server: Running) -> None:
    with reading(server, "topic=rxhub.gap or gap=x") as reader:
        publish(server, 1, topic="rxhub.gap", gap={"reason": "forged"})
        (event,) = reader.wait(1)
    assert event["topic"] == "rxhub.gap"


def test_targets_are_respected(server: Running) -> None:
    with reading(server, "topic=studio.a") as reader:
        publish(server, 1, target="id=other")
        publish(server, 2)
        reader.wait(1)
    assert reader.values == [2]


def test_users_receive_only_allowed_topics(server: Running) -> None:
    with reading(server, "topic=*", **AS_LIMITED) as reader:
        publish(server, 1, topic="other")
        publish(server, 2)
        reader.wait(1)
    assert reader.values == [2]
    assert is_problem(api(server, "GET", "/events?subscription=topic%3Dother", **AS_LIMITED), 403)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("subscription=", 400),
        ("subscription=topic%3D", 422),
        ("subscription=" + "a%3D1+or+" * 300 + "a%3D1", 422),
        ("subscription=topic%3Da&subscription=topic%3Db", 400),
        ("subscription=topic%3Da&format=xml", 400),
        ("subscription=topic%3Da&since=yesterday", 400),
        ("subscription=topic%3Da&until=first", 400),
        ("subscription=topic%3Da&other=1", 400),
        ("subscription=%ff", 400),
    ],
)
def test_invalid_parameters_are_rejected(server: Running, query: str, status: int) -> None:
    assert is_problem(api(server, "GET", f"/events?{query}"), status)


def test_what_a_subscription_lacks_is_told(server: Running) -> None:
    problem = api(server, "GET", "/events?subscription=topic%3Da+adn+b%3D1").json()
    assert problem["position"] == 8
    assert problem["expected"] and "hint" in problem


def test_other_media_types_are_not_acceptable(server: Running) -> None:
    assert is_problem(api(server, "GET", "/events?subscription=topic%3Da", headers={"accept": "application/json"}), 406)


def test_a_head_request_ends(server: Running) -> None:
    response = api(server, "HEAD", "/events?subscription=topic%3Da")
    assert (response.status_code, response.text) == (200, "")
    until(lambda: server.stats["connections"] == 0)


def test_without_a_store_a_gap_is_told(server: Running) -> None:
    for options in ({"headers": {"last-event-id": "17"}}, {"since": "first"}, {"since": "2h"}):
        with reading(server, "topic=studio.a", **options) as reader:
            publish(server, 1)
            reader.wait(2)
            assert reader.values == ["gap", 1]
            assert "--store" in reader.data[0]["gap"]["reason"]
            assert reader.frames[0]["event"] == "rxhub.gap"
    assert frames(server, "topic=studio.a", since="2h", until="1h").values == ["gap"]


def test_a_stream_ends_with_its_user(tmp_path: Path) -> None:
    path = tmp_path / "users.toml"
    file = UsersFile(path)
    for name in ("zoe", "bob"):
        file.add(name, key="key")
    with serving(application(UsersFile(path), heartbeat=0.1)) as url:
        server: Any = SimpleNamespace(url=url, api_user="zoe", api_key="key")
        with reading(server, "topic=studio.*") as reader, reading(server, "topic=studio.*", user="bob") as other:
            publish(server, 1)
            reader.wait(1)
            file.remove("zoe")
            until(lambda: reader.is_over)
            assert reader.error is None
            server.api_user = "bob"
            publish(server, 2)
            other.wait(2)


def test_streams_end_with_the_server() -> None:
    with ExitStack() as stack:
        with running(grace=5) as server:
            readers = [stack.enter_context(reading(server, "topic=a", headers=each)) for each in ({}, LINES)]
            publish(server, *range(1_000), topic="a")
        for reader in readers:
            until(lambda: reader.is_over)
            assert reader.error is None
            assert reader.values == list(range(1_000))


def test_a_disconnected_reader_is_removed(server: Running) -> None:
    with reading(server, "topic=a"):
        assert server.stats["subscriptions"] == server.stats["connections"] == 1
    until(lambda: server.stats["subscriptions"] == server.stats["connections"] == 0)


def test_a_user_has_a_limited_number_of_streams() -> None:
    with running(limits=Limits(connections_per_user=2), grace=1) as server:
        with reading(server, "topic=a"), reading(server, "topic=a"):
            response = api(server, "GET", "/events?subscription=topic%3Da")
            assert is_problem(response, 429) and response.headers["retry-after"]
            with pytest.raises(InvalidStatus, match="403"), wire(server):
                pass
        until(lambda: server.stats["connections"] == 0)


def test_opening_streams_has_a_rate() -> None:
    with running(limits=Limits(handshakes=0.01, handshakes_at_once=2), grace=1) as server:
        for _ in range(2):
            with reading(server, "topic=a"):
                pass
        assert is_problem(api(server, "GET", "/events?subscription=topic%3Da"), 429)


def test_requests_that_fail_have_a_rate_too() -> None:
    with running(limits=Limits(events=0.01, events_at_once=3), grace=1) as server:
        statuses = [api(server, "GET", "/events?subscription=topic%3D").status_code for _ in range(5)]
    assert statuses == [422, 422, 429, 429, 429]


def silent(server: Running) -> socket.socket:
    """A stream that is not read."""
    connection = raw(server)
    connection.sendall(
        "GET /api/events?subscription=topic%3Dstudio.a HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {server.api_user}:{server.api_key}\r\n\r\n".encode()
    )
    while b"200 OK" not in connection.recv(4_096, socket.MSG_PEEK):
        pass
    return connection


LARGE = "x" * 200_000


def test_a_slow_reader_is_disconnected() -> None:
    limits = Limits(events=1e9, events_at_once=10**9, queue=20)
    with running(limits=limits, grace=1) as server, silent(server) as slow, reading(server, "topic=studio.a") as reader:
        for sent in count(1):
            publish(server, LARGE)
            until(lambda: len(reader.frames) >= sent)
            if server.stats["slow_consumers"]:
                break
        until(lambda: server.stats["connections"] == 1)
        with pytest.raises(OSError):
            while slow.recv(1_000_000):
                pass
            raise ConnectionError
        assert server.stats["messages_waiting"] == 0


def test_a_slow_reader_may_lose_events_and_learns_how_many() -> None:
    limits = Limits(events=1e9, events_at_once=10**9, queue=20)
    with running(limits=limits, slow_consumer=SlowConsumer.DROP, grace=5) as server:
        with silent(server) as slow:
            published = 0
            while server.stats["events_dropped"] + server.stats["messages_waiting"] < 20 or published < 80:
                publish(server, f"{published} {LARGE}")
                published += 1
            publish(server, "end")
            pieces = [b""]
            while b'"end"' not in pieces[-2][-20:] + pieces[-1] if len(pieces) > 1 else True:
                pieces.append(slow.recv(1_000_000))
        lines = [line for line in b"".join(pieces).split(b"\n") if line.startswith(b"data: ")]
        data = [json.loads(line[6:]) for line in lines]
        missed = sum(each["gap"]["events"] for each in data if "gap" in each)
        assert missed > 0
        assert len([each for each in data if "topic" in each]) + missed == published + 1
        until(lambda: server.stats["events_dropped"] == missed)


def test_a_reader_that_never_reads_is_disconnected_in_time() -> None:
    limits = Limits(events=1e9, events_at_once=10**9, queue_bytes=2**30)
    with running(limits=limits, heartbeat=0.1, heartbeat_timeout=0.5, grace=1) as server, silent(server):
        # The kernel may notice it first.
        while server.stats["connections"]:
            publish(server, LARGE)
        assert not server.stats["events_dropped"]


def test_readers_that_never_read_do_not_disturb_others() -> None:
    readers, never, events = 450, 50, 100
    with running(limits=UNBOUND, grace=5) as server:
        request = (
            f"GET /api/events?subscription=topic%3Dstudio.a HTTP/1.1\r\nHost: x\r\nAccept: {LINES['accept']}\r\n"
            f"Authorization: Bearer {server.api_user}:{server.api_key}\r\n\r\n"
        )

        async def read(number: int, opening: asyncio.Semaphore, over: asyncio.Event) -> list[int]:
            async with opening:
                source, sink = await asyncio.open_connection("127.0.0.1", urlsplit(server.url).port, limit=2**16)
                sink.write(request.encode())
                await source.readuntil(b"\r\n\r\n")
            got: list[int] = []
            while number < readers and len(got) < events:
                line = await source.readuntil(b"\n")
                if line.startswith(b"{"):
                    got.append(json.loads(line)["data"]["n"])
            if number >= readers:
                await over.wait()
            sink.transport.abort()
            return got

        async def main() -> list[list[int]]:
            opening, over = asyncio.Semaphore(50), asyncio.Event()
            tasks = [asyncio.create_task(read(number, opening, over)) for number in range(readers + never)]
            while server.stats["connections"] < readers + never:
                await asyncio.sleep(0.05)
            await asyncio.to_thread(publish, server, *range(events), more="x" * 10_000)
            found = await asyncio.gather(*tasks[:readers])
            over.set()
            return found + await asyncio.gather(*tasks[readers:])

        found = asyncio.run(asyncio.wait_for(main(), 100))
        assert server.stats["events_delivered"] == events * (readers + never)
    assert found == [list(range(events))] * readers + [[]] * never


@pytest.fixture
def storing(nats: Nats) -> Iterator[Running]:
    backplane = Backplane(nats.url, nats.user, nats.password, nats.stream)
    with running(users=Users([LIMITED]), limits=UNBOUND, heartbeat=0.2, grace=1, backplane=backplane) as server:
        yield server


def test_stored_events_are_replayed(storing: Running) -> None:
    publish(storing, *range(10))
    publish(storing, "x", topic="other")
    publish(storing, 10)
    for query, expected in (
        ({"since": "first", "until": "12"}, list(range(11))),
        ({"since": "first", "until": "0s"}, list(range(11))),
        ({"since": "4", "until": "6"}, [3, 4, 5]),
        ({"since": "1h", "until": "0s"}, list(range(11))),
        ({"until": "2"}, [0, 1]),
        ({"since": "2020-01-01T00:00 01:00", "until": "2020-02-01"}, []),
        ({"since": "first", "until": "100"}, list(range(11))),
    ):
        assert frames(storing, "topic=studio.a", **query).values == expected, query
    assert frames(storing, "data.n>=8 and topic=studio.*", since="first", until="99").values == [8, 9, 10]
    reader = frames(storing, "topic=studio.a", since="first", until="99", headers=LINES)
    assert [event["position"]["sequence"] for event in reader.data] == [*range(1, 11), 12]
    reader = frames(storing, "topic=studio.a", since="first", until="99", format="cloudevents")
    assert [event["sequence"] for event in reader.data] == [str(n) for n in [*range(1, 11), 12]]


def test_users_replay_only_allowed_topics(storing: Running) -> None:
    publish(storing, 1, topic="other")
    publish(storing, 2)
    publish(storing, 3, target="id=somebody")
    assert frames(storing, "topic=*", since="first", until="99", **AS_LIMITED).values == [2]


@pytest.mark.parametrize("since", ["first", "1", "3h"])
def test_a_replay_continues_with_new_events(storing: Running, since: str) -> None:
    total = 2_000
    publish(storing, *range(1_000))

    def go_on() -> None:
        for start in range(1_000, total, 100):
            publish(storing, *range(start, start + 100))

    with elsewhere(go_on), reading(storing, "topic=studio.a", since=since) as reader:
        reader.wait(total)
    assert reader.values == list(range(total))
    assert [int(frame["id"]) for frame in reader.frames] == list(range(1, total + 1))


def test_a_reader_continues_after_its_last_event(storing: Running) -> None:
    publish(storing, *range(5))
    with reading(storing, "topic=studio.a", since="first", headers={"last-event-id": "3"}) as reader:
        publish(storing, 5)
        reader.wait(3)
    assert reader.values == [3, 4, 5]
    with reading(storing, "topic=studio.a", headers={"last-event-id": "6"}) as reader:
        publish(storing, 6)
        reader.wait(1)
    assert reader.values == [6]


@pytest.mark.parametrize("query", [{}, {"since": "first"}, {"since": "1h"}])
def test_a_reader_knows_its_position_before_the_first_event(storing: Running, query: dict[str, str]) -> None:
    publish(storing, 1, 2, topic="other")
    with reading(storing, "topic=studio.a", **query) as reader:
        until(lambda: reader.position == "2")
        assert not reader.frames


def test_gaps_of_a_store_are_told(storing: Running, nats: Nats) -> None:
    import nats as client

    async def purge() -> None:
        connection = await client.connect(nats.url, user=nats.user, password=nats.password)
        await connection.jetstream().purge_stream(nats.stream, seq=4)
        await connection.close()

    publish(storing, *range(6))
    asyncio.run(purge())
    for last, expected in (("1", ["gap", 3, 4, 5]), ("99", ["gap", 3, 4, 5]), ("abc", ["gap"])):
        with reading(storing, "topic=studio.a", headers={"last-event-id": last}) as reader:
            publish(storing, "end", topic="studio.b")
            reader.wait(len(expected))
            assert reader.values == expected
    assert frames(storing, "topic=studio.a", since="first", until="99").values == [3, 4, 5]


def test_readers_resume_across_restarts_of_the_server(tmp_path: Path) -> None:
    """Each reader gets each event once, while the server is restarted with its store."""
    total, per_round, rounds = 600, 200, 3
    got: dict[int, list[int]] = {number: [] for number in range(5)}
    last: dict[int, dict[str, str]] = {number: {} for number in got}
    port = 0
    numbers = iter(range(total))
    for attempt in range(rounds):
        with store(tmp_path) as engine, ExitStack() as stack:
            backplane = Backplane(engine.url, engine.user, engine.password)
            server = stack.enter_context(
                running(port=port, api_key=KEY, limits=UNBOUND, grace=0.1 if attempt % 2 else 2, backplane=backplane)
            )
            port = urlsplit(server.url).port or 0
            # Published while no reader is connected.
            publish(server, *[next(numbers) for _ in range(per_round // 2)])
            readers = {
                number: stack.enter_context(reading(server, "topic=studio.a", since="first", headers=last[number]))
                for number in got
            }
            publish(server, *[next(numbers) for _ in range(per_round // 2)])
            for number, reader in readers.items():
                # Some are disconnected in the middle.
                expected = per_round * (attempt + 1) if attempt == rounds - 1 else per_round * attempt + 50 * number
                until(lambda: len(got[number]) + len(reader.frames) >= expected)
        for number, reader in readers.items():
            got[number] += reader.values
            if reader.frames:
                last[number] = {"last-event-id": reader.frames[-1]["id"]}
    assert got == {number: list(range(total)) for number in got}
