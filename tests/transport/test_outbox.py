"""What was published and not yet accepted: bounded, in order, resent until acknowledged."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub.errors import HubConnectionError, Overflow
from rxhub.transport import outbox as module
from rxhub.transport.outbox import ACK_TIMEOUT_S, MAX_DISCONNECTS, Outbox, PendingPublish
from tests.threads import LIMIT, elsewhere


def opened(capacity: int = 100) -> Outbox:
    outbox = Outbox(capacity)
    outbox.open()
    return outbox


def put(outbox: Outbox, *names: str) -> list[PendingPublish]:
    letters = [PendingPublish(name, f'"{name}"') for name in names]
    for letter in letters:
        outbox.put(letter)
    return letters


def write(outbox: Outbox, *numbers: int, now: float = 0.0) -> list[str]:
    topics: list[str] = []
    for number in numbers:
        letter = outbox.take()
        assert letter is not None
        outbox.wrote(letter, number, now)
        topics.append(letter.topic)
    return topics


def test_a_letter_leaves_when_it_is_acknowledged() -> None:
    outbox = opened()
    a, b = put(outbox, "a", "b")
    assert len(outbox) == 2 and outbox.waiting and write(outbox, 1, 2) == ["a", "b"]
    assert not outbox.waiting and outbox.in_flight and outbox.take() is None
    assert outbox.acknowledged(2) is b and outbox.acknowledged(2) is None and outbox.acknowledged(99) is None
    assert len(outbox) == 1 and outbox.acknowledged(1) is a
    assert len(outbox) == 0 and not outbox.in_flight


def test_what_was_in_flight_is_sent_again_in_order_before_what_waits() -> None:
    outbox = opened()
    put(outbox, "a", "b", "c", "d")
    write(outbox, 1, 2, 3)
    outbox.acknowledged(2)
    assert outbox.requeue_after_disconnect() is None
    assert write(outbox, 1, 2, 3) == ["a", "c", "d"]
    assert [letter.resent for letter in outbox._in_flight.values()] == [True, True, False]


def test_a_full_outbox_tells_the_publisher_and_keeps_what_it_has() -> None:
    outbox = opened(2)
    a, _ = put(outbox, "a", "b")
    write(outbox, 1)
    with pytest.raises(Overflow, match=r"2 events wait .* refused c"):
        put(outbox, "c")
    assert outbox.refused == 1 and len(outbox) == 2
    assert outbox.acknowledged(1) is a
    put(outbox, "c")


def test_characters_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_CHARACTERS", 100)
    outbox = opened()
    outbox.put(PendingPublish("large", "x" * 1000))
    with pytest.raises(Overflow):
        outbox.put(PendingPublish("a", "x"))
    write(outbox, 1)
    outbox.acknowledged(1)
    outbox.put(PendingPublish("a", "x"))


def test_a_publisher_may_wait_for_room() -> None:
    outbox = opened(1)
    put(outbox, "a")
    with pytest.raises(Overflow):
        put(outbox, "b")
    assert not outbox.wait_for_room(0) and outbox.refused == 0
    waiting = elsewhere(outbox.wait_for_room, LIMIT)
    write(outbox, 1)
    outbox.acknowledged(1)
    assert waiting.join() is True


def test_a_server_that_acknowledges_nothing_is_not_waited_for() -> None:
    outbox = opened()
    a, b = put(outbox, "a", "b")
    write(outbox, 1, now=0)
    write(outbox, 2, now=5)
    assert outbox.overdue(ACK_TIMEOUT_S - 1) == []
    assert outbox.overdue(ACK_TIMEOUT_S + 1) == [a] and outbox.overdue(ACK_TIMEOUT_S + 6) == [b] and len(outbox) == 0


def test_a_letter_that_breaks_every_connection_is_given_up() -> None:
    outbox = opened()
    bad, good = put(outbox, "bad", "good")
    for _ in range(MAX_DISCONNECTS - 1):
        write(outbox, 1, 2)
        assert outbox.requeue_after_disconnect() is None
    write(outbox, 1, 2)
    assert outbox.requeue_after_disconnect() is bad and len(outbox) == 1
    assert write(outbox, 1) == ["good"] and outbox.acknowledged(1) is good


def test_what_is_too_large_for_the_server_is_the_largest() -> None:
    outbox = opened()
    put(outbox, "a", "large", "b")
    write(outbox, 1, 2, 3)
    culprit = outbox.requeue_after_disconnect(too_large=True)
    assert culprit is not None and culprit.topic == "large" and write(outbox, 1, 2) == ["a", "b"]
    assert outbox.requeue_after_disconnect(too_large=False) is None


def test_giving_up_tells_everybody_and_takes_nothing_more() -> None:
    outbox = opened()
    letters = put(outbox, "a", "b")
    write(outbox, 1)
    outbox.close(HubConnectionError("over"))
    for letter in letters:
        with pytest.raises(HubConnectionError, match="over"):
            letter.accepted.result(0)
    assert len(outbox) == 0 and outbox.wait_for_room(0)
    with pytest.raises(HubConnectionError, match=r"connect\(\)"):
        put(outbox, "c")
    outbox.open()
    put(outbox, "c")


def test_a_closed_outbox_takes_nothing() -> None:
    with pytest.raises(HubConnectionError):
        put(Outbox(1), "a")
    with pytest.raises(ValueError, match="at least 1"):
        Outbox(0)


def test_what_is_put_in_wakes_the_writer() -> None:
    async def main() -> None:
        outbox = opened()
        put(outbox, "a")
        assert await outbox.wakeup.wait(0)
        assert not await outbox.wakeup.wait(0)

    asyncio.run(main())


def test_what_is_on_its_way_cannot_be_called_back() -> None:
    letter = PendingPublish("a", "{}")
    assert not letter.accepted.cancel()
    letter.accepted.set_result(None)


def test_a_child_process_has_none_of_the_letters() -> None:
    outbox = opened()
    put(outbox, "a", "b")
    write(outbox, 1)
    outbox._changed.acquire()  # by a thread that is gone
    outbox.after_fork()
    assert len(outbox) == 0 and outbox.take() is None
    put(outbox, "c")


@given(st.lists(st.sampled_from(["put", "write", "ack first", "ack last", "break"]), max_size=60))
def test_nothing_is_lost_and_order_holds(steps: list[str]) -> None:
    outbox, put_in, done, number = opened(10_000), list[str](), list[str](), 0
    given_up: list[str] = []
    for step in steps:
        if step == "put":
            put_in.append(str(len(put_in)))
            put(outbox, put_in[-1])
        elif step == "write" and outbox.waiting:
            number += 1
            write(outbox, number)
        elif step == "break":
            culprit = outbox.requeue_after_disconnect()
            given_up += [culprit.topic] if culprit else []
        elif step.startswith("ack") and outbox._in_flight:
            letter = outbox.acknowledged((min if step == "ack first" else max)(outbox._in_flight))
            assert letter is not None
            done.append(letter.topic)
    rest = [letter.topic for letter in (*outbox._in_flight.values(), *outbox._waiting)]
    assert sorted(done + rest + given_up, key=int) == put_in
    assert rest == sorted(rest, key=int) and len(outbox) == len(rest)


def test_waiting_for_room_waits_for_as_much_as_was_refused() -> None:
    outbox = Outbox(10)
    outbox.open()
    half = "x" * (40 * 1024 * 1024)
    outbox.put(PendingPublish("a", half))
    with pytest.raises(Overflow):
        outbox.put(PendingPublish("b", half))
    assert not outbox.wait_for_room(0)
    outbox.put(PendingPublish("c", "small"))
