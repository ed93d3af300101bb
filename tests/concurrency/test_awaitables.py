"""Whatever a callback returns that can be awaited is awaited: by hubs, signals, replies and handlers."""

from __future__ import annotations

import asyncio
import functools
import gc
import types
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from time import sleep
from typing import Any
from unittest.mock import AsyncMock

import pytest
from asgiref.sync import markcoroutinefunction
from reactivex import operators as ops
from reactivex.scheduler import ImmediateScheduler
from reactivex.scheduler.eventloop import AsyncIOScheduler

from rxhub import Event, EventHub, Signal
from rxhub.concurrency.awaitables import returns_awaitable
from rxhub.errors import AsyncReceiverError, EventError, NoReply
from rxhub.rx.subject import Subject
from tests.threads import LIMIT, until


async def seven(*_: Any, **__: Any) -> int:
    await asyncio.sleep(0)
    return 7


class Later:
    def __await__(self) -> Generator[Any, None, int]:
        return seven().__await__()


class Callable7:
    async def __call__(self, *_: Any, **__: Any) -> int:
        return await seven()

    async def method(self, *_: Any, **__: Any) -> int:
        return await seven()


@types.coroutine
def generator_based(*_: Any, **__: Any) -> Generator[Any, None, int]:
    yield from seven().__await__()
    return 7


@functools.wraps(seven)
def wrapped(*args: Any, **kwargs: Any) -> Any:
    return seven(*args, **kwargs)


def unnamed(*args: Any, **kwargs: Any) -> Any:
    return seven(*args, **kwargs)


def future(*_: Any, **__: Any) -> asyncio.Future[int]:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[int] = loop.create_future()
    loop.call_soon(future.set_result, 7)
    return future


HELD = Callable7()

# What runs without an event loop in its thread, and what needs one.
ANYWHERE: dict[str, Callable[..., Any]] = {
    "coroutine function": seven,
    "plain function that returns a coroutine": unnamed,
    "decorated": wrapped,
    "partial": functools.partial(seven, extra=1),
    "partial of partial of a method": functools.partial(functools.partial(HELD.method, extra=1), more=2),
    "callable object": HELD,
    "bound method": HELD.method,
    "generator-based": generator_based,
    "object with __await__": lambda *_, **__: Later(),
    "AsyncMock": AsyncMock(return_value=7),
    "marked": markcoroutinefunction(lambda *_, **__: seven()),
    "marked, and returns a value": markcoroutinefunction(lambda *_, **__: 7),
}
ON_A_LOOP: dict[str, Callable[..., Any]] = {
    "task": lambda *_, **__: asyncio.ensure_future(seven()),
    "future": future,
    "gathered": lambda *_, **__: asyncio.gather(seven(), return_exceptions=True),
    "done future": lambda *_, **__: asyncio.ensure_future(asyncio.sleep(0, 7)),
}
EVERY = {**ANYWHERE, **ON_A_LOOP}
ANYWHERE_PARAMS = pytest.mark.parametrize("callback", ANYWHERE.values(), ids=ANYWHERE)
EVERY_PARAMS = pytest.mark.parametrize("callback", EVERY.values(), ids=EVERY)


def is_seven(result: object) -> bool:
    return result in (7, [7])


# Hubs


@EVERY_PARAMS
def test_a_hub_that_runs_on_a_loop_replies_with_the_awaited_result(callback: Any) -> None:
    async def run() -> None:
        async with EventHub() as hub:
            hub.subscribe("topic=a", callback)
            hub.on("topic=b")(callback)
            for topic in ("a", "b"):
                assert is_seven((await hub.ask(Event(topic), LIMIT)).data)

    asyncio.run(run())


@ANYWHERE_PARAMS
def test_a_hub_that_runs_in_a_thread_replies_with_the_awaited_result(callback: Any) -> None:
    async def run(hub: EventHub) -> Any:
        return (await hub.ask(Event("a"), LIMIT)).data

    with EventHub() as hub, hub.start():
        hub.subscribe("topic=a", callback)
        assert is_seven(asyncio.run(run(hub)))


@ANYWHERE_PARAMS
def test_a_callback_with_a_scheduler_is_awaited_too(callback: Any) -> None:
    with EventHub() as hub:
        hub.subscribe("topic=a", callback, scheduler=ImmediateScheduler())
        results: list[Any] = []
        hub.deliveries.subscribe(lambda delivery: results.extend(delivery.results))
        with hub.start():
            hub.publish(Event("a"))
            until(lambda: results)
        assert is_seven(results[0])


@EVERY_PARAMS
def test_a_callback_with_the_scheduler_of_a_loop_is_awaited_there(callback: Any) -> None:
    async def run() -> None:
        async with EventHub() as hub:
            hub.subscribe("topic=a", callback, scheduler=AsyncIOScheduler(asyncio.get_running_loop()))
            assert is_seven((await hub.ask(Event("a"), LIMIT)).data)

    asyncio.run(run())


