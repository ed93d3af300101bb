"""Tasks that coroutine callbacks leave running, where the context has no loop of its own."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from threading import Event as Flag
from threading import get_ident
from typing import Any

import pytest

from rxhub import Event, EventHub
from tests.threads import LIMIT, elsewhere, run_script, until

pytestmark = pytest.mark.filterwarnings("ignore::rxhub.errors.NotHandledWarning")


@pytest.fixture
def hub() -> Iterator[EventHub]:
    hub = EventHub()
    yield hub
    hub.close(timeout=LIMIT)


@contextmanager
def waiting(hub: EventHub) -> Iterator[None]:
    with elsewhere(hub.wait):
        until(lambda: hub.is_running)
        yield
        hub.disconnect(unsubscribe=False)


@contextmanager
def invoking(hub: EventHub) -> Iterator[None]:
    """A host application, whose main loop runs in a thread of its own here."""
    queue: deque[Callable[[], None]] = deque()
    over = Flag()

    def main_loop() -> None:
        while not over.wait(0.001):
            while queue:
                queue.popleft()()

    with elsewhere(main_loop):
        try:
            with hub.start(invoke=queue.append):
                yield
        finally:
            over.set()


CONTEXTS: dict[str, Callable[[EventHub], Any]] = {
    "start": lambda hub: hub.start(),
    "wait": waiting,
    "invoke": invoking,
}


@pytest.mark.parametrize("context", CONTEXTS)
def test_what_a_callback_begins_goes_on_without_further_events(hub: EventHub, context: str) -> None:
    done: list[str] = []
    tasks: set[asyncio.Task[None]] = set()
    threads: set[int] = set()

    async def numbers() -> AsyncIterator[int]:
        for n in range(3):
            await asyncio.sleep(0.001)
            yield n

    async def background() -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0.01)
        await loop.run_in_executor(None, Flag().wait, 0.001)
        async for _ in numbers():
            threads.add(get_ident())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.sleep(LIMIT)
        done.append("task")

    async def callback(event: Event) -> None:
        threads.add(get_ident())
        tasks.add(asyncio.create_task(background()))
        loop = asyncio.get_running_loop()
        loop.call_soon(done.append, "soon")
        loop.call_later(0.01, done.append, "later")

    hub.subscribe("topic=a", callback)
    with CONTEXTS[context](hub):
        hub.publish(Event("a"))
        until(lambda: len(done) == 3)
    assert sorted(done) == ["later", "soon", "task"] and len(threads) == 1


@pytest.mark.parametrize("context", CONTEXTS)
def test_all_coroutine_callbacks_of_a_context_run_on_one_loop(hub: EventHub, context: str) -> None:
    loops: list[Any] = []

    async def callback(event: Event) -> None:
        loops.append(asyncio.get_running_loop())

    hub.subscribe("topic=a", callback)
    with CONTEXTS[context](hub):
        for n in range(3):
            hub.publish(Event("a"))
            until(lambda: len(loops) > n)
    assert len({*map(id, loops)}) == 1


@pytest.mark.parametrize("context", CONTEXTS)
def test_tasks_get_their_turns_during_a_flood_of_plain_callbacks(hub: EventHub, context: str) -> None:
    ticks: list[int] = []
    tasks: set[asyncio.Task[None]] = set()
    over = Flag()

    async def tick() -> None:
        while not over.is_set():
            await asyncio.sleep(0.001)
            ticks.append(1)

    async def begin(event: Event) -> None:
        tasks.add(asyncio.create_task(tick()))

    hub.subscribe("topic=begin", begin)
    hub.subscribe("topic=flood", lambda event: None if over.is_set() else hub.publish(Event("flood")) and None)
    with CONTEXTS[context](hub):
        hub.publish(Event("begin"))
        hub.publish(Event("flood"))
        until(lambda: len(ticks) > 10)
        over.set()


@pytest.mark.parametrize("context", CONTEXTS)
def test_plain_callbacks_may_run_a_loop_of_their_own_beside_it(hub: EventHub, context: str) -> None:
    got: list[Any] = []

    async def callback(event: Event) -> None:
        await asyncio.sleep(0)

    hub.subscribe("topic=a", callback, priority=1)
    hub.subscribe("topic=a", lambda event: got.append(asyncio.run(asyncio.sleep(0, event.data))), priority=2)
    with CONTEXTS[context](hub):
        for n in range(3):
            hub.publish(Event("a", data=n))
        until(lambda: len(got) == 3)
    assert got == [0, 1, 2]


@pytest.mark.parametrize("context", CONTEXTS)
def test_tasks_that_still_run_at_the_end_are_cancelled_and_awaited(hub: EventHub, context: str) -> None:
    tasks: set[asyncio.Task[None]] = set()
    ended: list[str] = []

    async def background() -> None:
        try:
            await asyncio.sleep(LIMIT)
        finally:
            await asyncio.sleep(0.01)
            ended.append("ended")

    async def callback(event: Event) -> None:
        tasks.add(asyncio.create_task(background()))
        await asyncio.sleep(0)

    hub.subscribe("topic=a", callback)
    with CONTEXTS[context](hub):
        hub.publish(Event("a"))
        until(lambda: tasks)
    until(lambda: not hub.is_running)
    assert ended == ["ended"] and all(task.cancelled() for task in tasks)


def test_a_task_that_refuses_to_end_is_told_of_and_holds_nobody_up(
    hub: EventHub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("rxhub.hub.private_loop.END_S", 0.05)
    tasks: set[asyncio.Task[None]] = set()

    async def stubborn() -> None:
        while True:
            try:
                await asyncio.sleep(LIMIT)
            except asyncio.CancelledError:
                pass

    async def callback(event: Event) -> None:
        tasks.add(asyncio.create_task(stubborn(), name="stubborn"))
        await asyncio.sleep(0)

    hub.subscribe("topic=a", callback)
    with hub.start():
        hub.publish(Event("a"))
        until(lambda: tasks)
    until(lambda: not hub.is_running)
    assert "abandoned: stubborn" in caplog.text


def test_what_a_task_raises_when_it_is_cancelled_is_logged(hub: EventHub, caplog: pytest.LogCaptureFixture) -> None:
    async def background() -> None:
        try:
            await asyncio.sleep(LIMIT)
        finally:
            raise KeyError("lost")

    async def callback(event: Event) -> None:
        callback.task = asyncio.create_task(background())
        await asyncio.sleep(0)

    hub.subscribe("topic=a", callback)
    hub.publish(Event("a"))
    hub.drain()
    assert [record.levelno for record in caplog.records] == [logging.ERROR] and "lost" in caplog.text


def test_a_program_that_ends_with_tasks_running_says_nothing() -> None:
    assert (
        run_script("""
import asyncio, sys, threading
from rxhub import Event, EventHub
hub = EventHub()
begun = threading.Event()
async def background():
    begun.set()
    await asyncio.sleep(3600)
async def callback(event):
    callback.task = asyncio.create_task(background())
hub.subscribe("topic=a", callback)
sys.stderr = sys.stdout
hub.start()
hub.publish(Event("a"))
begun.wait(20)
""").split()
        == []
    )
