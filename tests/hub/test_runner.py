"""The handling contexts: one at a time, each with a clean end."""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import partial
from threading import Barrier, Thread, get_ident
from threading import Event as Flag
from threading import enumerate as enumerate_threads
from typing import Any

import pytest

from rxhub import Event, EventHub
from rxhub.errors import AlreadyHandled, CallbackInterrupted, HubClosed, HubConnectionError, NotHandledWarning
from tests.threads import LIMIT, at_once, elsewhere, run_script, until

pytestmark = pytest.mark.filterwarnings("ignore::rxhub.errors.NotHandledWarning")

COLOUR: ContextVar[str] = ContextVar("COLOUR", default="none")


@pytest.fixture
def hub() -> Iterator[EventHub]:
    hub = EventHub()
    yield hub
    hub.close(timeout=LIMIT)


class MainLoop:
    """A host application's: functions that others queue and it runs, in its own time and thread."""

    def __init__(self) -> None:
        self.queue: deque[Callable[[], None]] = deque()

    def __call__(self, function: Callable[[], None]) -> None:
        self.queue.append(function)

    def turn(self) -> bool:
        if not self.queue:
            return False
        self.queue.popleft()()
        return True

    def run_until(self, condition: Callable[[], Any]) -> None:
        def turned() -> Any:
            self.turn()
            return condition()

        until(turned)


# One at a time

CONTEXTS: dict[str, Callable[[EventHub], Any]] = {
    "wait": lambda hub: hub.wait(),
    "drain": lambda hub: hub.drain(),
    "start": lambda hub: hub.start(),
    "start with invoke": lambda hub: hub.start(invoke=lambda batch: batch()),
    "run": lambda hub: asyncio.run(hub.run()),
}


@pytest.mark.parametrize("name", CONTEXTS)
def test_a_second_context_is_refused(hub: EventHub, name: str) -> None:
    with hub.start():
        with pytest.raises(AlreadyHandled, match=r"was called on a hub that start\(\) handles"):
            CONTEXTS[name](hub)
        assert hub.is_running
    assert not hub.is_running
    hub.drain()


@pytest.mark.parametrize("name", CONTEXTS)
def test_a_context_inside_a_callback_is_refused_and_the_outer_one_goes_on(hub: EventHub, name: str) -> None:
    ran: list[str] = []

    def callback(event: Event) -> None:
        ran.append(event.topic)
        if event.topic == "a":
            CONTEXTS[name](hub)

    hub.subscribe("topic in (a, b)", callback)
    errors: list[Any] = []
    hub.errors.subscribe(lambda outcome: errors.append(type(outcome.error)))
    hub.publish(Event("a"))
    hub.publish(Event("b"))
    assert hub.drain() == 2
    assert ran == ["a", "b"] and errors == [AlreadyHandled]


@pytest.mark.parametrize("name", CONTEXTS)
def test_a_closed_hub_is_handled_no_more(name: str) -> None:
    hub = EventHub()
    hub.close()
    with pytest.raises(HubClosed):
        CONTEXTS[name](hub)


def test_of_many_that_come_at_once_one_handles(hub: EventHub) -> None:
    start, won = Barrier(6), Flag()

    def come() -> bool:
        start.wait(LIMIT)
        try:
            handle = hub.start()
        except AlreadyHandled:
            return False
        assert won.wait(LIMIT)
        handle.dispose()
        return True

    calls = [elsewhere(come) for _ in range(6)]
    until(lambda: sum(not call.thread.is_alive() for call in calls) == 5)
    won.set()
    assert sorted(call.join() for call in calls) == [False] * 5 + [True]


def test_every_event_is_handled_once_whoever_handles(hub: EventHub) -> None:
    got: list[int] = []
    hub.subscribe("topic=a", lambda event: got.append(event.data))

    def publish() -> None:
        for n in range(400):
            hub.publish(Event("a", data=n))

    with elsewhere(publish):
        for _ in range(20):
            hub.drain()
            hub.wait(0.001)
            with hub.start():
                pass
            asyncio.run(_for_a_moment(hub))
    hub.drain()
    assert got == list(range(400))


async def _for_a_moment(hub: EventHub) -> None:
    task = asyncio.create_task(hub.run())
    await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.wait([task])


