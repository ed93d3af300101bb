"""Hubs on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex import operators as ops

from rxhub import Event, EventHub
from rxhub.errors import AlreadyHandled, HubClosed, NoReply, NotHandled
from rxhub.testing import Recording, VirtualHub, virtual_hub


def test_an_hour_of_debounce_passes_at_once() -> None:
    with virtual_hub() as hub:
        settled: list[tuple[float, str]] = []
        notes = hub.on("topic=studio.review.*").pipe(ops.debounce(3_600.0))
        notes.subscribe(lambda event: settled.append((hub.now, event.topic)), scheduler=hub.scheduler)
        hub.publish(Event("studio.review.note"))
        hub.advance(1_800)
        hub.publish(Event("studio.review.approved"))
        hub.advance(3_599)
        assert settled == []
        hub.advance(1)
        assert settled == [(5_400.0, "studio.review.approved")]


def test_timeouts_retries_and_backoff_go_by_it() -> None:
    with virtual_hub() as hub:
        tried: list[float] = []

        def failing(*_: Any) -> reactivex.Observable[Any]:
            tried.append(hub.now)
            return reactivex.throw(RuntimeError("not yet"))

        backoff = reactivex.defer(failing).pipe(
            ops.catch(lambda error, source: reactivex.timer(60.0 * 2 ** len(tried)).pipe(ops.flat_map(source)))
        )
        backoff.subscribe(on_error=lambda error: tried.append(hub.now), scheduler=hub.scheduler)
        ended: list[tuple[float, str]] = []
        hub.on("topic=a").pipe(ops.timeout(600.0)).subscribe(
            on_error=lambda error: ended.append((hub.now, type(error).__name__)), scheduler=hub.scheduler
        )
        hub.advance(3_600)
        assert len(ended) == 1
        assert ended[0][0] == 600.0
        assert tried[:2] == [0.0, 120.0]


SECONDS = st.integers(0, 10_000_000).map(lambda milliseconds: milliseconds / 1_000)


@given(st.lists(SECONDS, max_size=20), st.lists(SECONDS, max_size=10))
def test_whatever_is_scheduled_comes_in_order_at_its_time(delays: list[float], steps: list[float]) -> None:
    with virtual_hub() as hub:
        ran: list[tuple[float, float]] = []
        for delay in delays:
            hub.scheduler.schedule_relative(delay, lambda *_, due=delay: ran.append((due, hub.now)))
        for step in [0.0, *steps]:
            hub.advance(step)
        assert [due for due, _ in ran] == sorted(due for due in delays if due <= hub.now)
        assert all(due == now for due, now in ran)


def test_tenths_of_a_second_add_up() -> None:
    with virtual_hub() as hub:
        ran: list[float] = []
        hub.scheduler.schedule_relative(1.0, lambda *_: ran.append(hub.now))
        for _ in range(10):
            hub.advance(0.1)
        assert ran == [1.0]


def test_the_scheduler_tells_the_virtual_time() -> None:
    with virtual_hub() as hub:
        begin = hub.scheduler.now
        stamped: list[Any] = []
        hub.on("").pipe(ops.timestamp(scheduler=hub.scheduler)).subscribe(stamped.append)
        hub.advance(90)
        hub.publish(Event("a"))
        hub.advance(0)
        assert stamped[0].timestamp - begin == timedelta(seconds=90)


def test_a_virtual_hub_counts_as_handled() -> None:
    with virtual_hub() as hub:
        assert isinstance(hub, EventHub)
        assert hub.is_running
        got: list[Event] = []
        hub.subscribe("topic=a", got.append)
        with hub.start():
            hub.publish(Event("a"))
        hub.wait(1.0)
        assert [event.topic for event in got] == ["a"]
    assert not hub.is_running


def test_requests_collect_replies_until_their_timeout() -> None:
    with virtual_hub() as hub:
        replies: list[Any] = []
        hub.subscribe("topic=question", lambda event: {"answer": 42})
        hub.request(Event("question"), 3_600.0).subscribe(
            lambda reply: replies.append(reply.data), on_completed=lambda: replies.append(hub.now)
        )
        hub.advance(3_599)
        assert replies == [{"answer": 42}]
        hub.advance(1)
        assert replies == [{"answer": 42}, 3_600.0]


def test_to_ask_lets_time_pass_until_the_reply() -> None:
    async def asked() -> None:
        async with virtual_hub() as hub:
            hub.on("topic=slow").pipe(ops.delay(1_800.0)).subscribe(
                lambda event: hub.publish_reply(event, "late"), scheduler=hub.scheduler
            )

            @hub.on("topic=quick")
            async def quick(event: Event) -> str:
                await asyncio.sleep(0)
                return "here"

            assert (await hub.ask(Event("quick"), 3_600)).data == "here"
            assert hub.now == 0
            assert (await hub.ask(Event("slow"), 3_600)).data == "late"
            assert hub.now == 1_800
            with pytest.raises(NoReply, match="Nobody replied to nobody within 3600 s"):
                await hub.ask(Event("nobody"), 3_600)
            assert hub.now == 5_400

    asyncio.run(asked())


def test_listeners_for_replies_leave_in_virtual_time() -> None:
    with virtual_hub() as hub:
        replies: list[Event] = []
        event = Event("question")
        hub.publish(event, on_reply=replies.append)
        hub.advance(601)
        hub.publish_reply(event, "too late")
        hub.advance(0)
        assert replies == []


def test_on_a_loop_time_is_advanced_by_awaiting() -> None:
    async def advanced() -> list[Any]:
        async with virtual_hub() as hub:
            seen: list[Any] = []

            @hub.on("topic=a")
            async def a(event: Event) -> None:
                await asyncio.sleep(0)
                seen.append(hub.now)

            hub.scheduler.schedule_relative(10.0, lambda *_: hub.publish(Event("a")))
            assert await hub.aadvance(60) == 1
            return [*seen, hub.now]

    assert asyncio.run(advanced()) == [10.0, 60.0]


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan")])
def test_time_passes_forwards_and_ends(seconds: float) -> None:
    with virtual_hub() as hub, pytest.raises(ValueError, match="at least 0"):
        hub.advance(seconds)


def test_what_would_wait_for_ever_is_refused() -> None:
    with pytest.raises(ValueError, match="block"):
        virtual_hub(overflow="block")
    with pytest.raises(ValueError, match="memory://"):
        virtual_hub("https://studio.example")
    with virtual_hub() as hub:
        with pytest.raises(ValueError, match="needs a duration"):
            hub.wait()
        with pytest.raises(AlreadyHandled, match="aadvance"):
            asyncio.run(hub.run())
    with pytest.raises(HubClosed):
        hub.advance(1)


def test_time_cannot_be_advanced_from_inside_a_callback() -> None:
    with virtual_hub() as hub:
        errors: list[Any] = []
        hub.errors.subscribe(errors.append)
        hub.subscribe("topic=a", lambda event: hub.advance(1))
        hub.publish(Event("a"))
        hub.advance(0)
        assert isinstance(errors[0].error, AlreadyHandled)


def answering(hub: VirtualHub) -> None:
    hub.subscribe("topic=question", lambda event: {"answer": 42})


def test_to_wait_for_replies_lets_time_pass() -> None:
    with virtual_hub() as hub:
        answering(hub)
        assert hub.request(Event("question"), 3_600.0).run().data == {"answer": 42}
        assert hub.now == 3_600.0
        assert hub.request(Event("question"), 60.0).pipe(ops.first()).run().data == {"answer": 42}
        assert hub.now == 3_600.0
        assert len(hub.request(Event("question"), 60.0).to_list().run()) == 1
        with pytest.raises(NoReply, match="Nobody replied to nobody within 5 s"):
            hub.request(Event("nobody"), 5.0).run()
        assert hub.now == 3_665.0


def test_replies_that_come_late_are_waited_for() -> None:
    with virtual_hub() as hub:
        hub.on("topic=slow").pipe(ops.delay(1_800.0)).subscribe(
            lambda event: hub.publish_reply(event, hub.now), scheduler=hub.scheduler
        )
        assert hub.request(Event("slow"), 3_600.0).pipe(ops.first()).run().data == 1_800.0


def test_replies_can_be_awaited() -> None:
    async def awaited() -> Any:
        async with virtual_hub() as hub:

            @hub.on("topic=question")
            async def answer(event: Event) -> int:
                await asyncio.sleep(0)
                return 42

            with pytest.raises(NoReply):
                await hub.request(Event("nobody"))
            return (await hub.request(Event("question"))).data, hub.now

    assert asyncio.run(awaited()) == (42, 20.0)


def test_to_wait_for_a_pipeline_lets_time_pass() -> None:
    with virtual_hub() as hub:
        hub.publish(Event("a"))
        assert hub.on("topic=a").pipe(ops.debounce(60.0), ops.map(lambda _: hub.now), ops.first()).run() == 60.0
        hub.scheduler.schedule_relative(60.0, lambda *_: hub.publish(Event("b")))
        assert hub.events.pipe(ops.first()).run().topic == "b"
        with pytest.raises(Exception, match="Timeout"):
            hub.on("topic=a").pipe(ops.timeout(60.0)).run()
        assert hub.now == 180.0


WAITING: dict[str, Callable[[VirtualHub], Any]] = {
    "for what nobody publishes": lambda hub: hub.on("topic=a").run(),
    "for a pipeline": lambda hub: hub.on("topic=a").pipe(ops.first()).run(),
    "for all events": lambda hub: hub.events.pipe(ops.first()).run(),
    "for errors": lambda hub: hub.errors.pipe(ops.first()).run(),
    "for deliveries": lambda hub: hub.deliveries.pipe(ops.first()).run(),
    "for several": lambda hub: reactivex.merge(hub.on("topic=a"), hub.on("topic=b")).run(),
    "for the later of two": lambda hub: reactivex.concat(hub.on("topic=a"), hub.on("topic=b")).run(),
    "for a timer of the hub": lambda hub: reactivex.timer(60.0, scheduler=hub.scheduler).run(),
    "for a recording": lambda hub: Recording([(60.0, Event("a"))]).replay(hub.scheduler).run(),
    "while something else goes on for ever": lambda hub: (
        reactivex.interval(60.0, scheduler=hub.scheduler).subscribe(),
        hub.on("topic=a").run(),
    ),
}


@pytest.mark.parametrize("wait", WAITING.values(), ids=WAITING)
def test_nobody_waits_for_ever(wait: Callable[[VirtualHub], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rxhub.testing.virtual._MAX_STEPS", 1_000)
    with virtual_hub() as hub, pytest.raises(NotHandled, match=r"hub\.advance"):
        wait(hub)


def test_a_callback_cannot_wait_for_what_comes_after_it() -> None:
    with virtual_hub() as hub:
        answering(hub)
        errors: list[Any] = []
        hub.errors.subscribe(errors.append)
        hub.subscribe("topic=a", lambda event: hub.request(Event("question")).run())
        hub.subscribe("topic=a", lambda event: hub.on("topic=b").run())
        hub.publish(Event("a"))
        hub.advance(0)
        assert [type(outcome.error) for outcome in errors] == [NotHandled, NotHandled]


def test_a_coroutine_callback_is_told_so_too_if_it_awaits_a_reply() -> None:
    with virtual_hub() as hub:
        answering(hub)
        errors: list[Any] = []
        hub.errors.subscribe(errors.append)
        for wait_for in (hub.request, hub.ask):

            async def ask(event: Event, wait_for: Any = wait_for) -> None:
                await wait_for(Event("question"))

            hub.subscribe("topic=a", ask)
        hub.publish(Event("a"))
        hub.advance(20)
        assert [type(outcome.error) for outcome in errors] == [NotHandled, NotHandled]
        assert all("inside a callback" in str(outcome.error) for outcome in errors)


def test_what_passes_in_another_run_is_let_be() -> None:
    with virtual_hub() as hub:
        got: list[str] = []

        def told(topic: str) -> None:
            hub.on(f"topic={topic}").pipe(ops.delay(1.0)).subscribe(
                lambda e: got.append(e.topic), scheduler=hub.scheduler
            )
            hub.publish(Event(topic))
            hub.advance(1)

        reactivex.of("a", "b").pipe(ops.do_action(told)).run()
        assert got == ["a", "b"]


def test_a_pipeline_keeps_what_it_is() -> None:
    with virtual_hub() as hub:
        shared = hub.on("topic=a").pipe(ops.publish())
        got: list[Event] = []
        shared.subscribe(got.append)
        with shared.connect():
            hub.publish(Event("a"))
            hub.advance(0)
        assert len(got) == 1
