"""Reading in order: each event once, whatever breaks and whichever filters come and go."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxhub.concurrency.backoff import Backoff
from rxhub.embedded import PrivateServer
from rxhub.errors import StreamError
from rxhub.transport.nats import ordered_consumer as module
from rxhub.transport.nats import reconnecting as link_module
from rxhub.transport.nats.ordered_consumer import OrderedConsumer, ReadPosition
from rxhub.transport.nats.pull_consumer import Message
from rxhub.transport.nats.subject_filters import covers
from tests.proxy import Proxy
from tests.threads import LIMIT
from tests.transport.nats.reading import Reader, Studio, studio, until


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "Backoff", lambda *_: Backoff(0.01, 0.05))


@pytest.fixture
def server(nats_of_the_session: PrivateServer) -> PrivateServer:
    return nats_of_the_session


def test_from_now_on(server: PrivateServer) -> None:
    async def run() -> None:
        async with studio(server) as at:
            await at.store("a", "b")
            reader = Reader(at, "a", "c.>")
            assert not reader.ordered.is_synced and reader.ordered.read_position is None
            at.link.attach(reader.ordered)
            await reader.ordered.synced()
            assert reader.ordered.is_synced and reader.ordered.position == 2
            await at.store("a", "b", "c.d", "c", "a")
            await reader.has(3, 5, 7)
            message = reader.messages[0]
            assert message.subject == f"{at.stream}.event.a" and message.delivered == 1
            assert abs(message.time - datetime.now(UTC).timestamp()) < 60
            await at.link.detach(reader.ordered)
            await until_none(at)

    asyncio.run(run())


def test_from_a_sequence_a_time_and_a_place(server: PrivateServer) -> None:
    async def run() -> None:
        async with studio(server) as at:
            await at.store("a", "b", "a")
            await asyncio.sleep(0.002)
            noon = datetime.now(UTC)
            await at.store("a", "a")
            behind, since, beginning = Reader(at, ">", start=2), Reader(at, ">", start=noon), Reader(at, "a", start=0)
            for reader in (behind, since, beginning):
                at.link.attach(reader.ordered)
            await behind.has(3, 4, 5)
            await since.has(4, 5)
            await beginning.has(1, 3, 4, 5)
            place = behind.ordered.read_position
            assert place is not None and place.sequence == 5
            after = Reader(at, ">", start=place)
            at.link.attach(after.ordered)
            await at.store("b")
            await after.has(6)
            await since.has(4, 5, 6)

    asyncio.run(run())


def test_nobody_wants_anything(server: PrivateServer) -> None:
    async def run() -> None:
        async with studio(server) as at:
            reader = Reader(at)
            at.link.attach(reader.ordered)
            await reader.ordered.synced()
            await at.store("a", "b")
            reader.change("a")
            await reader.ordered.synced()
            await at.store("a")
            await reader.has(3)
            reader.change()
            await reader.ordered.synced()
            await at.store("a")
            await until_none(at)
            reader.change("a")
            await reader.ordered.synced()
            await at.store("a")
            await reader.has(3, 5)

    asyncio.run(run())


async def until_none(at: Studio) -> None:
    async with asyncio.timeout(LIMIT):
        while await at.consumers():
            await asyncio.sleep(0.01)


def test_a_filter_that_is_added_brings_no_history_while_the_reader_is_held_up(server: PrivateServer) -> None:
    async def run() -> None:
        async with studio(server) as at:
            reader = Reader(at, "a", ahead=4)
            at.link.attach(reader.ordered)
            await reader.ordered.synced()
            reader.held = True
            await at.store(*["a", "b"] * 10)
            await until(lambda: len(reader.taken) == 4)
            reader.change("a", "b")
            # Whoever holds the reader up may wait for this.
            await reader.ordered.synced()
            await at.store("b", "a")
            reader.change("a", "b", "c")
            await reader.ordered.synced()
            await at.store("c")
            assert len(reader.taken) == 4
            reader.release()
            await reader.has(*range(1, 21, 2), 21, 22, 23)

    asyncio.run(run())


def test_it_holds_no_more_than_it_may(server: PrivateServer) -> None:
    async def run() -> None:
        async with studio(server) as at:
            reader = Reader(at, ">", start=0, ahead=8)
            reader.held = True
            await at.store(*["a"] * 40)
            at.link.attach(reader.ordered)
            await until(lambda: len(reader.taken) == 8)
            for _ in range(3):
                at.break_line()
                await until(lambda: at.link.connection is None)
                await at.link.ready()
                await at.drop_consumers()
                await at.link.js_request(f"STREAM.INFO.{at.stream}")
            assert len(reader.taken) == 8
            reader.release()
            await reader.has(*range(1, 41))

    asyncio.run(run())


def test_few_consumers_for_many_changes_and_events_in_between(server: PrivateServer) -> None:
    made = 0
    consumer = module.create_ephemeral_consumer

    async def counted(*arguments: Any) -> Any:
        nonlocal made
        made += 1
        return await consumer(*arguments)

    async def run() -> None:
        async with studio(server) as at:
            reader = Reader(at, "a")
            at.link.attach(reader.ordered)
            for number in range(50):
                reader.change("a", *[f"b{other}" for other in range(number)])
                await reader.ordered.synced()
                await at.store("a", f"b{number}", f"b{number - 1}")
            expected = [n + 1 for n in range(150) if n % 3 == 0 or (n % 3 == 2 and n > 2)]
            await reader.has(*expected)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "create_ephemeral_consumer", counted)
        asyncio.run(run())
    assert made <= 25, "what changes while a consumer is made shares the next one"


def test_events_come_while_filters_change_all_the_time(server: PrivateServer) -> None:
    async def run() -> None:
        async with studio(server) as at:
            reader = Reader(at, "a")
            at.link.attach(reader.ordered)
            await reader.ordered.synced()
            number = 0

            async def change() -> None:
                nonlocal number
                while True:
                    number += 1
                    reader.change("a", f"b{number}")
                    await asyncio.sleep(0)

            changing = asyncio.create_task(change())
            await at.store(*["a"] * 30)
            await reader.has(*range(1, 31))
            changing.cancel()
            await asyncio.wait([changing])

    asyncio.run(run())


def test_changes_far_behind_which_the_reader_is_are_few(server: PrivateServer) -> None:
    async def run() -> None:
        async with studio(server) as at:
            reader = Reader(at, "a")
            at.link.attach(reader.ordered)
            await reader.ordered.synced()
            for number in range(3 * module._MAX_EPOCHS):
                await at.store("other")
                reader.change("a", f"b{number}")
                await reader.ordered.synced()
            assert len(reader.ordered._epochs) <= module._MAX_EPOCHS
            await at.store("a")
            await reader.has(len(at.stored))
            assert not reader.ordered._epochs

    asyncio.run(run())


def test_at_the_place_of_another_reader_new_filters_bring_no_history(server: PrivateServer) -> None:
    async def run() -> None:
        async with studio(server) as at:
            before = Reader(at, "a", ahead=4)
            at.link.attach(before.ordered)
            await before.ordered.synced()
            before.held = True
            await at.store("b", "a", "b", "a", "b", "c", "a")
            await until(lambda: before.taken == [2, 4, 7])
            before.change("a", "b")
            await before.ordered.synced()
            await at.store("b", "c")
            await until(lambda: before.taken == [2, 4, 7, 8])
            await at.link.detach(before.ordered)
            await at.store("a", "b", "c")
            # Two of those that were taken were not dealt with.
            place = before.ordered.read_position
            assert place is not None and place.sequence == 8
            reader = Reader(at, "a", "b", "c", start=place._replace(sequence=3))
            at.link.attach(reader.ordered)
            await reader.ordered.synced()
            await at.store("c")
            await reader.has(4, 7, 8, 10, 11, 13)

    asyncio.run(run())


# What breaks


@pytest.mark.parametrize("fault", ["line", "consumer", "both"])
def test_after_a_fault_nothing_is_missing_and_nothing_comes_twice(server: PrivateServer, fault: str) -> None:
    async def run() -> None:
        async with studio(server) as at:
            reader = Reader(at, "a")
            at.link.attach(reader.ordered)
            await reader.ordered.synced()
            for _ in range(4):
                storing = asyncio.create_task(at.store(*["a", "b"] * 10))
                await asyncio.sleep(0.003)
                if fault != "line":
                    await at.drop_consumers()
                if fault != "consumer":
                    at.break_line()
                await storing
            await reader.has(*range(1, 81, 2))
            assert reader.ordered.is_synced
            await at.link.detach(reader.ordered)
            await until_none(at)

    asyncio.run(run())


def test_changes_while_there_is_no_line_hold_on_the_next_one(server: PrivateServer) -> None:
    async def run(proxy: Proxy) -> None:
        async with studio(server, f"nats://127.0.0.1:{proxy.port}") as at:
            reader = Reader(at, "a")
            at.link.attach(reader.ordered)
            await reader.ordered.synced()
            proxy.black_hole = True
            at.break_line()
            await until(lambda: at.link.connection is None)
            await at.store("a", "b")
            reader.change("a", "b")
            assert not reader.ordered.is_synced
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await reader.ordered.synced()
            proxy.black_hole = False
            proxy.reset()
            await reader.ordered.synced()
            await at.store("b")
            await reader.has(1, 3)

    with Proxy(int(server.url.rpartition(":")[2])) as proxy:
        asyncio.run(run(proxy))


def test_a_stream_that_is_made_anew_is_read_from_its_beginning(
    server: PrivateServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async with studio(server) as at:
            ends: list[int] = []
            reader = Reader(at, "a", rewound=ends.append)
            at.link.attach(reader.ordered)
            await reader.ordered.synced()
            await at.store("a", "a", "a")
            await reader.has(1, 2, 3)
            assert not ends
            await at.delete()
            await until(lambda: "stream not found" in caplog.text)
            await at.make()
            # More than there were before, so that its end tells nothing.
            await at.store("a", "b", "a", "a", "a")
            await reader.has(1, 2, 3, 1, 3, 4, 5)
            at.break_line()
            await until(lambda: at.link.connection is None)
            await at.delete()
            await at.make()
            await at.store("a")
            await reader.has(1, 2, 3, 1, 3, 4, 5, 1)
            assert ends == [0, 0]

    with caplog.at_level(logging.INFO):
        asyncio.run(run())
    assert caplog.text.count("was recreated") == 2


def test_the_place_of_another_reader_in_a_stream_that_is_another_one_by_now(
    server: PrivateServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async with studio(server) as at:
            await at.store("a", "a")
            reader = Reader(at, "a", start=ReadPosition(1, "2001-01-01T00:00:00Z"))
            at.link.attach(reader.ordered)
            await reader.has(1, 2)

    asyncio.run(run())
    assert "was recreated" in caplog.text


class Scripted:
    """A line on which JetStream's answers are what a test says; real servers lose the end of a stream by power cuts."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.later: list[int] = []

    async def js_request(self, api: str) -> dict[str, Any]:
        if self.later:
            self.last = self.later.pop(0)
        return {"state": {"last_seq": self.last}, "created": "then"}