def test_the_first_publish_that_nobody_handles_warns_once() -> None:
    hub = EventHub()
    with pytest.warns(NotHandledWarning, match=r"hub.start\(\)") as told:
        _ = [hub.publish(Event("a")) for _ in range(2)]
    assert len(told) == 1 and told[0].filename == __file__
    hub.close()


# drain


def test_drain_handles_what_waits_and_what_that_brings_about(hub: EventHub) -> None:
    def callback(event: Event) -> None:
        if event.data < 5:
            hub.publish(Event("a", data=event.data + 1))

    hub.subscribe("topic=a", callback)
    assert hub.drain() == 0
    hub.publish(Event("a", data=1))
    assert hub.drain() == 5


# wait


def test_wait_handles_in_the_calling_thread_and_ends_with_its_time(hub: EventHub) -> None:
    threads: list[int] = []
    hub.subscribe("topic=a", lambda event: threads.append(get_ident()))
    hub.publish(Event("a"))
    hub.wait(0.001)
    hub.wait(0)
    hub.wait(-1)
    assert threads == [get_ident()]


def test_wait_ends_in_time_though_events_never_end(hub: EventHub) -> None:
    hub.subscribe("topic=a", lambda event: hub.publish(Event("a")))
    hub.publish(Event("a"))
    with elsewhere(hub.wait, 0.01):
        pass


@pytest.mark.parametrize("duration", [float("nan")])
def test_a_duration_is_a_number(hub: EventHub, duration: float) -> None:
    with pytest.raises(ValueError, match="number of seconds"):
        hub.wait(duration)


def test_wait_ends_when_the_hub_is_disconnected(hub: EventHub) -> None:
    seen: list[str] = []
    hub.subscribe("topic=ftrack.meta.disconnected", lambda event: seen.append(event.topic))
    with elsewhere(hub.wait):
        until(lambda: hub.is_running)
        hub.disconnect(unsubscribe=False)
    assert seen == ["ftrack.meta.disconnected"]
    with pytest.raises(HubConnectionError, match=r"connect\(\)"):
        hub.wait()


def test_no_flood_takes_the_farewell_away() -> None:
    for policy in ("drop-oldest", "drop-newest", "latest", "error"):
        hub = EventHub(inbox=2, overflow=policy)
        other = EventHub()
        hub.disconnect()
        for _ in range(5):
            hub._link.on_event(Event("a"))
        with elsewhere(hub.wait):
            pass
        hub.close()
        other.close()


def test_a_farewell_that_nobody_handled_does_not_end_the_next_wait(hub: EventHub) -> None:
    hub.disconnect()
    hub.connect()
    seen: list[str] = []
    hub.subscribe("", lambda event: seen.append(event.topic))
    with elsewhere(hub.wait) as waiting:
        hub.publish(Event("a"))
        until(lambda: seen)
        assert waiting.thread.is_alive()
        hub.disconnect()


def test_reconnecting_does_not_end_it(hub: EventHub) -> None:
    seen: list[str] = []
    hub.subscribe("", lambda event: seen.append(event.topic))
    with elsewhere(hub.wait):
        until(lambda: hub.is_running)
        hub.reconnect()
        hub.publish(Event("a"))
        until(lambda: seen)
        hub.disconnect()
    assert seen == ["a"]


def test_an_interrupt_in_a_callback_ends_wait_and_the_hub_is_usable_afterwards(hub: EventHub) -> None:
    ran: list[str] = []

    def callback(event: Event) -> None:
        ran.append(event.topic)
        if event.topic == "a":
            signal.raise_signal(signal.SIGINT)

    hub.subscribe("", callback)
    hub.publish(Event("a"))
    hub.publish(Event("b"))
    with pytest.raises(KeyboardInterrupt):
        hub.wait()
    assert not hub.is_running
    hub.wait(0.001)
    assert ran == ["a", "b"]


def test_an_interrupt_in_a_coroutine_callback_ends_wait_and_its_loop(hub: EventHub) -> None:
    ended: list[str] = []

    async def callback(event: Event) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(LIMIT)
        finally:
            ended.append(event.topic)

    hub.subscribe("topic=a", callback)
    hub.publish(Event("a"))
    with pytest.raises(KeyboardInterrupt):
        hub.wait()
    assert ended == ["a"] and not hub.is_running
    assert hub.drain() == 0


