"""From the outbox into the stream: what is acknowledged is stored once and in order, and whoever published is told."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub.concurrency.backoff import Backoff
from rxhub.embedded import PrivateServer
from rxhub.errors import EventError, HubConnectionError, Refused
from rxhub.transport.nats import connection as line_module
from rxhub.transport.nats import publishing as module
from rxhub.transport.nats import reconnecting as link_module
from rxhub.transport.nats.direct_client import parse_headers
from rxhub.transport.nats.options import NatsOptions
from rxhub.transport.nats.publishing import MESSAGE_ID, JetStreamPublisher, StoredPublish, message_id
from rxhub.transport.nats.reconnecting import ReconnectingClient
from rxhub.transport.nats.streams import ensure_stream, stream_config
from rxhub.transport.outbox import Outbox
from tests.proxy import Proxy
from tests.threads import LIMIT
from tests.transport.nats.reading import Studio, studio, until
from tests.transport.nats.servers import started


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "Backoff", lambda *_: Backoff(0.01, 0.05))
    monkeypatch.setattr(module, "Backoff", lambda *_: Backoff(0.01, 0.05))
    monkeypatch.setattr(line_module, "_PING_INTERVAL_S", 0.1)
    monkeypatch.setattr(line_module, "_CLOSED_POLL_S", 0.02)


@pytest.fixture
def server(nats_of_the_session: PrivateServer) -> PrivateServer:
    return nats_of_the_session


@pytest.fixture
def proxy(server: PrivateServer) -> Iterator[Proxy]:
    with Proxy(int(server.url.rpartition(":")[2])) as proxy:
        yield proxy
        proxy.black_hole = False


class Desk:
    """An outbox that is emptied into a stream, and what was put into it."""

    def __init__(self, at: Studio, horizon: float = 900.0, reading: Any = None) -> None:
        self.outbox = Outbox(100_000)
        self.outbox.open()
        self.publishing = JetStreamPublisher(self.outbox, horizon, reading)
        self.stream = at.stream
        self.parcels: list[StoredPublish] = []

    def put(self, count: int = 1, data: str = "", topic: str = "a") -> list[StoredPublish]:
        made: list[StoredPublish] = []
        for _ in range(count):
            number = len(self.parcels)
            argument = json.dumps({"topic": topic, "n": number, "data": data})
            made.append(StoredPublish(topic, argument, f"{self.stream}.event.{topic}", f"{self.stream}-{number}"))
            self.parcels.append(made[-1])
            self.outbox.put(made[-1])
        return made


async def accepted(*parcels: StoredPublish) -> None:
    async with asyncio.timeout(LIMIT):
        for parcel in parcels:
            await asyncio.wrap_future(parcel.accepted)


async def refusal(parcel: StoredPublish) -> Exception:
    await until(parcel.accepted.done)
    error = parcel.accepted.exception()
    assert isinstance(error, Exception)
    return error


async def numbers(at: Studio) -> list[int]:
    """What is stored, in order."""
    info = await at.peer.js_request(f"STREAM.INFO.{at.stream}")
    found: list[int] = []
    for sequence in range(1, info["state"]["last_seq"] + 1):
        told = await at.peer.js_request(f"STREAM.MSG.GET.{at.stream}", {"seq": sequence})
        found.append(json.loads(base64.b64decode(told["message"]["data"]))["n"])
    return found


@asynccontextmanager
async def desk(server: PrivateServer, url: str = "", horizon: float = 900.0) -> AsyncIterator[tuple[Studio, Desk]]:
    async with studio(server, url) as at:
        made = Desk(at, horizon)
        at.link.attach(made.publishing)
        yield at, made


def test_what_is_put_is_stored_in_order(server: PrivateServer) -> None:
    async def run() -> None:
        async with desk(server) as (at, here):
            await accepted(*here.put(300))
            assert await numbers(at) == [*range(300)]
            assert len(here.outbox) == 0 and not here.outbox.in_flight

    asyncio.run(run())


# Faults of the line


@pytest.mark.parametrize("fault", ["resets", "resets in the middle", "black holes", "half-open lines"])
def test_what_is_acknowledged_is_stored_once_and_in_order(server: PrivateServer, proxy: Proxy, fault: str) -> None:
    async def run() -> None:
        async with desk(server, f"nats://127.0.0.1:{proxy.port}") as (at, here):
            for round in range(3):
                here.put(60, "x" * 300)
                if fault == "resets":
                    await asyncio.sleep(0.01 * round)
                    proxy.reset()
                elif fault == "resets in the middle":
                    proxy.reset_after(7_000 + 1_111 * round)
                elif fault == "half-open lines":
                    await asyncio.sleep(0.005 * round)
                    proxy.half_open()
                else:
                    await asyncio.sleep(0.005 * round)
                    proxy.black_hole = True
                    broken = at.link.connection
                    await until(lambda broken=broken: at.link.connection is not broken)
                    proxy.black_hole = False
                await at.link.ready()
            await accepted(*here.parcels)
            assert await numbers(at) == [*range(180)]

    asyncio.run(run())


def test_large_messages_over_a_line_that_breaks(server: PrivateServer, proxy: Proxy) -> None:
    async def run() -> None:
        async with desk(server, f"nats://127.0.0.1:{proxy.port}") as (at, here):
            here.put(12, "x" * 1_000_000)
            proxy.reset_after(3_500_000)
            await accepted(*here.parcels)
            assert await numbers(at) == [*range(12)]
            # Much is under way, and nobody takes it: ending waits for nobody.
            proxy.black_hole = True
            here.put(12, "x" * 1_000_000)
            await asyncio.sleep(0.02)
            async with asyncio.timeout(LIMIT):
                await at.link.detach(here.publishing)

    asyncio.run(run())


def test_answers_that_come_later_than_they_are_waited_for(
    server: PrivateServer, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ACK_TIMEOUT_S", 0.02)

    async def run() -> None:
        async with desk(server, f"nats://127.0.0.1:{proxy.port}") as (at, here):
            proxy.latency = 0.1
            await accepted(*here.put(5), *here.put(5))
            proxy.latency = 0.0
            assert await numbers(at) == [*range(10)]

    asyncio.run(run())


# What the server answers


def test_a_full_stream_refuses_what_comes_and_keeps_what_it_has(server: PrivateServer) -> None:
    async def run() -> None:
        async with desk(server) as (at, here):
            await at.peer.js_request(f"STREAM.UPDATE.{at.stream}", stream_config(at.stream) | {"max_msgs": 3})
            parcels = here.put(5)
            await accepted(*parcels[:3])
            for parcel in parcels[3:]:
                error = await refusal(parcel)
                assert isinstance(error, Refused) and "The stream does not take a: maximum messages" in str(error)
            await at.peer.js_request(f"STREAM.PURGE.{at.stream}")
            await accepted(*here.put())
            assert len(here.outbox) == 0

    asyncio.run(run())


def test_a_stream_that_is_full_of_bytes(server: PrivateServer) -> None:
    async def run() -> None:
        async with desk(server) as (at, here):
            await at.peer.js_request(f"STREAM.UPDATE.{at.stream}", stream_config(at.stream, max_bytes=5_000))
            assert "maximum bytes" in str(await refusal(here.put(1, "x" * 6_000)[0]))
            await accepted(*here.put(3))

    asyncio.run(run())


def test_a_message_that_the_stream_finds_too_large(server: PrivateServer) -> None:
    async def run() -> None:
        async with desk(server) as (at, here):
            await at.peer.js_request(f"STREAM.UPDATE.{at.stream}", stream_config(at.stream) | {"max_msg_size": 1_000})
            large, small = here.put(1, "x" * 2_000)[0], here.put()[0]
            assert "message size exceeds" in str(await refusal(large))
            await accepted(small)

    asyncio.run(run())


def test_a_message_that_the_server_finds_too_large(server: PrivateServer) -> None:
    """Headers count as well; a server that is sent a byte too much hangs up, and would again and again."""

    async def run() -> None:
        async with desk(server) as (at, here):
            line = at.link.connection
            assert line is not None
            overhead = len(here.put(1, "")[0].argument)
            for missing in (0, 1, 20, 60, 100, 150):
                here.put(1, "x" * (line.max_payload - overhead - missing))
            here.put()
            outcomes: list[Exception | None] = []
            for parcel in here.parcels:
                await until(parcel.accepted.done)
                error = parcel.accepted.exception()
                assert error is None or isinstance(error, EventError), error
                outcomes.append(error)
            assert outcomes[0] is outcomes[-1] is None
            assert "max_payload" in str(outcomes[1]) and "max_payload" in str(outcomes[2])
            assert at.link.connection is line, "the server has not hung up"

    asyncio.run(run())


def test_a_stream_that_is_deleted_and_made_again(server: PrivateServer) -> None:
    async def run() -> None:
        async with desk(server) as (at, here):
            await accepted(*here.put(10))
            await at.delete()
            parcels = here.put(10)
            await until(lambda: here.publishing._retry_reason)
            await at.make()
            await accepted(*parcels)
            assert await numbers(at) == [*range(10, 20)]

    asyncio.run(run())


def test_a_stream_called_error(server: PrivateServer) -> None:
    """It is named in every answer."""

    async def run() -> None:
        async with desk(server) as (at, here):
            at.stream = here.stream = "error"
            await ensure_stream(at.peer, stream_config("error"))
            await accepted(*here.put(3))
            await at.delete()

    asyncio.run(run())


def test_what_we_may_not_publish_is_refused_at_once() -> None:
    users = [{"user": "me", "password": "secret", "permissions": {"publish": {"deny": ["Studio.event.Secret.>"]}}}]
    with started({"authorization": {"users": users}, "jetstream": {}}) as server:

        async def run() -> None:
            link = ReconnectingClient(NatsOptions((server.url,), "me", "secret"))
            await link.start()
            await ensure_stream(link, stream_config("Studio"))
            outbox = Outbox(10)
            outbox.open()
            link.attach(JetStreamPublisher(outbox, 900.0))
            parcels = [
                StoredPublish(topic, "{}", f"Studio.event.{topic}", topic) for topic in ("a", "Secret.plan", "b")
            ]
            for parcel in parcels:
                outbox.put(parcel)
            await accepted(parcels[0], parcels[2])
            assert "does not permit to publish Secret.plan, as Studio.event.Secret.plan" in str(
                await refusal(parcels[1])
            )
            await link.close()

        asyncio.run(run())


class Scripted:
    """A line to a server whose answers are what a test says, as they are in a cluster for moments."""

    max_payload = 1_000_000
    on_denied = None

    def __init__(self, *answers: dict[str, Any] | bytes | None) -> None:
        self.client = self
        self.answers = list(answers)
        self.sent: list[tuple[str, str]] = []

    def inbox(self) -> str:
        return "_INBOX.x"

    async def subscribe(self, subject: str, take: Any) -> Any:
        self.take = take

        async def end() -> None: ...

        return end

    async def write(self, commands: Iterable[bytes]) -> None:
        for command in commands:
            line, _, rest = command.partition(b"\r\n")
            reply, size = line.split()[2].decode(), int(line.split()[3])
            self.sent.append((parse_headers(rest[:size])[MESSAGE_ID], reply))
            answer = self.answers.pop(0) if self.answers else {"stream": "a", "seq": 1}
            if answer is not None:
                self.take(reply, "", answer if isinstance(answer, bytes) else json.dumps(answer).encode(), b"")


def outcome(*answers: dict[str, Any] | bytes | None, horizon: float = 900.0) -> tuple[Future[None], Scripted]:
    """What becomes of one letter that gets these answers, one after the other, and then that it is stored."""
    line: Any = Scripted(*answers)

    async def run() -> Future[None]:
        outbox = Outbox(10)
        outbox.open()
        parcel = StoredPublish("a", "{}", "a.event.a", "id")
        outbox.put(parcel)
        task = asyncio.create_task(JetStreamPublisher(outbox, horizon).run(line))
        await until(parcel.accepted.done)
        task.cancel()
        await asyncio.wait([task])
        assert len(outbox) == 0
        return parcel.accepted

    return asyncio.run(run()), line


def error(code: int, number: int, description: str) -> dict[str, Any]:
    return {"error": {"code": code, "err_code": number, "description": description}, "stream": "a", "seq": 0}


@pytest.mark.parametrize(
    "answer",
    [
        error(503, 10008, "JetStream system temporarily unavailable"),
        error(503, 10077, "store is closed"),
        error(409, 10158, "duplicate message id is in process"),
        error(429, 10167, "too many requests"),
        b"",
    ],
)
def test_what_the_server_cannot_do_now_it_is_asked_again(answer: dict[str, Any] | bytes) -> None:
    accepted, line = outcome(answer, answer)
    assert accepted.exception() is None and len(line.sent) == 3
    assert len(set(line.sent)) == 1, "under the same id, and an answer to any copy counts"


@pytest.mark.parametrize(
    "answer",
    [
        error(503, 10077, "maximum bytes exceeded"),
        error(503, 10023, "insufficient resources"),
        error(400, 10054, "message size exceeds maximum allowed"),
        error(400, 10109, "invalid operation on sealed stream"),
        error(500, 10047, "insufficient storage resources available"),
    ],
)
def test_what_the_server_will_not_do_it_is_not_asked_again(answer: dict[str, Any]) -> None:
    accepted, line = outcome(answer)
    assert isinstance(accepted.exception(), Refused) and len(line.sent) == 1


def test_what_answers_nonsense_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "ACK_TIMEOUT_S", 0.02)
    accepted, line = outcome(b"\xff", b"[]", b"thanks")
    assert accepted.exception() is None and len(line.sent) == 4
    assert "an answer that is not from JetStream" in caplog.text


def test_what_was_not_answered_for_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ACK_TIMEOUT_S", 0.01)
    accepted, line = outcome(*[None] * 1_000, horizon=0.05)
    error = accepted.exception()
    assert isinstance(error, HubConnectionError) and "It may or may not be stored" in str(error)
    assert len(line.sent) > 1


def test_what_waited_too_long_to_be_sent_again_is_given_up(server: PrivateServer) -> None:
    """Not when it is put back, but when its turn has come: the stream may have forgotten its id meanwhile."""
    gate = Gate()

    async def run() -> None:
        async with studio(server) as at:
            here = Desk(at, 0.05, gate)
            line: Any = Scripted(None)
            task = asyncio.create_task(here.publishing.run(line))
            first, second = here.put()[0], None
            await until(lambda: line.sent)
            gate.is_synced = False
            task.cancel()
            await asyncio.wait([task])
            at.link.attach(here.publishing)
            second = here.put()[0]
            await asyncio.sleep(0.1)
            assert not first.accepted.done()
            gate.open()
            assert "may not be stored" in str(await refusal(first))
            await accepted(second)
            assert await numbers(at) == [1]

    asyncio.run(run())


class Gate:
    """Somebody whom publishing waits for."""

    def __init__(self) -> None:
        self.is_synced = True
        self._opened = asyncio.Event()

    def open(self) -> None:
        self.is_synced = True
        self._opened.set()

    async def synced(self) -> None:
        await self._opened.wait()


def test_nothing_is_sent_before_it_is_heard(server: PrivateServer) -> None:
    gate = Gate()

    async def run() -> None:
        async with studio(server) as at:
            here = Desk(at, 900.0, gate)
            at.link.attach(here.publishing)
            await accepted(*here.put(3))
            gate.is_synced = False
            later = here.put(3)
            await at.peer.js_request("INFO")
            await at.peer.js_request("INFO")
            assert not any(parcel.accepted.done() for parcel in later)
            gate.open()
            await accepted(*later)

    asyncio.run(run())


def test_letters_of_one_who_has_ended_are_sent_by_the_next_under_numbers_of_their_own(server: PrivateServer) -> None:
    async def run() -> None:
        async with studio(server) as at:
            here = Desk(at)
            line: Any = Scripted(*[None] * 5)
            task = asyncio.create_task(here.publishing.run(line))
            here.put(5)
            await until(lambda: len(line.sent) == 5)
            task.cancel()
            await asyncio.wait([task])
            here.put(5)
            at.link.attach(JetStreamPublisher(here.outbox, 900.0))
            await accepted(*here.parcels)
            assert await numbers(at) == [*range(10)]

    asyncio.run(run())


# Ids


@given(st.text() | st.sampled_from(["\ud800", " ", "\x7f", "x" * 200, "x" * 201]) | st.binary().map(repr))
def test_every_id_becomes_one_that_a_header_carries(identifier: str) -> None:
    found = message_id(identifier)
    assert 0 < len(found) <= 200 and found.isascii() and found.isprintable() and found == found.strip()
    assert found == message_id(identifier)
    assert found == identifier or found.startswith("sha256:")


def test_an_event_that_was_published_before_is_not_stored_again_and_that_is_told(
    server: PrivateServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async with desk(server) as (at, here):
            [first] = here.put()
            await accepted(first)
            again = StoredPublish("a", '{"n":1}', first.subject, f"{here.stream}-0")
            here.outbox.put(again)
            await accepted(again)
            assert await numbers(at) == [0]

    with caplog.at_level(logging.INFO):
        asyncio.run(run())
    assert "a was stored before under the same id, and is not stored again" in caplog.text


def test_odd_ids_are_told_apart(server: PrivateServer) -> None:
    identifiers = ["é", "e\u0301", "a b", " a", "a", "a\r\nNats-Msg-Id: x", "x" * 300, "x" * 301, "\ud800", "", "0"]

    async def run() -> None:
        async with studio(server) as at:
            here = Desk(at)
            at.link.attach(here.publishing)
            for _ in range(2):
                for n, identifier in enumerate(identifiers):
                    parcel = StoredPublish("a", json.dumps({"n": n}), f"{at.stream}.event.a", identifier)
                    here.outbox.put(parcel)
                    await accepted(parcel)
            assert await numbers(at) == [*range(len(identifiers))], "each is stored once"

    asyncio.run(run())