def test_a_server_that_has_lost_the_end_of_the_stream(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_STREAM_CHECK_INTERVAL_S", 0.001)
    line: Any = Scripted(10)
    ends: list[int] = []
    reader = OrderedConsumer("a", print, list, start=ReadPosition(10, "then"), rewound=ends.append)
    asyncio.run(reader._check_stream(line))
    assert reader.position == 10 and not ends
    line.last = 7
    asyncio.run(reader._check_stream(line))
    assert reader.position == 7, "8 will be another message"
    assert ends == [7] and "lost data" in caplog.text
    # One that only has to catch up has lost nothing.
    reader = OrderedConsumer("a", print, list, start=ReadPosition(10, "then"))
    line.later = [8, 9, 10]
    asyncio.run(reader._check_stream(line))
    assert reader.position == 10 and not line.later
    # Who begins in the future has read nothing of it.
    late = OrderedConsumer("a", print, list, start=50)
    asyncio.run(late._check_stream(line))
    assert late.position == 50


def test_a_consumer_that_begins_too_early_brings_nothing_twice(server: PrivateServer) -> None:
    """As one does in a cluster, on a server that is behind: it begins where that server's copy of the stream ends."""
    consumer = module.create_ephemeral_consumer

    async def early(line: Any, stream: str, subjects: Any, start: Any, name: str) -> Any:
        return await consumer(line, stream, subjects, 0, name)

    async def run() -> None:
        async with studio(server) as at:
            reader = Reader(at, "a", start=0)
            at.link.attach(reader.ordered)
            await at.store("a", "a", "b", "a")
            await reader.has(1, 2, 4)
            await at.drop_consumers()
            await at.store("a")
            await reader.has(1, 2, 4, 5)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "create_ephemeral_consumer", early)
        asyncio.run(run())