def test_ctrl_c_ends_a_wait_for_nothing() -> None:
    assert run_script("""
import os, signal, threading, time
from rxhub import Event, EventHub
hub = EventHub()
hub.subscribe("topic=a", lambda event: print("handled", event.topic))
def press():
    while not hub.is_running: time.sleep(0.01)
    time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=press, daemon=True).start()
try:
    hub.wait()
except KeyboardInterrupt:
    print("interrupted", hub.is_running, hub.connected)
hub.publish(Event("a"))
hub.wait(0.01)
""").split() == ["interrupted", "False", "True", "handled", "a"]


# Coroutine callbacks


async def double(event: Event) -> Any:
    await asyncio.sleep(0)
    return event.data * 2


@pytest.mark.parametrize("name", ["wait", "drain", "start", "run"])
def test_coroutine_callbacks_are_awaited_in_order_in_every_context(hub: EventHub, name: str) -> None:
    ran: list[Any] = []
    loops: set[Any] = set()

    async def slow(event: Event) -> None:
        await asyncio.sleep(0.002)
        loops.add(asyncio.get_running_loop())
        ran.append(("slow", event.data, COLOUR.get()))
        COLOUR.set("lost")

    token = COLOUR.set("red")
    hub.subscribe("topic=a", slow, priority=1)
    COLOUR.reset(token)
    hub.subscribe("topic=a", lambda event: ran.append(("fast", event.data)), priority=2)
    hub.subscribe("topic=a and data=2", lambda event: hub.disconnect(), priority=3)
    hub.publish(Event("a", data=1))
    hub.publish(Event("a", data=2))

    with elsewhere(_handle, hub, name, lambda: len(ran) == 4):
        pass
    assert ran == [("slow", 1, "red"), ("fast", 1), ("slow", 2, "red"), ("fast", 2)]
    assert len(loops) == 1


def _handle(hub: EventHub, name: str, enough: Callable[[], bool]) -> None:
    if name == "start":
        with hub.start():
            until(enough)
    elif name == "run":

        async def main() -> None:
            task = asyncio.create_task(hub.run())
            while not enough():
                await asyncio.sleep(0.001)
            task.cancel()
            await asyncio.wait([task])

        asyncio.run(main())
    else:
        getattr(hub, name)()


@pytest.mark.parametrize("name", ["drain", "start", "run"])
def test_a_coroutine_callback_that_is_cancelled_is_an_outcome_not_an_end(hub: EventHub, name: str) -> None:
    ran, told = [], []

    async def cancelled(event: Event) -> None:
        waiting = asyncio.get_running_loop().create_future()
        waiting.cancel()
        await waiting

    def raising(event: Event) -> None:
        raise asyncio.CancelledError

    hub.subscribe("topic=a", cancelled, priority=1)
    hub.subscribe("topic=a", raising, priority=2)
    hub.subscribe("topic=a", lambda event: ran.append(event.data), priority=3)
    hub.errors.subscribe(lambda outcome: told.append(type(outcome.error)))
    hub.publish(Event("a", data=1))
    hub.publish(Event("a", data=2))
    with elsewhere(_handle, hub, name, lambda: len(ran) == 2):
        pass
    assert ran == [1, 2] and told == [CallbackInterrupted] * 4


def test_what_a_coroutine_callback_leaves_running_is_cancelled_with_its_loop(hub: EventHub) -> None:
    ended: list[bool] = []

    async def forever() -> None:
        try:
            await asyncio.sleep(LIMIT)
        finally:
            ended.append(True)

    async def callback(event: Event) -> None:
        callback.task = asyncio.create_task(forever())
        await asyncio.sleep(0)

    hub.subscribe("topic=a", callback)
    hub.publish(Event("a"))
    hub.drain()
    assert ended == [True]


def test_a_thread_s_context_inside_a_running_loop_says_what_to_use_instead(hub: EventHub) -> None:
    told: list[Any] = []
    hub.errors.subscribe(lambda outcome: told.append(str(outcome.error)))
    hub.subscribe("topic=a", double)

    async def main() -> None:
        hub.publish(Event("a", data=1))
        hub.drain()

    asyncio.run(main())
    assert len(told) == 1 and "await hub.run()" in told[0]


# start


