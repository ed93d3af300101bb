"""A forked child finds locks free and state reset, whatever the threads of its parent were doing."""

from __future__ import annotations

import os
from threading import Event, Thread

import pytest

from rxhub.concurrency.fork import ForkSafeCondition, ForkSafeLock, LazyForkSafeLock
from tests.forked import in_child, while_held

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")


class Counter:
    def __init__(self) -> None:
        self.busy = True
        self.lock = ForkSafeLock(self)

    def after_fork(self) -> None:
        self.busy = False


def usable(lock: ForkSafeLock | ForkSafeCondition) -> bool:
    with lock:
        return True


@pytest.mark.parametrize("kind", [ForkSafeLock, ForkSafeCondition])
def test_a_lock_that_another_thread_held_is_free_in_the_child(kind: type[ForkSafeLock | ForkSafeCondition]) -> None:
    lock = kind()
    assert while_held(lock, lambda: usable(lock))
    assert usable(lock)


@pytest.mark.parametrize("kind", [ForkSafeLock, ForkSafeCondition])
def test_a_lock_that_the_forking_thread_holds_can_be_released(kind: type[ForkSafeLock | ForkSafeCondition]) -> None:
    lock = kind()

    def check() -> bool:
        lock.release()
        return usable(lock)

    with lock:
        assert in_child(check)


def test_the_owner_of_a_lock_is_reset_in_the_child_only() -> None:
    counter = Counter()
    assert while_held(counter.lock, lambda: usable(counter.lock) and not counter.busy)
    assert counter.busy


def test_a_condition_forgets_the_waiters_of_the_parent() -> None:
    condition = ForkSafeCondition()
    waiting = Event()

    def wait() -> None:
        with condition:
            waiting.set()
            condition.wait(30)

    thread = Thread(target=wait)
    thread.start()
    waiting.wait(30)

    def check() -> bool:
        woken: list[bool] = []

        def wait_again() -> None:
            with condition:
                started.set()
                woken.append(condition.wait(10))

        started = Event()
        waiter = Thread(target=wait_again)
        waiter.start()
        started.wait(10)
        with condition:
            condition.notify()
        waiter.join()
        return woken == [True]

    assert in_child(check)
    with condition:
        condition.notify()
    thread.join()


def test_a_lazy_lock_is_one_for_each_object() -> None:
    class Lazy:
        lock = LazyForkSafeLock()

    first, second = Lazy(), Lazy()
    assert first.lock is first.lock is not second.lock
    assert usable(first.lock)