def test_a_message_that_the_line_has_swallowed_is_asked_for_again(server: PrivateServer) -> None:
    async def run() -> None:
        async with studio(server) as at:
            reader, swallowed = Reader(at, "a"), []
            take = reader.ordered._on_message

            def swallow(message: Message) -> None:
                if message.sequence == 2 and not swallowed:
                    swallowed.append(message)
                else:
                    take(message)

            reader.ordered._on_message = swallow
            at.link.attach(reader.ordered)
            await reader.ordered.synced()
            await at.store("a", "a", "a", "a")
            await reader.has(1, 2, 3, 4)
            assert swallowed

    asyncio.run(run())


def test_a_consumer_is_asked_for_in_vain(server: PrivateServer, caplog: pytest.LogCaptureFixture) -> None:
    consumer, attempts = module.create_ephemeral_consumer, 0

    async def refused(*arguments: Any) -> Any:
        nonlocal attempts
        attempts += 1
        if attempts < 4:
            raise StreamError(503, 10008, "JetStream system temporarily unavailable", "CONSUMER.CREATE")
        return await consumer(*arguments)

    async def run() -> None:
        async with studio(server) as at:
            reader = Reader(at, "a")
            at.link.attach(reader.ordered)
            await reader.ordered.synced()
            await at.store("a")
            await reader.has(1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "create_ephemeral_consumer", refused)
        asyncio.run(run())
    assert "temporarily unavailable" in caplog.text


