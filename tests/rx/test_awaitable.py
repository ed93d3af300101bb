from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
import reactivex
from reactivex import Observable, abc
from reactivex import operators as ops
from reactivex.disposable import Disposable
from reactivex.internal.exceptions import SequenceContainsNoElementsError
from reactivex.subject import ReplaySubject

from rxhub.errors import WrongLoop
from rxhub.rx.awaitable import Awaitable
from rxhub.rx.subject import Subject


class Given(Awaitable[int]):
    """Any other observable, made awaitable."""

    def __init__(self, source: Observable[int]) -> None:
        super().__init__()
        self.source = source

    def _subscribe_core(
        self, observer: abc.ObserverBase[int], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        return self.source.subscribe(observer, scheduler=scheduler)


async def wait_for(awaitable: Awaitable[int], timeout: float = 10.0) -> int:
    async def waiting() -> int:
        return await awaitable

    return await asyncio.wait_for(waiting(), timeout)


def from_another_thread(produce: Callable[[Subject[int]], None]) -> int:
    """Await a subject, an idle loop, while `produce` runs in a thread of its own."""

    async def main() -> int:
        subject = Subject[int]()
        waiting = asyncio.ensure_future(wait_for(subject))
        while not subject.observers:
            await asyncio.sleep(0)
        # Later than the loop's falling asleep, so that only a wake-up across threads helps.
        producer = threading.Timer(0.02, produce, (subject,))
        producer.start()
        try:
            return await waiting
        finally:
            producer.join()

    return asyncio.run(main())


def test_the_last_value_wakes_a_loop_in_another_thread() -> None:
    def produce(subject: Subject[int]) -> None:
        for value in (1, 2, 3):
            subject.on_next(value)
        subject.on_completed()

    assert from_another_thread(produce) == 3


def test_an_error_from_another_thread_is_raised() -> None:
    with pytest.raises(KeyError, match="lost"):
        from_another_thread(lambda subject: subject.on_error(KeyError("lost")))


def test_ending_without_a_value_is_an_error_as_in_reactivex() -> None:
    with pytest.raises(SequenceContainsNoElementsError):
        from_another_thread(lambda subject: subject.on_completed())


def test_a_stop_iteration_does_not_leave_anybody_waiting() -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        from_another_thread(lambda subject: subject.on_error(StopIteration()))


def test_none_is_a_value() -> None:
    async def main() -> object:
        return await wait_for(Given(reactivex.of(1, None)))

    assert asyncio.run(main()) is None


def test_what_ends_while_subscribing_needs_no_turn_of_the_loop() -> None:
    source = ReplaySubject[int]()
    for value in (1, 2):
        source.on_next(value)
    source.on_completed()

    async def main() -> None:
        with pytest.raises(StopIteration) as stop:
            Given(source).__await__().send(None)
        assert stop.value.value == 2

    asyncio.run(main())


def test_the_loop_is_the_default_scheduler() -> None:
    async def main() -> int:
        return await wait_for(Given(reactivex.timer(0.01).pipe(ops.map(lambda _: threading.get_ident()))))

    assert asyncio.run(main()) == threading.get_ident()


def test_several_can_wait_at_once() -> None:
    async def main() -> list[int]:
        subject = Subject[int]()
        waiting = [asyncio.ensure_future(wait_for(subject)) for _ in range(3)]
        while len(subject.observers) < 3:
            await asyncio.sleep(0)
        subject.on_next(7)
        subject.on_completed()
        return await asyncio.gather(*waiting)

    assert asyncio.run(main()) == [7, 7, 7]


def test_who_stops_waiting_is_unsubscribed() -> None:
    async def main() -> list[object]:
        subject = Subject[int]()
        with pytest.raises(TimeoutError):
            await wait_for(subject, timeout=0.01)
        return list(subject.observers)

    assert asyncio.run(main()) == []


def test_a_loop_that_was_closed_does_not_disturb_the_producer() -> None:
    subject = Subject[int](on_observer_error="raise")
    loop = asyncio.new_event_loop()

    async def start() -> object:
        steps = subject.__await__()
        steps.send(None)
        return steps

    held = loop.run_until_complete(start())
    loop.close()
    subject.on_next(1)
    subject.on_completed()
    assert held is not None


def test_waiting_needs_a_running_loop() -> None:
    with pytest.raises(WrongLoop, match="await on an observable needs asyncio, but no event loop runs"):
        Subject[int]().__await__().send(None)


def test_iterating_says_what_to_do_instead_of_looping_for_ever() -> None:
    with pytest.raises(TypeError, match="A Subject cannot be iterated over"):
        list(Subject[int]())


def test_slices_remain_operators() -> None:
    subject = Subject[int]()
    seen: list[int] = []
    subject[1:3].subscribe(seen.append)
    for value in range(5):
        subject.on_next(value)
    assert seen == [1, 2]


def test_awaiting_a_given_observable_disposes_of_its_subscription() -> None:
    left: list[str] = []
    source = reactivex.create(lambda observer, _: (observer.on_next(1), Disposable(lambda: left.append("left")))[1])

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await wait_for(Given(source), timeout=0.01)

    asyncio.run(main())
    assert left == ["left"]
