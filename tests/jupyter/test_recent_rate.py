"""The rate of a live table is the mean of the last complete seconds."""

from __future__ import annotations

from rxhub.jupyter.recent_rate import WINDOW_S, RecentRate


def rate_of(*times: float) -> RecentRate:
    rate = RecentRate()
    for time in times:
        rate.add(time)
    return rate


def test_without_items_it_is_zero() -> None:
    assert rate_of().per_second(5.0) == 0.0


def test_the_second_in_progress_does_not_count_yet() -> None:
    rate = rate_of(100.1, 100.2, 100.9)
    assert rate.per_second(100.9) == 0.0
    assert rate.per_second(101.0) == 3.0


def test_it_starts_with_the_first_item_and_falls_while_nothing_arrives() -> None:
    rate = rate_of(*[100.5] * 8)
    assert [rate.per_second(now) for now in (101.0, 102.0, 104.0)] == [8.0, 4.0, 2.0]
    assert rate.per_second(101.0 + WINDOW_S) == 0.0


def test_it_forgets_seconds_before_the_window() -> None:
    rate = rate_of(*(second / 2 for second in range(2_000)))
    assert rate.per_second(1_000.0) == 2.0


def test_a_clock_that_was_set_back_loses_no_item() -> None:
    assert rate_of(100.5, 90.0).per_second(101.0) == 2.0