@EVERY_PARAMS
def test_the_callback_of_a_reply_is_awaited(callback: Any) -> None:
    async def run() -> None:
        done: list[object] = []

        def on_reply(event: Event) -> Any:
            result = callback(event)
            if isinstance(result, int):
                done.append(result)
                return None
            waiting = asyncio.ensure_future(result)
            waiting.add_done_callback(lambda task: done.append(task.result()))
            return waiting

        async with EventHub() as hub:
            hub.subscribe("topic=a", lambda _: 1)
            replies = hub.deliveries.pipe(ops.filter(lambda delivery: delivery.event.topic == "ftrack.meta.reply"))
            replies.subscribe(lambda _: done.append("delivered"))
            hub.publish(Event("a"), on_reply=on_reply)
            async with asyncio.timeout(LIMIT):
                while len(done) < 2:
                    await asyncio.sleep(0)
        assert is_seven(done[0]) and done[1] == "delivered"

    asyncio.run(run())


@ANYWHERE_PARAMS
def test_a_synchronous_publish_reports_an_error_and_leaves_nothing_unawaited(callback: Any) -> None:
    with EventHub() as hub:
        hub.subscribe("topic=a", callback)
        results = hub.publish(Event("a"), synchronous=True)
        gc.collect()
    assert results == ([7] if callback is ANYWHERE["marked, and returns a value"] else [])


@pytest.mark.parametrize("callback", ON_A_LOOP.values(), ids=ON_A_LOOP)
def test_a_synchronous_publish_on_a_loop_lets_tasks_go_on(callback: Any) -> None:
    async def run() -> None:
        made: list[Any] = []
        with EventHub() as hub:
            hub.subscribe("topic=a", lambda event: made.append(callback(event)) or made[-1])
            assert hub.publish(Event("a"), synchronous=True) == []
        assert is_seven(await made[0])

    asyncio.run(run())


def test_an_observable_is_a_value() -> None:
    never: Subject[int] = Subject()
    signal = Signal()
    signal.connect(lambda **_: never, weak=False)
    assert [value for _, value in signal.send(None)] == [never]
    with EventHub() as hub:
        hub.subscribe("topic=a", lambda _: never)
        assert hub.publish(Event("a"), synchronous=True) == [never]


# Futures of executors


@pytest.fixture(scope="module")
def pool() -> Generator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def slow_seven() -> int:
    sleep(0.01)
    return 7


def fail() -> None:
    raise ValueError("in the pool")


def test_a_hub_waits_for_a_future_of_an_executor_and_replies_with_its_result(pool: ThreadPoolExecutor) -> None:
    async def run() -> None:
        async with EventHub() as hub:
            hub.subscribe("topic=a", lambda _: pool.submit(slow_seven))
            hub.subscribe("topic=b", lambda _: pool.submit(slow_seven), scheduler=ImmediateScheduler())
            for topic in ("a", "b"):
                assert (await hub.ask(Event(topic), LIMIT)).data == 7

    asyncio.run(run())
    with EventHub() as hub, hub.start():
        hub.subscribe("topic=a", lambda _: pool.submit(slow_seven))
        replies: list[object] = []
        hub.publish(Event("a"), on_reply=lambda reply: replies.append(reply.data))
        until(lambda: replies)
        assert replies == [7]


def test_what_a_future_of_an_executor_raises_is_the_failure_of_the_callback(pool: ThreadPoolExecutor) -> None:
    async def run(errors: list[Exception | None]) -> None:
        async with EventHub() as hub:
            hub.errors.subscribe(lambda outcome: errors.append(outcome.error))
            hub.subscribe("topic=a", lambda _: pool.submit(fail))
            hub.subscribe("topic=a", lambda _: 1)
            assert (await hub.ask(Event("a"), LIMIT)).data == 1

    errors: list[Exception | None] = []
    asyncio.run(run(errors))
    with EventHub() as hub, hub.start():
        hub.errors.subscribe(lambda outcome: errors.append(outcome.error))
        hub.subscribe("topic=a", lambda _: pool.submit(fail))
        hub.publish(Event("a"))
        until(lambda: len(errors) == 2)
    assert [str(error) for error in errors] == ["in the pool"] * 2
    assert errors[1] is not None and errors[1].__context__ is None


def test_the_future_of_publish_is_waited_for_and_is_no_reply() -> None:
    async def run() -> None:
        async with EventHub() as hub:
            hub.subscribe("topic=a", lambda _: hub.publish(Event("b")), priority=1)
            hub.subscribe("topic=a", lambda _: 7, priority=2)
            assert (await hub.ask(Event("a"), LIMIT)).data == 7

    asyncio.run(run())


def test_a_future_of_an_executor_is_a_value_where_nothing_is_published(pool: ThreadPoolExecutor) -> None:
    future = pool.submit(slow_seven)
    signal = Signal()
    signal.connect(lambda **_: future, weak=False)
    assert [value for _, value in signal.send(None)] == [future]
    with EventHub() as hub:
        hub.subscribe("topic=a", lambda _: future)
        assert hub.publish(Event("a"), synchronous=True) == [future]


