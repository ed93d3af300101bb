"""What waits to be handled: bounded events, actions, timers."""

from __future__ import annotations

import asyncio
import gc
import weakref
from time import monotonic, sleep
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub import Event
from rxhub.hub.inbox import POLICIES, Action, Inbox
from tests.forked import while_held
from tests.threads import LIMIT, at_once, elsewhere


def taken(inbox: Inbox) -> list[Any]:
    """What is ready, actions run."""
    got: list[Any] = []
    while (item := inbox.take()) is not None:
        if isinstance(item, Event):
            got.append(item.data)
        else:
            item()
    return got


def event(data: Any = None) -> Event:
    return Event("a", data=data)


# The bound


@given(st.sampled_from(POLICIES), st.integers(1, 4), st.lists(st.sampled_from(["put", "put", "take", "action", "own"])))
def test_each_policy_does_what_its_name_says(policy: str, capacity: int, steps: list[str]) -> None:
    inbox = Inbox(capacity, policy)
    model: list[tuple[str, int]] = []
    lost = 0
    for n, step in enumerate(steps, start=1):
        events = [item for item in model if item[0] == "put"]
        if step == "put":
            accepted = inbox.put(event(n))
            full = len(events) == capacity
            assert accepted == (not full or policy in ("drop-oldest", "drop-newest", "latest"))
            if full and policy == "drop-oldest":
                model.remove(events[0])
            if full and policy == "latest":
                model = [item for item in model if item[0] != "put"]
            if not full or policy in ("drop-oldest", "latest"):
                model.append((step, n))
            if full:
                lost += capacity if policy == "latest" else 1
        elif step == "action":
            inbox.call_soon(Action(lambda: None))
            model.append((step, n))
        elif step == "own":
            inbox.put_own(event(n))
            model.append((step, n))
        else:
            item = inbox.take()
            expected = model.pop(0) if model else None
            if expected is None or expected[0] == "action":
                assert not isinstance(item, Event) and (item is None) == (expected is None)
            else:
                assert isinstance(item, Event) and item.data == expected[1]
        assert len(inbox) == sum(kind == "put" for kind, _ in model)
        assert len(inbox) <= capacity
        assert inbox.dropped == lost
        assert inbox.ready == bool(model)


