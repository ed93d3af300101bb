"""Whatever a callback returns that can be awaited is awaited: by hubs, signals, replies and handlers."""

from __future__ import annotations

import asyncio
import functools
import gc
import types
from collections.abc import Callable, Generator
from typing import Any
from unittest.mock import AsyncMock

import pytest
from asgiref.sync import markcoroutinefunction
from reactivex import operators as ops
from reactivex.scheduler import ImmediateScheduler
from reactivex.scheduler.eventloop import AsyncIOScheduler

from rxhub import Event, EventHub, Signal
from rxhub.concurrency.awaitables import returns_awaitable
from rxhub.errors import AsyncReceiverError
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