def test_a_reply_whose_result_is_still_to_come_is_refused(pool: ThreadPoolExecutor) -> None:
    coroutine = seven()
    with EventHub() as hub:
        for data in (pool.submit(slow_seven), coroutine):
            with pytest.raises(EventError, match="still to come"):
                hub.publish_reply(Event("a", source={"id": "x"}), data)
    coroutine.close()


# Generators


def yielding(*_: Any) -> Generator[int]:
    yield 7


async def yielding_later(*_: Any) -> AsyncGenerator[int]:
    yield 7


@pytest.mark.parametrize("callback", [yielding, yielding_later, lambda _: (n for n in (7,))])
@pytest.mark.parametrize("scheduler", [None, ImmediateScheduler()], ids=["here", "scheduler"])
def test_a_callback_that_returns_a_generator_has_failed(callback: Any, scheduler: Any) -> None:
    async def run() -> None:
        outcomes: list[Any] = []
        async with EventHub() as hub:
            hub.deliveries.pipe(ops.flat_map(lambda delivery: delivery)).subscribe(outcomes.append)
            hub.subscribe("topic=a", callback, scheduler=scheduler)
            with pytest.raises(NoReply):
                await hub.ask(Event("a"), 0.1)
        (outcome,) = outcomes
        assert isinstance(outcome.error, TypeError) and "returned a generator" in str(outcome.error)
        assert outcome.result is None

    asyncio.run(run())


def test_the_callback_of_a_reply_that_returns_a_generator_has_failed() -> None:
    async def run() -> None:
        errors: list[Any] = []
        async with EventHub() as hub:
            hub.errors.subscribe(lambda outcome: errors.append(outcome.error))
            hub.subscribe("topic=a", lambda _: 1)
            hub.publish(Event("a"), on_reply=yielding)
            async with asyncio.timeout(LIMIT):
                while not errors:
                    await asyncio.sleep(0)
        assert isinstance(errors[0], TypeError) and "returned a generator" in str(errors[0])

    asyncio.run(run())


# Signals


@EVERY_PARAMS
def test_a_signal_awaits_receivers_in_asend(callback: Any) -> None:
    async def run() -> None:
        signal = Signal()
        signal.connect(callback, weak=False)
        for send in (signal.asend, signal.asend_robust):
            ((_, value),) = await send("sender")
            assert is_seven(value)

    asyncio.run(run())


@ANYWHERE_PARAMS
@pytest.mark.parametrize("policy", ["raise", "group"])
def test_a_signal_awaits_receivers_in_send_on_a_loop_of_its_own(callback: Any, policy: Any) -> None:
    signal = Signal(on_receiver_error=policy)
    order: list[str] = []
    signal.connect(callback, weak=False)
    signal.connect(lambda **_: order.append("later"), weak=False)
    for send in (signal.send, signal.send_robust):
        (_, value), _ = send("sender")
        assert is_seven(value)
    assert order == ["later"] * 2


@EVERY_PARAMS
def test_a_signal_that_is_sent_while_a_loop_runs_says_what_to_do(callback: Any) -> None:
    async def run() -> None:
        signal = Signal()
        made: list[Any] = []

        def receiver(**kwargs: Any) -> Any:
            made.append(callback(**kwargs))
            return made[-1]

        signal.connect(receiver)
        if callback is ANYWHERE["marked, and returns a value"]:
            assert signal.send(None) == [(receiver, 7)]
            return
        with pytest.raises(AsyncReceiverError, match="asend"):
            signal.send(None)
        ((_, error),) = signal.send_robust(None)
        assert isinstance(error, AsyncReceiverError)
        for each in made:
            if isinstance(each, asyncio.Future):
                assert is_seven(await each)

    asyncio.run(run())
    gc.collect()


# Which functions say so


def test_coroutine_functions_of_every_kind_are_known() -> None:
    plain = {"plain function that returns a coroutine", "decorated", "generator-based", "object with __await__"}
    assert {name for name, callback in ANYWHERE.items() if not returns_awaitable(callback)} == plain
    for callback in (unnamed, print, Callable7, functools.partial(print), None):
        assert not returns_awaitable(callback)


def test_a_receiver_that_is_awaited_keeps_its_place() -> None:
    async def run() -> None:
        order: list[str] = []

        async def slow() -> None:
            await asyncio.sleep(0.01)
            order.append("slow")

        signal = Signal()
        signal.connect(lambda **_: slow(), weak=False, priority=1)
        signal.connect(lambda **_: order.append("next"), weak=False, priority=2)
        await signal.asend(None)
        assert order == ["slow", "next"]

    asyncio.run(run())


def test_start_awaits_what_a_callback_returns_before_the_next_callback() -> None:
    order: list[str] = []

    async def slow() -> None:
        await asyncio.sleep(0.01)
        order.append("slow")

    with EventHub() as hub, hub.start():
        hub.subscribe("topic=a", lambda _: slow())
        hub.subscribe("topic=a", lambda _: order.append("next"))
        hub.publish(Event("a"))
        until(lambda: len(order) == 2)
    assert order == ["slow", "next"]
