"""Pulling: never more under way than may be, never nothing asked for while there is room, never for ever in vain."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from rxhub.embedded import PrivateServer
from rxhub.transport.nats import pull_consumer as module
from rxhub.transport.nats.connection import NatsConnection
from rxhub.transport.nats.pull_consumer import ConsumerGone, Message, PullConsumer, PullRefused
from tests.threads import LIMIT
from tests.transport.nats.reading import Studio, studio, until


@pytest.fixture
def server(nats_of_the_session: PrivateServer) -> PrivateServer:
    return nats_of_the_session


async def durable(at: Studio, **settings: Any) -> None:
    config = {"durable_name": "work", "ack_policy": "explicit", "filter_subject": f"{at.stream}.event.>", **settings}
    await at.peer.js_request(f"CONSUMER.DURABLE.CREATE.{at.stream}.work", {"stream_name": at.stream, "config": config})


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task], timeout=LIMIT)
    assert task.cancelled()


@pytest.mark.parametrize("ahead", [1, 2, 3, 64])
def test_as_many_as_may_be_under_way(server: PrivateServer, ahead: int) -> None:
    async def run() -> None:
        async with studio(server) as at:
            await durable(at)
            await at.store(*["a"] * 40)
            taken: list[Message] = []
            pulling = PullConsumer(at.stream, "work", taken.append, ahead=ahead)
            task = asyncio.create_task(pulling.run(await at.link.ready()))
            await until(lambda: len(taken) == min(ahead, 40))
            assert pulling.held == len(taken)
            while len(taken) < 40:
                before = len(taken)
                assert pulling.held <= ahead
                pulling.done(pulling.held)
                await until(lambda before=before: len(taken) > before)
            assert (
                [message.sequence for message in taken]
                == [message.consumer_sequence for message in taken]
                == [*range(1, 41)]
            )
            assert taken[-1].pending == 0 and taken[0].delivered == 1
            await ended(task)

    asyncio.run(run())


def test_no_more_bytes_are_held_than_may_be(server: PrivateServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_PULL_BYTES", 1_000_000)

    async def run() -> None:
        async with studio(server) as at:
            await durable(at)
            line = await at.link.ready()
            # One is as large as the server lets any be.
            sizes = [100_000] * 60 + [line.max_payload] + [10] * 100
            for size in sizes:
                await line.client.request(f"{at.stream}.event.a", b"x" * size, timeout=LIMIT)
            taken: list[Message] = []
            pulling = PullConsumer(at.stream, "work", taken.append)
            task = asyncio.create_task(pulling.run(line))
            while len(taken) < len(sizes):
                held = 0
                while held < pulling.held or not held:
                    held = pulling.held
                    await asyncio.sleep(0.05)
                assert sum(len(message.data) for message in taken[-held:]) <= 4 * line.max_payload
                pulling.done(held)
            assert [len(message.data) for message in taken] == sizes
            await ended(task)

    asyncio.run(run())


def test_what_is_acknowledged_comes_no_more_and_what_is_not_comes_again(server: PrivateServer) -> None:
    async def run() -> None:
        async with studio(server) as at:
            await durable(at, ack_wait=50_000_000)
            await at.store("a", "b")
            taken: list[Message] = []
            pulling = PullConsumer(at.stream, "work", taken.append)
            at.link.attach(pulling)
            await until(lambda: len(taken) == 2)
            await at.link.publish(taken[0].reply, b"+ACK")
            await until(lambda: len(taken) == 3)
            assert (taken[2].sequence, taken[2].delivered) == (2, 2)
            await at.link.publish(taken[2].reply, b"+ACK")

    asyncio.run(run())


def test_a_consumer_that_is_deleted(server: PrivateServer) -> None:
    async def run() -> None:
        async with studio(server) as at:
            for held in (0, 8):
                await durable(at)
                taken: list[Message] = []
                pulling = PullConsumer(at.stream, "work", taken.append, ahead=8)
                await at.store(*["a"] * held)
                task = asyncio.create_task(pulling.run(await at.link.ready()))
                await until(lambda: pulling.held == held and (held or pulling._requested))
                await at.drop_consumers()
                if held:
                    # Nothing is asked for while nothing more can be held, so only the next pull finds out.
                    pulling.done(held)
                async with asyncio.timeout(LIMIT):
                    with pytest.raises(ConsumerGone, match="work"):
                        await task

    asyncio.run(run())


@pytest.mark.parametrize("gone", ["consumer", "stream"])
def test_there_never_was_one(server: PrivateServer, gone: str) -> None:
    async def run() -> None:
        async with studio(server) as at:
            if gone == "stream":
                await at.delete()
            with pytest.raises(ConsumerGone):
                async with asyncio.timeout(LIMIT):
                    await PullConsumer(at.stream, "nobody", print).run(await at.link.ready())

    asyncio.run(run())


GROUPS = {"priority_groups": ["g"], "priority_policy": "pinned_client", "priority_timeout": 10_000_000_000}


@pytest.mark.parametrize("group", ["", "h"])
def test_a_consumer_that_does_not_take_such_pulls(server: PrivateServer, group: str) -> None:
    async def run() -> None:
        async with studio(server) as at:
            await durable(at, **GROUPS)
            with pytest.raises(PullRefused):
                async with asyncio.timeout(LIMIT):
                    await PullConsumer(at.stream, "work", print, group=group).run(await at.link.ready())

    asyncio.run(run())


def test_a_consumer_that_falls_silent_is_asked_again(server: PrivateServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IDLE_HEARTBEAT_S", 0.05)

    async def run() -> None:
        async with studio(server) as at:
            await durable(at)
            taken: list[Message] = []
            pulling = PullConsumer(at.stream, "work", taken.append)
            line = await at.link.ready()
            publish = line.client.publish
            swallowed: list[str] = []

            async def swallow(subject: str, *arguments: Any, **named: Any) -> None:
                if "MSG.NEXT" in subject and len(swallowed) < 2:
                    swallowed.append(subject)
                else:
                    await publish(subject, *arguments, **named)

            monkeypatch.setattr(line.client, "publish", swallow)
            task = asyncio.create_task(pulling.run(line))
            await at.store("a")
            await until(lambda: taken)
            assert len(swallowed) == 2
            await ended(task)

    asyncio.run(run())


def test_idle_for_long_it_goes_on(server: PrivateServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pulls end after their time, one after the other; none is missed, and none is asked for in vain."""
    monkeypatch.setattr(module, "_PULL_EXPIRES_S", 0.2)
    monkeypatch.setattr(module, "_IDLE_HEARTBEAT_S", 0.05)

    async def run() -> None:
        async with studio(server) as at:
            await durable(at)
            taken: list[Message] = []
            pulling = PullConsumer(at.stream, "work", taken.append, ahead=4)
            task = asyncio.create_task(pulling.run(await at.link.ready()))
            for count in range(1, 4):
                await asyncio.sleep(0.25)
                await at.store("a")
                await until(lambda count=count: len(taken) == count)
                assert 0 <= pulling._requested <= 4
                pulling.done()
            await ended(task)

    asyncio.run(run())


