"""Who is registered, and in which order."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub.dispatching.registry import Registration, Roster
from rxhub.errors import NotFoundError, NotUniqueError
from tests.threads import at_once, eager_collection, elsewhere

joins_and_leaves = st.lists(st.tuples(st.integers(0, 8), st.sampled_from([0, 50, 100, 100.5, -1, 10**30])), max_size=40)


@given(joins_and_leaves)
def test_the_order_is_that_of_a_list_sorted_by_priority(changes: list[tuple[int, float]]) -> None:
    roster: Roster[int, Registration] = Roster()
    model: list[tuple[int, Registration]] = []

    for key, priority in changes:
        here = [member for k, member in model if k == key]
        if here:
            assert roster.leave(key) is here[0]
            model = [(k, member) for k, member in model if k != key]
        else:
            member = Registration(priority)
            roster.join(key, member)
            model.append((key, member))
        assert list(roster) == sorted((member for _, member in model), key=lambda member: member.priority)
        assert len(roster) == len(model)
        assert all(member.alive for member in roster)


def test_a_key_is_taken_once_and_free_again() -> None:
    roster: Roster[str, Registration] = Roster()
    first = Registration(1)
    roster.join("a", first)

    with pytest.raises(NotUniqueError, match="identifier a already exists"):
        roster.join("a", Registration(2))
    assert list(roster) == [first]
    assert roster.leave("a") is first and not first.alive
    roster.join("a", Registration(3))
    assert len(roster) == 1


def test_leaving_without_having_joined_is_an_error() -> None:
    roster: Roster[str, Registration] = Roster()
    with pytest.raises(NotFoundError, match="missing subscriber with identifier a"):
        roster.leave("a")
    assert roster.get("a") is None


def test_a_snapshot_stays_as_it_was() -> None:
    roster: Roster[str, Registration] = Roster()
    roster.join("a", Registration(1))
    before = roster.snapshot()
    roster.join("b", Registration(0))
    roster.leave("a")

    assert len(before) == 1 and not before[0].alive
    assert roster.snapshot() != before
    assert roster.snapshot() is roster.snapshot()


def test_many_threads_may_come_and_go() -> None:
    roster: Roster[Any, Registration] = Roster()

    def come_and_go(who: int) -> None:
        for n in range(300):
            roster.join((who, n), Registration(n % 3))
            roster.snapshot()
            if n % 2:
                roster.leave((who, n))

    at_once(*(lambda who=who: come_and_go(who) for who in range(4)))
    assert len(roster) == 4 * 150 == len(roster.snapshot())
    assert [member.priority for member in roster] == sorted(member.priority for member in roster)


def test_a_finalizer_may_leave_in_the_middle_of_a_change() -> None:
    roster: Roster[Any, Registration] = Roster()

    class Owner:
        def __init__(self, key: object) -> None:
            self.key, self.cycle = key, self
            roster.join(key, Registration(1))

        def __del__(self) -> None:
            roster.leave(self.key)

    def work() -> None:
        for n in range(500):
            Owner(n)
            roster.join(-1 - n, Registration(0))
            roster.snapshot()

    with eager_collection(), elsewhere(work):
        pass
    gc.collect()
    assert len(roster) == 500