# Against a plain model

topics = st.sampled_from(["a", "b.a", "b.b", "c"])
wanted = (
    st.sets(st.sampled_from(["a", "b.a", "b.>", "c"])).filter(lambda found: not {"b.a", "b.>"} <= found).map(sorted)
)
steps = st.one_of(
    st.tuples(st.just("store"), st.lists(topics, min_size=1, max_size=6)),
    st.tuples(st.just("store"), st.lists(topics, min_size=1, max_size=6)),
    st.tuples(st.just("change"), wanted),
    st.tuples(st.sampled_from(["break", "drop", "hold", "release", "rest"]), st.none()),
)


@settings(max_examples=25)
@given(first=wanted, script=st.lists(steps, min_size=4, max_size=25), ahead=st.sampled_from([1, 2, 512]))
def test_what_is_taken_is_what_a_list_would_give(
    nats_of_the_session: PrivateServer, first: list[str], script: list[tuple[str, Any]], ahead: int
) -> None:
    asyncio.run(compare(nats_of_the_session, first, script, ahead))


async def compare(server: PrivateServer, first: list[str], script: list[tuple[str, Any]], ahead: int) -> None:
    async with studio(server) as at:
        reader = Reader(at, *first, ahead=ahead)
        at.link.attach(reader.ordered)
        await reader.ordered.synced()
        present = first
        # Of each event, the filters that were in force, and those that came after.
        may: list[list[str]] = []
        for what, value in script:
            if what == "store":
                await at.store(*value)
                may += [present] * len(value)
            elif what == "change":
                reader.change(*value)
                await reader.ordered.synced()
                may = [[filter for filter in filters if _still(filter, value)] for filters in may]
                present = value
            elif what == "break":
                at.break_line()
            elif what == "drop":
                await at.drop_consumers()
            elif what == "hold":
                reader.held = True
            elif what == "release":
                reader.release()
            else:
                await asyncio.sleep(0.01)
        reader.release()
        # An end that is surely read.
        reader.change(*present, "end")
        await reader.ordered.synced()
        await at.store("end")
        await until(lambda: len(at.stored) in reader.taken)
        taken = reader.taken[:-1]
        assert taken == sorted(set(taken)), "in order, each once"
        history = set(taken) - {n + 1 for n, filters in enumerate(_ever(script, first)) if _let(filters, at.stored[n])}
        assert not history, "a filter that is added brings no history"
        lost = {n + 1 for n, filters in enumerate(may) if _let(filters, at.stored[n])} - set(taken)
        assert not lost, "what somebody wants all the time comes"


def _let(filters: list[str], topic: str) -> bool:
    return covers(set(filters), topic)


def _still(filter: str, filters: list[str]) -> bool:
    return covers(set(filters), filter)


def _ever(script: list[tuple[str, Any]], first: list[str]) -> list[list[str]]:
    """The filters in force when each event was stored."""
    present, found = first, []
    for what, value in script:
        if what == "change":
            present = value
        elif what == "store":
            found += [present] * len(value)
    return found
