"""Who is registered, and in which order."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub.dispatching.registry import Registration, Registry
from rxhub.errors import NotFoundError, NotUniqueError
from tests.threads import at_once, eager_collection, elsewhere

joins_and_leaves = st.lists(st.tuples(st.integers(0, 8), st.sampled_from([0, 50, 100, 100.5, -1, 10**30])), max_size=40)


@given(joins_and_leaves)
def test_the_order_is_that_of_a_list_sorted_by_priority(changes: list[tuple[int, float]]) -> None:
    registry: Registry[int, Registration] = Registry()
    model: list[tuple[int, Registration]] = []

    for key, priority in changes:
        here = [member for k, member in model if k == key]
        if here:
            assert registry.leave(key) is here[0]
            model = [(k, member) for k, member in model if k != key]
        else:
            member = Registration(priority)
            registry.join(key, member)
            model.append((key, member))
        assert list(registry) == sorted((member for _, member in model), key=lambda member: member.priority)
        assert len(registry) == len(model)
        assert all(member.alive for member in registry)


def test_a_key_is_taken_once_and_free_again() -> None:
    registry: Registry[str, Registration] = Registry()
    first = Registration(1)
    registry.join("a", first)

    with pytest.raises(NotUniqueError, match="identifier a already exists"):
        registry.join("a", Registration(2))
    assert list(registry) == [first]
    assert registry.leave("a") is first and not first.alive
    registry.join("a", Registration(3))
    assert len(registry) == 1


def test_leaving_without_having_joined_is_an_error() -> None:
    registry: Registry[str, Registration] = Registry()
    with pytest.raises(NotFoundError, match="missing subscriber with identifier a"):
        registry.leave("a")
    assert registry.get("a") is None


def test_a_snapshot_stays_as_it_was() -> None:
    registry: Registry[str, Registration] = Registry()
    registry.join("a", Registration(1))
    before = registry.snapshot()
    registry.join("b", Registration(0))
    registry.leave("a")

    assert len(before) == 1 and not before[0].alive
    assert registry.snapshot() != before
    assert registry.snapshot() is registry.snapshot()


def test_many_threads_may_come_and_go() -> None:
    registry: Registry[Any, Registration] = Registry()

    def come_and_go(who: int) -> None:
        for n in range(300):
            registry.join((who, n), Registration(n % 3))
            registry.snapshot()
            if n % 2:
                registry.leave((who, n))

    at_once(*(lambda who=who: come_and_go(who) for who in range(4)))
    assert len(registry) == 4 * 150 == len(registry.snapshot())
    assert [member.priority for member in registry] == sorted(member.priority for member in registry)


def test_a_finalizer_may_leave_in_the_middle_of_a_change() -> None:
    registry: Registry[Any, Registration] = Registry()

    class Owner:
        def __init__(self, key: object) -> None:
            self.key, self.cycle = key, self
            registry.join(key, Registration(1))

        def __del__(self) -> None:
            registry.leave(self.key)

    def work() -> None:
        for n in range(500):
            Owner(n)
            registry.join(-1 - n, Registration(0))
            registry.snapshot()

    with eager_collection(), elsewhere(work):
        pass
    gc.collect()
    assert len(registry) == 500
