"""Dead letters on a real server: kept until somebody retries or drops them."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Generator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub import Event, EventHub
from rxhub.errors import HubConnectionError, NotFoundError
from rxhub.testing import Nats
from rxhub.transport.nats.dead_letter import DeadLetter, headers_of, subject_of, tokens_of
from rxhub.transport.nats.dead_letters import StoredDeadLetters
from rxhub.transport.nats.subjects import Subjects
from tests.threads import LIMIT, until
from tests.transport.nats.processing.made import job
from tests.transport.nats.processing.working import Seen, publish


@pytest.fixture
def hub(nats: Nats) -> Generator[EventHub]:
    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as made:
        made.connect()
        yield made


def fail(event: Event) -> None:
    raise ValueError(event.data["value"])


def bury(hub: EventHub, group: str, *values: Any) -> None:
    """Have the events of these values die in a group; those of `g` are about the topic `a`."""
    topic = "a" if group == "g" else group
    with hub.process(f"topic={topic}", fail, group=group, retries=0) as processing:
        publish(hub, topic, *values)
        until(lambda: processing.counts.dead == len(values))


def values(hub: EventHub, group: str | None = None) -> list[Any]:
    return [letter.event.data["value"] for letter in hub.dead_letters.list(group) if letter.event]


def test_without_letters_there_is_nothing_to_list(hub: EventHub) -> None:
    assert list(hub.dead_letters.list()) == [] and len(hub.dead_letters) == 0 and hub.dead_letters
    assert hub.dead_letters.retry("all") == hub.dead_letters.drop("all") == 0


def test_letters_are_listed_from_the_oldest_on_all_or_of_one_group(hub: EventHub) -> None:
    bury(hub, "g", 1, 2)
    bury(hub, "h", 3)
    bury(hub, "g", 4)
    assert values(hub) == [1, 2, 3, 4] and values(hub, "g") == [1, 2, 4] and values(hub, "nobody") == []
    assert len(hub.dead_letters) == 4
    assert [letter.id for letter in hub.dead_letters.list()] == [1, 2, 3, 4]


def test_a_letter_tells_what_died_why_and_when(hub: EventHub) -> None:
    before = datetime.now(UTC)
    bury(hub, "g", 1)
    letter = hub.dead_letters.get(1)
    assert before.timestamp() - 1 < letter.stored.timestamp() <= letter.died.timestamp()
    told = letter.to_json()
    assert told["reason"] == "ValueError: 1" and "in fail" in told["traceback"]
    assert (told["event"]["topic"], told["event"]["data"]) == ("a", {"value": 1})
    assert "ValueError" in repr(letter) and "in fail" not in repr(letter)


def test_a_retried_letter_goes_to_its_group_alone_and_is_gone(hub: EventHub) -> None:
    bury(hub, "g", 1, 2)
    mine, others = Seen(), Seen()
    hub.process("topic=*", others, group="other")
    # Though the group does not want such events any more.
    hub.process("topic=b", mine, group="g", replace=True)
    live = Seen()
    hub.subscribe("topic=a or topic=b", live)
    hub.start()
    assert hub.dead_letters.retry(1) == 1
    assert mine.wait(1) == [1] and values(hub) == [2]
    publish(hub, "b", 3)
    mine.wait(2)
    assert others.wait(1) == [3] and live.wait(1) == [3]


def test_all_letters_of_a_group_are_retried_once_though_they_die_again(hub: EventHub) -> None:
    bury(hub, "g", 1, 2, 3)
    bury(hub, "h", 4)
    with hub.process("topic=a", fail, group="g", retries=0) as processing:
        assert hub.dead_letters.retry("all", "g") == 3
        until(lambda: processing.counts.dead == 3)
    assert values(hub, "g") == [1, 2, 3] and values(hub, "h") == [4]
    assert [letter.id for letter in hub.dead_letters.list("g")] == [5, 6, 7]


def test_a_letter_of_a_group_that_is_gone_is_kept(hub: EventHub) -> None:
    bury(hub, "g", 1)
    transport: Any = hub._link.transport
    transport.call(transport.link.js_request(f"CONSUMER.DELETE.{transport.subjects.stream}.g"))
    with pytest.raises(NotFoundError, match="its group g is there no more"):
        hub.dead_letters.retry(1)
    assert values(hub) == [1]


def test_who_is_interrupted_while_retrying_loses_nothing(hub: EventHub, monkeypatch: pytest.MonkeyPatch) -> None:
    bury(hub, "g", 1)

    async def cut_off(*_: Any) -> None:
        raise HubConnectionError("cut off")

    seen = Seen()
    monkeypatch.setattr(StoredDeadLetters, "_delete", cut_off)
    with pytest.raises(HubConnectionError, match="cut off"):
        hub.dead_letters.retry(1)
    monkeypatch.undo()
    assert values(hub) == [1]
    hub.process("topic=a", seen, group="g")
    assert seen.wait(1) == [1]
    # The second time it is known by its id, and stored once.
    assert hub.dead_letters.retry(1) == 1 and values(hub) == []
    publish(hub, "a", 2)
    assert seen.wait(2) == [1, 2]


@pytest.mark.parametrize("id", [1, 2, 3])
def test_a_letter_that_another_client_drops_meanwhile_is_gone(
    hub: EventHub, monkeypatch: pytest.MonkeyPatch, id: int
) -> None:
    bury(hub, "g", 1, 2, 3)
    delete = StoredDeadLetters._delete

    async def delete_twice(stored: StoredDeadLetters, id: int) -> None:
        await delete(stored, id)
        await delete(stored, id)

    monkeypatch.setattr(StoredDeadLetters, "_delete", delete_twice)
    assert hub.dead_letters.drop(id) == 1 and len(values(hub)) == 2
    assert hub.dead_letters.retry("all") == 2 and values(hub) == []


def test_an_interrupted_retry_ends_though_a_request_loses_the_cancellation(
    hub: EventHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(hub, "g", 1, 2, 3)
    delete, begun = StoredDeadLetters._delete, asyncio.Event()

    async def lose(stored: StoredDeadLetters, id: int) -> None:
        if not begun.is_set():
            begun.set()
            with suppress(asyncio.CancelledError):  # as `asyncio.wait_for` does until Python 3.12
                await asyncio.sleep(LIMIT)
        await delete(stored, id)

    async def interrupt() -> bool:
        retrying = asyncio.create_task(StoredDeadLetters(transport.link, transport.subjects).retry("all"))
        await begun.wait()
        retrying.cancel()
        await asyncio.wait([retrying])
        return retrying.cancelled()

    monkeypatch.setattr(StoredDeadLetters, "_delete", lose)
    transport: Any = hub._link.transport
    assert transport.call(interrupt(), LIMIT) and values(hub) == [2, 3]


def delete_stream(hub: EventHub, name: str) -> None:
    transport: Any = hub._link.transport
    transport.call(transport.link.js_request(f"STREAM.DELETE.{name}"))


def test_what_dies_in_a_stream_that_was_made_anew_is_another_letter(hub: EventHub, nats: Nats) -> None:
    bury(hub, "g", 1)
    delete_stream(hub, nats.stream)
    bury(hub, "g", 2)
    assert values(hub) == [1, 2] and [letter.sequence for letter in hub.dead_letters.list()] == [1, 1]


def test_letters_that_were_made_anew_are_retried_too(hub: EventHub, nats: Nats) -> None:
    seen = Seen()
    for value in (1, 2):
        bury(hub, "g", value)
        with hub.process("topic=a", seen, group="g"):
            assert hub.dead_letters.retry(1) == 1
            seen.wait(value)
        delete_stream(hub, f"{nats.stream}-dead")
    assert seen == [1, 2]


def test_letters_are_dropped_one_by_one_or_all_of_a_group_or_all(hub: EventHub) -> None:
    bury(hub, "g", 1, 2, 3)
    bury(hub, "h", 4)
    assert hub.dead_letters.drop(2) == 1 and values(hub) == [1, 3, 4]
    assert hub.dead_letters.drop("all", "g") == 2 and values(hub) == [4]
    assert hub.dead_letters.drop("all") == 1 and values(hub) == []


@pytest.mark.parametrize("id", [1, 99, 10**30])
def test_a_letter_that_is_not_there_is_told(hub: EventHub, id: int) -> None:
    bury(hub, "g", 1, 2)
    hub.dead_letters.drop(1)
    for act in (hub.dead_letters.get, hub.dead_letters.retry, hub.dead_letters.drop):
        with pytest.raises(NotFoundError, match=f"no dead letter {id}"):
            act(id)


@pytest.mark.parametrize("id", [0, -1, True, "1", None])
def test_what_is_no_id_is_told(hub: EventHub, id: Any) -> None:
    for act in (hub.dead_letters.get, hub.dead_letters.retry, hub.dead_letters.drop):
        with pytest.raises(TypeError, match="known by a number"):
            act(id)


def test_a_group_is_a_name(hub: EventHub) -> None:
    other: Any = 3
    for act in (lambda: hub.dead_letters.drop("all", other), lambda: hub.dead_letters.retry("all", other)):
        with pytest.raises(TypeError, match="by its name"):
            act()


def test_a_hub_that_is_not_connected_says_so(nats: Nats) -> None:
    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as hub:
        with pytest.raises(HubConnectionError, match="connect"):
            list(hub.dead_letters.list())


def test_a_letter_without_any_headers_can_be_read_and_retried(hub: EventHub) -> None:
    bury(hub, "g", 1)
    transport: Any = hub._link.transport
    subjects: Subjects = transport.subjects
    transport.call(transport.link.publish_and_wait(f"{subjects.stream}.dead.g.a", b'{"topic":"a","data":{"value":7}}'))
    letter = hub.dead_letters.get(2)
    assert (letter.group, letter.topic, letter.reason, letter.attempts) == ("g", "a", "unknown", 0)
    seen = Seen()
    hub.process("topic=a", seen, group="g")
    hub.dead_letters.retry(2)
    assert seen.wait(1) == [7]


def test_a_letter_without_room_for_its_groups_name_is_retried_by_the_group(hub: EventHub) -> None:
    name = "rendern & prüfen"
    message = job(12).message
    headers = headers_of(name, message, "reason", "", 3, room=0)
    transport: Any = hub._link.transport
    with hub.process("topic=a", seen := Seen(), group=name):
        subject = subject_of(transport.subjects, name, message)
        transport.call(
            transport.link.publish_and_wait(subject.rpartition(".")[0] + ".a", b'{"topic":"a","data":{"value":7}}')
        )
        assert len(headers) == 1 and hub.dead_letters.retry(1) == 1
        assert seen.wait(1) == [7]


def test_a_letter_that_cannot_be_stored_leaves_the_event_where_it_is(
    hub: EventHub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("rxhub.transport.nats.processing.retries._STORE_RETRY_S", 0.1)
    runs = Seen()

    def handle(event: Event) -> None:
        runs(event)
        raise ValueError

    with hub.process("topic=a", handle, group="g", retries=1, backoff=0.01) as processing:
        transport: Any = hub._link.transport
        name = f"{transport.subjects.stream}-dead"
        config = transport.call(transport.link.js_request(f"STREAM.INFO.{name}"))["config"]
        transport.call(transport.link.js_request(f"STREAM.UPDATE.{name}", config | {"max_bytes": 1}))
        publish(hub, "a", 1)
        until(lambda: caplog.text.count("as a dead letter after its last attempt; retrying") >= 2)
        assert processing.counts.dead == 0
        transport.call(transport.link.js_request(f"STREAM.UPDATE.{name}", config))
        until(lambda: processing.counts.dead == 1)
    # It was not run again meanwhile.
    assert runs == [1, 1] and values(hub) == [1] and hub.dead_letters.get(1).attempts == 2


# The shape of a letter


texts = st.text(st.characters(codec=None), max_size=3000)


@given(group=texts.filter(str.strip), reason=texts, trace=texts, attempts=st.integers(0, 10**6))
def test_whatever_texts_are_in_a_letter_are_read_as_they_were_written(
    group: str, reason: str, trace: str, attempts: int
) -> None:
    message = job(12).message
    headers = headers_of(group, message, reason, trace, attempts, 10**6)
    assert all(value.isascii() and value.isprintable() for value in headers.values())
    letter = read(headers, message.subject)
    assert (letter.group, letter.attempts, letter.sequence) == (group, attempts, 12)
    assert reason.startswith(letter.reason.removesuffix("…")) or letter.reason == "unknown"
    assert trace.endswith(letter.traceback)


def test_a_letter_for_which_there_is_no_room_has_no_more_than_its_id() -> None:
    message = job(12).message
    headers = headers_of("g", message, "reason", "trace", 3, room=100)
    assert headers == {"Nats-Msg-Id": f"g:{message.nanoseconds}:12"}
    letter = read(headers, message.subject)
    assert (letter.sequence, letter.group, letter.reason) == (12, "g", "unknown")


@pytest.mark.parametrize("block", [b"", b"NATS/1.0", b"\xff\xff\r\n\r\n:", b"NATS/1.0\r\nRxhub-Group: {\r\n\r\n"])
def test_headers_that_somebody_has_spoilt_are_left_out(block: bytes) -> None:
    letter = DeadLetter.read(Subjects("stream"), stored_message(block, "stream.dead.g.t"))
    assert (letter.group, letter.topic, letter.reason) == ("g", "t", "unknown")


@pytest.mark.parametrize("subject", ["stream.event.a.b", "stream.retry.g.a.b", "stream.dead.g.a.b"])
def test_the_topic_is_kept_on_each_way(subject: str) -> None:
    assert tokens_of(subject) == ["a", "b"]


def read(headers: dict[str, str], subject: str) -> DeadLetter:
    block = "NATS/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
    subjects = Subjects("stream")
    return DeadLetter.read(subjects, stored_message(block.encode(), subject_of(subjects, "g", job(12).message)))


def stored_message(block: bytes, subject: str) -> dict[str, Any]:
    return {
        "seq": 1,
        "subject": subject,
        "time": "2026-01-02T03:04:05.123456789Z",
        "hdrs": b64encode(block).decode(),
        "data": "",
    }