@given(st.sampled_from(POLICIES), st.integers(1, 4), st.lists(st.integers(0, 6), max_size=8), st.booleans())
def test_events_that_come_together_are_put_as_one_by_one(
    policy: str, capacity: int, sizes: list[int], is_closed: bool
) -> None:
    together, single = Inbox(capacity, policy), Inbox(capacity, policy)
    events = [Event("a") for _ in range(sum(sizes))]
    for inbox in (together, single):
        if is_closed:
            inbox.close()
    begin = 0
    for size in sizes:
        room = capacity - len(single)
        piece = events[begin : begin + size]
        begin += size
        expected = min(size, room) if policy == "block" and not is_closed else size
        assert together.put_all(piece) == expected
        for event in piece[:expected]:
            single.put(event)
        assert (len(together), together.dropped) == (len(single), single.dropped)
        assert together.take() is single.take()
    while (item := single.take()) is not None:
        assert together.take() is item
    assert together.take() is None


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_capacity_is_at_least_one(capacity: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1, but {capacity} was given"):
        Inbox(capacity, "error")


@pytest.mark.parametrize("capacity", ["5", 2.5, None, float("nan")])
def test_a_capacity_is_an_integer(capacity: Any) -> None:
    with pytest.raises(TypeError, match="capacity is an integer"):
        Inbox(capacity, "error")


def test_an_unknown_policy_is_refused_and_the_known_ones_named() -> None:
    with pytest.raises(ValueError, match="error, drop-oldest, drop-newest, latest, block, but 'wait' was given"):
        Inbox(1, "wait")


def test_a_flood_costs_no_more_than_the_bound() -> None:
    inbox = Inbox(10, "drop-oldest")
    at_once(*(lambda: [inbox.put(event(n)) for n in range(2000)] for _ in range(3)))
    assert len(inbox) == 10 and inbox.dropped == 5990
    assert len(taken(inbox)) == 10


# Order and timers


def test_events_and_actions_keep_their_common_order() -> None:
    inbox, ran = Inbox(10, "error"), []
    inbox.put(event(1))
    inbox.call_soon(Action(lambda: ran.append(len(inbox))))
    inbox.put(event(2))
    assert inbox.take().data == 1
    inbox.take()()
    assert inbox.take().data == 2
    assert ran == [1]


def test_timed_actions_come_when_they_are_due_the_earliest_first() -> None:
    inbox, ran, now = Inbox(10, "error"), [], [100.0]
    inbox.now = lambda: now[0]
    inbox.call_later(2, Action(lambda: ran.append("later")))
    inbox.call_later(1, Action(lambda: ran.append("sooner")))
    inbox.call_later(3600, Action(lambda: ran.append("never")))
    assert inbox.take() is None and not inbox.ready and inbox.due_in() == 1
    now[0] += 2.5
    assert inbox.ready and inbox.due_in() == 0
    assert taken(inbox) == [] and ran == ["sooner", "later"]
    assert inbox.due_in() == 3597.5


def test_waiting_ends_when_something_is_due() -> None:
    inbox, ran = Inbox(10, "error"), []
    inbox.call_later(0.01, Action(lambda: ran.append("due")))
    end = monotonic() + LIMIT
    while not ran and monotonic() < end:
        inbox.wait(LIMIT)
        taken(inbox)
    assert ran == ["due"] and monotonic() < end


def test_a_cancelled_action_does_nothing_and_keeps_nothing_alive() -> None:
    class Held:
        pass

    inbox, held = Inbox(10, "error"), Held()
    seen = weakref.ref(held)
    action = Action(lambda held=held: pytest.fail("it ran"))
    inbox.call_soon(action)
    inbox.call_later(3600, action)
    assert not action.cancelled
    action.cancel()
    assert action.cancelled
    del held
    gc.collect()
    assert seen() is None
    assert taken(inbox) == []


def test_cancelled_timers_do_not_pile_up() -> None:
    inbox = Inbox(10, "error")
    kept: list[int] = []
    for n in range(10_000):
        action = Action(lambda n=n: kept.append(n))
        inbox.call_later(3600 if n % 1000 else 0.001, action)
        if n % 1000:
            action.cancel()
    assert len(inbox._timers) < 200
    sleep(0.002)
    taken(inbox)
    assert kept == list(range(0, 10_000, 1000))


def test_endless_times_do_not_overflow() -> None:
    inbox = Inbox(10, "error")
    inbox.call_later(float("inf"), Action(lambda: None))
    inbox.call_later(1e300, Action(lambda: None))
    with elsewhere(inbox.wait, float("inf")):
        inbox.put(event())
    assert taken(inbox) == [{}]


# Waiting and waking


@pytest.mark.parametrize(
    "wake",
    [
        lambda inbox: inbox.put(event()),
        lambda inbox: inbox.put_own(event()),
        lambda inbox: inbox.call_soon(Action(lambda: None)),
        lambda inbox: inbox.call_later(0.001, Action(lambda: None)),
        lambda inbox: inbox.ring(),
        lambda inbox: inbox.close(),
    ],
)
def test_whatever_may_be_ready_wakes_who_waits(wake: Any) -> None:
    inbox = Inbox(10, "error")
    with elsewhere(inbox.wait, None):
        wake(inbox)

    async def main() -> None:
        inbox = Inbox(10, "error")
        waiting = asyncio.create_task(inbox.wait_async())
        await asyncio.sleep(0)
        with elsewhere(wake, inbox):
            await asyncio.wait_for(waiting, 10)

    asyncio.run(main())


def test_a_ring_is_not_lost_before_the_wait() -> None:
    inbox = Inbox(10, "error")
    inbox.ring()
    with elsewhere(inbox.wait, None):
        pass


def test_waiting_ends_with_its_time() -> None:
    inbox = Inbox(10, "error")
    with elsewhere(inbox.wait, 0.001):
        pass
    inbox.wait(0)
    inbox.wait(-1)
    assert inbox.take() is None


def test_waiting_for_room() -> None:
    inbox = Inbox(1, "block")
    inbox.put(event(1))
    assert not inbox.wait_for_room(lambda: False)
    with elsewhere(inbox.wait_for_room, lambda: True) as waiting:
        assert taken(inbox) == [1]
        assert waiting.join() is True
    inbox.put(event(2))
    with elsewhere(inbox.wait_for_room, lambda: True) as waiting:
        inbox.close()
        assert waiting.join() is True


def test_a_publisher_that_tries_again_has_lost_nothing() -> None:
    inbox = Inbox(1, "block")
    inbox.put(event(1))
    assert not inbox.put(event(2)) and inbox.dropped == 1
    inbox.retry()
    assert inbox.dropped == 0


# The end


def test_closing_takes_nothing_new_and_tells_what_is_lost() -> None:
    inbox = Inbox(10, "error")
    inbox.put(event(1))
    inbox.put(event(2))
    inbox.put_own(event(3))
    inbox.call_soon(Action(lambda: None))
    inbox.call_later(0, Action(lambda: None))
    assert inbox.close() == 2
    assert not inbox.open and inbox.take() is None
    assert not inbox.put(event(4))
    inbox.put_own(event(5))
    inbox.call_soon(Action(lambda: None))
    inbox.call_later(0, Action(lambda: None))
    assert inbox.take() is None and len(inbox) == 0
    inbox.wait(None)
    assert inbox.close() == 0


def test_own_events_can_be_withdrawn() -> None:
    inbox = Inbox(10, "error")
    inbox.put(event(1))
    inbox.put_own(event(2))
    inbox.put(event(3))
    inbox.withdraw_own()
    assert taken(inbox) == [1, 3]


def test_closing_while_a_timer_is_due_disturbs_nobody() -> None:
    def close(inbox: Inbox) -> None:
        inbox.close()

    def take(inbox: Inbox) -> None:
        while inbox.open:
            inbox.take()
            inbox.due_in()
            assert inbox.ready in (True, False)

    for _ in range(50):
        inbox = Inbox(10, "error")
        for _ in range(50):
            inbox.call_later(1e-9, Action(lambda: None))
        at_once(lambda inbox=inbox: take(inbox), lambda inbox=inbox: close(inbox))


def test_a_child_process_begins_with_an_empty_inbox_and_a_free_lock() -> None:
    inbox = Inbox(10, "error")
    inbox.put(event(1))
    inbox.call_later(0, Action(lambda: None))
    inbox.ring()

    def check() -> bool:
        return taken(inbox) == [] and len(inbox) == 0 and not inbox.ready and inbox.put(event(2))

    assert while_held(inbox._changed, check)