class Scripted:
    """A line whose publish does something before it returns, as a real one does when its buffer is full."""

    def __init__(self) -> None:
        self.client = self
        self.max_payload = 1_000_000
        self.pulls: list[dict[str, Any]] = []
        self.meanwhile: Any = None

    def inbox(self) -> str:
        return "_INBOX.x"

    async def subscribe(self, subject: str, take: Any, is_drained: bool = False) -> Any:
        async def end() -> None: ...

        self.take = take
        return end

    async def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        self.pulls.append(json.loads(payload))
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()


def message(turn: int) -> tuple[str, str, bytes, bytes]:
    return "a.event.b", f"$JS.ACK.a.work.1.{turn}.{turn}.1700000000000000000.0", b"{}", b""


def test_what_is_done_with_while_a_pull_is_sent_is_pulled_anew() -> None:
    async def run() -> None:
        line, taken = Scripted(), []
        pulling = PullConsumer("a", "work", taken.append, ahead=2)

        async def all_at_once() -> None:
            for turn in (1, 2):
                line.take(*message(turn))
                pulling.done()

        line.meanwhile = all_at_once
        ours: Any = line
        task = asyncio.create_task(pulling.run(ours))
        await until(lambda: len(line.pulls) == 2)
        assert [pull["batch"] for pull in line.pulls] == [2, 2]
        await ended(task)

    asyncio.run(run())


def test_an_end_that_is_told_while_a_pull_is_sent_is_heard() -> None:
    async def run() -> None:
        line = Scripted()
        pulling = PullConsumer("a", "work", print)

        async def fail() -> None:
            pulling.fail("no reason")

        line.meanwhile = fail
        ours: Any = line
        with pytest.raises(ConsumerGone, match="no reason"):
            async with asyncio.timeout(LIMIT):
                await pulling.run(ours)

    asyncio.run(run())


def test_what_comes_from_elsewhere_is_no_message(server: PrivateServer) -> None:
    async def run() -> None:
        async with studio(server) as at:
            await durable(at)
            taken: list[Message] = []
            inboxes: list[str] = []
            line: NatsConnection = await at.link.ready()
            inbox = line.inbox

            def noted() -> str:
                inboxes.append(inbox())
                return inboxes[-1]

            line.inbox = noted
            pulling = PullConsumer(at.stream, "work", taken.append)
            task = asyncio.create_task(pulling.run(line))
            await until(lambda: inboxes)
            for reply in ("", "somewhere", "$JS.ACK.a", "$JS.ACK.a.b.c.d.e.f.g"):
                await line.client.publish(inboxes[0], b"{}", reply)
            # An event may have a header that looks like a status.
            await line.client.publish(f"{at.stream}.event.a", b"{}", headers={"Status": "409 Consumer Deleted"})
            await until(lambda: taken)
            assert len(taken) == 1 and pulling.held == 1 and not task.done()
            assert taken[0].headers["Status"] == "409 Consumer Deleted"
            await ended(task)

    asyncio.run(run())
