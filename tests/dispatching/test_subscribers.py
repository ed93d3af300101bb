"""Who is registered, and in which order."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub.dispatching.subscriber import Subscriber
from rxhub.dispatching.subscribers import Subscribers
from rxhub.errors import NotFoundError, NotUniqueError
from rxhub.expression import parse
from tests.threads import at_once, eager_collection, elsewhere

joins_and_leaves = st.lists(st.tuples(st.integers(0, 8), st.sampled_from([0, 50, 100, 100.5, -1, 10**30])), max_size=40)


def subscriber(key: Any, priority: float) -> Subscriber:
    return Subscriber("", parse(""), print, {"id": key}, priority, None)


@given(joins_and_leaves)
def test_the_order_is_that_of_a_list_sorted_by_priority(changes: list[tuple[int, float]]) -> None:
    subscribers = Subscribers()
    model: list[tuple[int, Subscriber]] = []

    for key, priority in changes:
        here = [member for k, member in model if k == key]
        if here:
            assert subscribers.unsubscribe(key) is here[0]
            model = [(k, member) for k, member in model if k != key]
        else:
            member = subscribers.add(subscriber(key, priority))
            model.append((key, member))
        assert list(subscribers.subscribers) == sorted(
            (member for _, member in model), key=lambda member: member.priority
        )
        assert len(subscribers) == len(model)
        assert all(member.alive for member in subscribers.subscribers)


def test_a_key_is_taken_once_and_free_again() -> None:
    subscribers = Subscribers()
    first = subscribers.add(subscriber("a", 1))

    with pytest.raises(NotUniqueError, match="identifier a already exists"):
        subscribers.add(subscriber("a", 2))
    assert list(subscribers.subscribers) == [first]
    assert subscribers.unsubscribe("a") is first and not first.alive
    subscribers.add(subscriber("a", 3))
    assert len(subscribers) == 1


def test_leaving_without_having_joined_is_an_error() -> None:
    subscribers = Subscribers()
    with pytest.raises(NotFoundError, match="missing subscriber with identifier a"):
        subscribers.unsubscribe("a")
    assert subscribers.get("a") is None


def test_a_snapshot_stays_as_it_was() -> None:
    subscribers = Subscribers()
    subscribers.add(subscriber("a", 1))
    before = subscribers.subscribers
    subscribers.add(subscriber("b", 0))
    subscribers.unsubscribe("a")

    assert len(before) == 1 and not before[0].alive
    assert subscribers.subscribers != before
    assert subscribers.subscribers is subscribers.subscribers


def test_many_threads_may_come_and_go() -> None:
    subscribers = Subscribers()

    def come_and_go(who: int) -> None:
        for n in range(300):
            subscribers.add(subscriber((who, n), n % 3))
            subscribers.subscribers
            if n % 2:
                subscribers.unsubscribe((who, n))

    at_once(*(lambda who=who: come_and_go(who) for who in range(4)))
    assert len(subscribers) == 4 * 150 == len(subscribers.subscribers)
    assert [member.priority for member in subscribers.subscribers] == sorted(
        member.priority for member in subscribers.subscribers
    )


def test_a_finalizer_may_leave_in_the_middle_of_a_change() -> None:
    subscribers = Subscribers()

    class Owner:
        def __init__(self, key: object) -> None:
            self.key, self.cycle = key, self
            subscribers.add(subscriber(key, 1))

        def __del__(self) -> None:
            subscribers.unsubscribe(self.key)

    def work() -> None:
        for n in range(500):
            Owner(n)
            subscribers.add(subscriber(-1 - n, 0))
            subscribers.subscribers

    with eager_collection(), elsewhere(work):
        pass
    gc.collect()
    assert len(subscribers) == 500