def test_start_handles_in_one_thread_of_its_own_until_disposed(hub: EventHub) -> None:
    threads: list[int] = []
    hub.subscribe("topic=a", lambda event: threads.append(get_ident()))
    before = {*enumerate_threads()}
    handle = hub.start()
    own = {*enumerate_threads()} - before
    assert len(own) == 1
    for _ in range(10):
        hub.publish(Event("a"))
    until(lambda: len(threads) == 10)
    handle.dispose()
    handle.dispose()
    assert not own & {*enumerate_threads()}
    assert len(set(threads)) == 1 and get_ident() not in threads
    hub.publish(Event("a"))
    assert hub.drain() == 1


def test_disposing_waits_for_the_event_under_way_and_for_nothing_more(hub: EventHub) -> None:
    entered, leave, ran = Flag(), Flag(), []

    def callback(event: Event) -> None:
        ran.append(event.data)
        entered.set()
        assert leave.wait(LIMIT)

    hub.subscribe("topic=a", callback)
    for n in range(5):
        hub.publish(Event("a", data=n))
    handle = hub.start()
    assert entered.wait(LIMIT)
    with elsewhere(handle.dispose) as disposing:
        assert hub.is_running and disposing.thread.is_alive()
        leave.set()
    assert not hub.is_running and ran in ([0], [0, 1])


