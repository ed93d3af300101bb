"""The retry policy."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rxhub.transport.nats.processing.options import MAX_DELAY_S, RetryPolicy


@given(st.floats(0, 1e300), st.integers(1, 10**6))
def test_a_delay_is_between_half_and_the_whole_of_what_doubling_reaches(backoff: float, attempt: int) -> None:
    delay = RetryPolicy(5, backoff).delay(attempt)
    whole = min(max(MAX_DELAY_S, backoff), backoff * 2.0 ** min(attempt - 1, 1000))
    assert whole / 2 <= delay <= whole


@given(st.integers(0, 100), st.integers(1, 200))
def test_after_the_retries_there_is_no_further_attempt(retries: int, attempt: int) -> None:
    assert RetryPolicy(retries, 1).is_last(attempt) == (attempt > retries)
