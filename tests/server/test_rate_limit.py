from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub.server import rate_limit as rates
from rxhub.server.rate_limit import TokenBucket, TokenBuckets


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.floats(0, 3), max_size=60))
def test_never_more_are_taken_than_its_size_and_what_has_flowed_in(pauses: list[float]) -> None:
    clock = Clock()
    bucket = TokenBucket(rate=2, size=5, clock=clock)
    taken = 0
    for pause in pauses:
        clock.now += pause
        taken += bucket.take()
        assert taken <= 5 + 2 * (clock.now - 100) + 1e-6


def test_it_starts_full_and_fills_up_again() -> None:
    clock = Clock()
    bucket = TokenBucket(rate=2, size=3, clock=clock)
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    clock.now += 0.5
    assert [bucket.take() for _ in range(2)] == [True, False]
    clock.now += 1_000
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]


def test_a_reservation_tells_how_long_to_wait_so_that_the_rate_is_kept() -> None:
    clock = Clock()
    bucket = TokenBucket(rate=10, size=2, clock=clock)
    assert [round(bucket.reserve(), 6) for _ in range(5)] == [0, 0, 0.1, 0.2, 0.3]
    clock.now += 0.3
    assert round(bucket.reserve(), 6) == 0.1


def test_each_key_has_its_own_and_strangers_cannot_make_any_number(monkeypatch) -> None:
    monkeypatch.setattr(rates, "_MAX_BUCKETS", 3)
    buckets = TokenBuckets(1, 1, Clock())
    assert buckets["a"].take()
    assert not buckets["a"].take()
    assert buckets["b"].take()
    for stranger in range(100):
        _ = buckets[stranger]
        assert not buckets["a"].take()  # asked for again and again, it stays
    assert len(buckets) == 3


def test_what_costs_more_takes_more_and_whoever_comes_next_waits() -> None:
    now = [0.0]
    bucket = TokenBucket(10, 20, lambda: now[0])
    assert bucket.reserve(20) == 0
    assert bucket.reserve(5) == pytest.approx(0.5)
    now[0] += 0.5
    assert not bucket.is_ready
    assert bucket.reserve() == pytest.approx(0.1)