def test_a_callback_that_waits_for_who_disposes_is_not_waited_for_in_turn(
    hub: EventHub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("rxhub.hub.runner.CLOSE_TIMEOUT_S", 0.01)
    entered, leave = Flag(), Flag()
    hub.subscribe("topic=a", lambda event: entered.set() or (leave.wait(LIMIT) and None))
    handle = hub.start()
    hub.publish(Event("a"))
    assert entered.wait(LIMIT)
    handle.dispose()
    leave.set()
    assert "still runs 0.01 s" in caplog.text
    until(lambda: not hub.is_running)


def test_disposing_inside_a_callback_ends_after_this_event(hub: EventHub) -> None:
    ran, published = [], Flag()

    def callback(event: Event) -> None:
        assert published.wait(LIMIT)
        ran.append(event.data)
        handle.dispose()

    hub.subscribe("topic=a", callback)
    handle = hub.start()
    for n in range(5):
        hub.publish(Event("a", data=n))
    published.set()
    until(lambda: not hub.is_running)
    assert ran == [0]


def test_a_thread_that_ends_by_an_exit_says_so_and_lets_others_handle(
    hub: EventHub, caplog: pytest.LogCaptureFixture
) -> None:
    def callback(event: Event) -> None:
        raise SystemExit

    hub.subscribe("topic=a", callback)
    hub.start()
    hub.publish(Event("a"))
    until(lambda: not hub.is_running)
    assert "SystemExit ended its thread" in caplog.text
    assert hub.drain() == 0


def test_a_thread_that_cannot_start_leaves_the_hub_unhandled(hub: EventHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Thread, "start", refuse)
    with pytest.raises(HubClosed, match="can't start new thread"):
        hub.start()
    assert not hub.is_running


# start(invoke=…)


def test_invoke_brings_batches_to_the_main_loop(hub: EventHub) -> None:
    main, threads = MainLoop(), []
    hub.subscribe("topic=a", lambda event: threads.append(get_ident()))
    with hub.start(invoke=main):
        for _ in range(1000):
            hub.publish(Event("a"))
        main.run_until(lambda: len(threads) == 1000)
        assert len(main.queue) <= 1
    assert set(threads) == {get_ident()}


def test_a_long_queue_is_handled_in_pieces(hub: EventHub) -> None:
    main, ran, turns = MainLoop(), [], []
    hub.subscribe("topic=a", ran.append)
    for _ in range(1000):
        hub.publish(Event("a"))
    with hub.start(invoke=main):
        until(lambda: main.queue)
        main.turn()
        turns.append(len(ran))
        main.run_until(lambda: len(ran) == 1000)
    assert 0 < turns[0] < 1000


def test_a_main_loop_that_has_vanished_holds_nobody_up(hub: EventHub) -> None:
    main, ran = MainLoop(), []
    hub.subscribe("topic=a", lambda event: ran.append(event.data))
    handle = hub.start(invoke=main)
    hub.publish(Event("a", data=1))
    until(lambda: main.queue)
    with elsewhere(handle.dispose):
        pass
    assert not hub.is_running
    # It comes back when nobody expects it any more.
    assert main.turn() and ran == []
    assert hub.drain() == 1 and ran == [1]

    hub.start(invoke=main)
    hub.publish(Event("a", data=2))
    until(lambda: main.queue)
    with elsewhere(hub.close):
        pass
    assert main.turn() and ran == [1]


def test_the_main_loop_may_dispose_and_close_while_a_batch_waits_for_it(hub: EventHub) -> None:
    main = MainLoop()
    handle = hub.start(invoke=main)
    hub.publish(Event("a"))
    until(lambda: main.queue)
    with elsewhere(handle.dispose):
        pass
    hub.start(invoke=main)
    with elsewhere(hub.close):
        pass


@pytest.mark.parametrize("end", ["dispose", "close"])
def test_a_batch_that_has_begun_belongs_to_the_context_until_it_ends(hub: EventHub, end: str) -> None:
    main, entered, leave, seen = MainLoop(), Flag(), Flag(), []

    def callback(event: Event) -> None:
        entered.set()
        assert leave.wait(LIMIT)
        seen.append(hub.is_running)

    hub.subscribe("topic=a", callback)
    hub.on("topic=a").subscribe(on_completed=lambda: seen.append("completed"))
    handle = hub.start(invoke=main)
    hub.publish(Event("a"))
    until(lambda: main.queue)
    with elsewhere(main.turn):
        assert entered.wait(LIMIT)
        with elsewhere(handle.dispose if end == "dispose" else hub.close) as ending:
            with pytest.raises((AlreadyHandled, HubClosed)):
                hub.drain()
            assert hub.is_running and ending.thread.is_alive() and seen == []
            leave.set()
    assert seen == ([True] if end == "dispose" else [True, "completed"])


def test_disposing_and_closing_inside_a_batch(hub: EventHub) -> None:
    main, ran = MainLoop(), []

    def callback(event: Event) -> None:
        ran.append(event.topic)
        (handle.dispose if event.topic == "a" else hub.close)()

    hub.subscribe("", callback)
    handle = hub.start(invoke=main)
    hub.publish(Event("a"))
    main.run_until(lambda: not hub.is_running)
    handle = hub.start(invoke=main)
    hub.publish(Event("b"))
    main.run_until(lambda: not hub.is_running)
    assert ran == ["a", "b"]


def test_an_invoke_that_fails_ends_the_handling_and_is_logged(hub: EventHub, caplog: pytest.LogCaptureFixture) -> None:
    def invoke(batch: Callable[[], None]) -> None:
        raise RuntimeError("no main loop")

    hub.start(invoke=invoke)
    hub.publish(Event("a"))
    until(lambda: not hub.is_running)
    assert "invoke failed: no main loop" in caplog.text
    assert hub.drain() == 1


def test_an_invoke_that_runs_the_batch_at_once_will_do(hub: EventHub) -> None:
    ran: list[Any] = []
    hub.subscribe("topic=a", ran.append)
    with hub.start(invoke=lambda batch: batch()):
        for _ in range(10):
            hub.publish(Event("a"))
        until(lambda: len(ran) == 10)


# run


def test_run_ends_by_cancelling_and_another_may_follow(hub: EventHub) -> None:
    async def main() -> list[bool]:
        seen = []
        for _ in range(3):
            task = asyncio.create_task(hub.run())
            await asyncio.sleep(0)
            seen.append(hub.is_running)
            task.cancel()
            await asyncio.wait([task])
            seen.append(hub.is_running or not task.cancelled())
        return seen

    assert asyncio.run(main()) == [True, False] * 3


def test_a_cancellation_that_comes_together_with_an_event_is_not_lost(hub: EventHub) -> None:
    async def main() -> None:
        for _ in range(200):
            task = asyncio.create_task(hub.run())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            hub.publish(Event("a"))
            await asyncio.sleep(0)
            task.cancel()
            done, _ = await asyncio.wait([task], timeout=LIMIT)
            assert done and task.cancelled()

    asyncio.run(main())


def test_cancelling_run_cancels_the_callback_under_way(hub: EventHub) -> None:
    ended: list[str] = []
    begun = asyncio.Event()

    async def callback(event: Event) -> None:
        begun.set()
        try:
            await asyncio.sleep(LIMIT)
        except asyncio.CancelledError:
            ended.append(event.topic)
            raise

    hub.subscribe("", callback)

    async def main() -> None:
        task = asyncio.create_task(hub.run())
        hub.publish(Event("a"))
        await asyncio.wait_for(begun.wait(), LIMIT)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(main())
    assert ended == ["a"] and not hub.is_running


def test_run_wakes_for_what_other_threads_publish(hub: EventHub) -> None:
    got: list[int] = []
    hub.subscribe("topic=a", lambda event: got.append(event.data))

    async def main() -> None:
        task = asyncio.create_task(hub.run())
        while len(got) < 300:
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait([task])

    with elsewhere(asyncio.run, main()):
        until(lambda: hub.is_running)
        at_once(*(lambda: [hub.publish(Event("a", data=n)) for n in range(100)] for _ in range(3)))
    assert sorted(got) == sorted([*range(100)] * 3)


def test_other_tasks_get_their_turns_during_a_flood(hub: EventHub) -> None:
    hub.subscribe("topic=a", lambda event: hub.publish(Event("a")))

    async def main() -> None:
        task = asyncio.create_task(hub.run())
        hub.publish(Event("a"))
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    with elsewhere(asyncio.run, main()):
        pass


def test_a_loop_that_was_closed_with_run_in_it_does_not_concern_who_publishes() -> None:
    hub = EventHub()
    loop = asyncio.new_event_loop()
    task = loop.create_task(hub.run())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    hub.publish(Event("a")).result(0)
    task.get_coro().close()
    assert not hub.is_running
    hub.close()


# async with


def test_async_with_handles_for_the_time_of_the_block() -> None:
    async def main() -> Any:
        async with EventHub() as hub:
            hub.subscribe("topic=a", double)
            assert hub.is_running
            answer = (await hub.ask(Event("a", data=21))).data
        assert not hub.is_running
        with pytest.raises(HubClosed):
            hub.publish(Event("a"))
        return answer

    assert asyncio.run(main()) == 42


def test_async_with_on_a_hub_that_somebody_handles_is_refused_and_closes_nothing(hub: EventHub) -> None:
    async def main() -> None:
        async with hub:
            with pytest.raises(AlreadyHandled):
                async with hub:
                    pass
            hub.subscribe("topic=a", double)
            assert (await hub.ask(Event("a", data=1))).data == 2

    asyncio.run(main())
    assert not hub.is_running


def test_async_with_passes_the_error_of_the_block_on(hub: EventHub) -> None:
    async def main() -> None:
        async with hub:
            raise ValueError("block")

    with pytest.raises(ValueError, match="block"):
        asyncio.run(main())
    assert not hub.is_running


def test_leaving_async_with_does_not_wait_for_ever_for_a_callback(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = asyncio.wait
    monkeypatch.setattr(asyncio, "wait", lambda tasks, timeout=None: waited(tasks, timeout=timeout and 0.01))
    ended: list[str] = []
    begun = asyncio.Event()

    async def main() -> None:
        async with EventHub() as hub:

            async def callback(event: Event) -> None:
                begun.set()
                try:
                    await asyncio.get_running_loop().create_future()
                finally:
                    ended.append("cancelled")

            hub.subscribe("topic=a", callback)
            hub.events.subscribe(on_completed=lambda: ended.append("completed"))
            hub.publish(Event("a"))
            await begun.wait()
        assert not hub.is_running

    asyncio.run(main())
    assert ended == ["cancelled", "completed"]


def test_the_host_thread_of_a_batch_is_the_context(hub: EventHub) -> None:
    main, full = MainLoop(), []
    hub.subscribe("topic=a", lambda event: full.append(hub._runner.runs_here))
    with hub.start(invoke=main):
        hub.publish(Event("a"))
        main.run_until(lambda: full)
        assert not hub._runner.runs_here
    assert full == [True]


def test_partial_and_other_callables_are_awaited_too(hub: EventHub) -> None:
    got: list[Any] = []

    async def on_reply(event: Event) -> None:
        await asyncio.sleep(0)
        got.append(event.data)

    async def callback(prefix: str, event: Event) -> None:
        got.append(prefix + event.topic)

    class Callable_:  # noqa: N801
        async def __call__(self, event: Event) -> None:
            got.append(event.topic)

    hub.subscribe("topic=a", partial(callback, "x"))
    hub.subscribe("topic=a", Callable_())
    hub.subscribe("topic=a", lambda event: "reply")
    hub.publish(Event("a"), on_reply=on_reply)
    hub.drain()
    assert got == ["xa", "a", "reply"]
