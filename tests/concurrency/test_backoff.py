"""How long to wait before connecting again."""

from __future__ import annotations

from rxhub.concurrency.backoff import Backoff


def test_delays_double_up_to_the_longest_and_are_shortened_at_random() -> None:
    for _ in range(50):
        backoff = Backoff(first=1, longest=10)
        for reached in (1, 2, 4, 8, 10, 10):
            assert reached / 2 <= backoff.delay() <= reached
        backoff.reset()
        assert backoff.delay() <= 1


def test_programs_that_were_seeded_alike_do_not_wait_alike() -> None:
    import random

    def delays() -> list[float]:
        random.seed(1)
        backoff = Backoff()
        return [backoff.delay() for _ in range(4)]

    assert delays() != delays()
