"""reactivex's clock in the handling context."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from threading import active_count, get_ident
from time import monotonic
from typing import Any

import pytest
import reactivex
from reactivex import operators as ops

from rxhub import Event, EventHub
from tests.threads import LIMIT, elsewhere

pytestmark = pytest.mark.filterwarnings("ignore::rxhub.errors.NotHandledWarning")


def drained(hub: EventHub, until: Any) -> None:
    """Handle until `until()`; fails if that does not come."""
    end = monotonic() + LIMIT
    while not until():
        assert monotonic() < end, "what was scheduled did not come"
        hub.wait(0.002)


def test_actions_run_in_the_handling_context_behind_what_waits() -> None:
    hub, ran = EventHub(), []
    hub.subscribe("topic=a", lambda event: ran.append(get_ident()))
    hub.publish(Event("a"))
    with elsewhere(lambda: hub.scheduler.schedule(lambda *_: ran.append(get_ident()))):
        pass
    assert ran == []
    hub.drain()
    assert ran == [get_ident()] * 2
    hub.close()


def test_times_are_seconds_timedeltas_or_datetimes() -> None:
    hub, ran = EventHub(), []
    scheduler = hub.scheduler
    scheduler.schedule_relative(0.002, lambda _, state: ran.append(state), "seconds")
    scheduler.schedule_relative(timedelta(milliseconds=2), lambda _, state: ran.append(state), "timedelta")
    scheduler.schedule_absolute(scheduler.now + timedelta(milliseconds=2), lambda _, state: ran.append(state), "then")
    scheduler.schedule_relative(-5, lambda _, state: ran.append(state), "past")
    scheduler.schedule_absolute(scheduler.now - timedelta(days=1), lambda _, state: ran.append(state), "yesterday")
    assert hub.drain() == 0
    assert {"past", "yesterday"} <= set(ran)
    drained(hub, lambda: len(ran) == 5)
    assert set(ran) == {"past", "yesterday", "seconds", "timedelta", "then"}
    hub.close()


def test_a_disposed_action_does_not_run() -> None:
    hub = EventHub()
    hub.scheduler.schedule(lambda *_: pytest.fail("it ran")).dispose()
    hub.scheduler.schedule_relative(0.001, lambda *_: pytest.fail("it ran")).dispose()
    hub.wait(0.01)
    hub.close()


def test_disposing_after_it_ran_disposes_of_what_it_returned() -> None:
    hub, disposed = EventHub(), []
    handle = hub.scheduler.schedule(lambda *_: reactivex.disposable.Disposable(lambda: disposed.append(True)))
    hub.drain()
    handle.dispose()
    assert disposed == [True]
    hub.close()


def test_an_action_that_raises_is_logged_and_the_handling_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    hub, ran = EventHub(), []
    hub.scheduler.schedule(lambda *_: 1 / 0)
    hub.scheduler.schedule(lambda *_: ran.append(1))
    hub.drain()
    assert ran == [1] and "hub.scheduler failed: division by zero" in caplog.text
    hub.close()


def test_a_debounce_over_many_events_starts_no_thread() -> None:
    hub, got = EventHub(), []
    hub.on("topic=a").pipe(ops.debounce(0.5, scheduler=hub.scheduler)).subscribe(lambda event: got.append(event.data))
    threads = active_count()
    for n in range(200):
        hub.publish(Event("a", data=n))
    hub.drain()
    assert active_count() <= threads
    drained(hub, lambda: got[-1:] == [199])
    assert len(hub._inbox._timers) < 100
    hub.close()


def test_a_timeout_and_an_interval() -> None:
    hub, got = EventHub(), []
    hub.on("topic=a").pipe(ops.timeout(0.005, scheduler=hub.scheduler)).subscribe(
        got.append, lambda error: got.append("timeout")
    )
    ticks: list[int] = []
    interval = reactivex.interval(0.001, scheduler=hub.scheduler).subscribe(ticks.append)
    drained(hub, lambda: got == ["timeout"] and len(ticks) >= 3)
    interval.dispose()
    hub.drain()
    counted = len(ticks)
    hub.wait(0.005)
    assert len(ticks) == counted and ticks == list(range(counted))
    hub.close()


def test_what_is_always_due_starves_no_event() -> None:
    hub, seen = EventHub(), []
    again = reactivex.interval(0, scheduler=hub.scheduler).subscribe()
    hub.subscribe("topic=a", seen.append)
    hub.publish(Event("a"))
    drained(hub, lambda: bool(seen))
    again.dispose()
    hub.close()


def test_what_waits_when_the_hub_closes_never_runs() -> None:
    hub = EventHub()
    hub.scheduler.schedule(lambda *_: pytest.fail("it ran"))
    hub.scheduler.schedule_relative(0.001, lambda *_: pytest.fail("it ran"))
    hub.close()
    hub.scheduler.schedule(lambda *_: pytest.fail("it ran"))
    assert hub._inbox.take() is None


def test_it_works_on_the_users_own_loop() -> None:
    async def main() -> list[Any]:
        got: list[Any] = []
        async with EventHub() as hub:
            thread = get_ident()
            hub.on("topic=a").pipe(
                ops.delay(0.002, scheduler=hub.scheduler), ops.map(lambda event: get_ident() == thread)
            ).subscribe(got.append)
            await hub.apublish(Event("a"))
            async with asyncio.timeout(LIMIT):
                while not got:
                    await asyncio.sleep(0.005)
        return got

    assert asyncio.run(main()) == [True]


def test_an_endless_timer_does_not_end_the_handling() -> None:
    hub, seen = EventHub(), []
    hub.scheduler.schedule_relative(float("inf"), lambda *_: None)
    hub.subscribe("topic=a", lambda event: hub.disconnect())
    with elsewhere(hub.wait):
        hub.publish(Event("a"))
    hub.connect()
    with hub.start():
        hub.publish(Event("a"))
    assert seen == []
    hub.close()
