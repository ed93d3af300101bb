"""Joining and leaving are told in order, and waiting for room takes no threads."""

from __future__ import annotations

import asyncio
from threading import Thread
from typing import Any

from rxhub import Event, EventHub
from rxhub.dispatching.dispatcher import Dispatcher
from rxhub.dispatching.subscriber import Subscriber
from rxhub.errors import NotFoundError, NotUniqueError
from tests.threads import LIMIT


def test_a_subscriber_that_leaves_at_once_does_not_stay_announced() -> None:
    announced: dict[str, Subscriber] = {}
    dispatcher = Dispatcher(lambda s: announced.__setitem__(s.id, s), lambda s: announced.pop(s.id, None) and None)

    def join() -> None:
        for _ in range(2000):
            try:
                dispatcher.subscribe("topic=a", print, {"id": "same"})
            except NotUniqueError:
                pass

    def leave() -> None:
        for _ in range(2000):
            try:
                dispatcher.unsubscribe("same")
            except NotFoundError:
                pass

    threads = [Thread(target=work) for work in (join, leave, join, leave)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert [*announced.values()] == [*dispatcher.subscribers]


def test_leaving_before_joining_was_told_is_told_after_it() -> None:
    told: list[str] = []
    dispatcher: Dispatcher

    def joined(subscriber: Subscriber) -> None:
        if not told:
            told.append("joining")
            dispatcher.unsubscribe(subscriber.id)
        told.append("joined")

    dispatcher = Dispatcher(joined, lambda _: told.append("left"))
    dispatcher.subscribe("topic=a", print)
    assert told == ["joining", "joined", "left"]
    assert len(dispatcher) == 0


def test_a_thousand_publishers_that_wait_for_room_leave_the_executor_free() -> None:
    async def run() -> None:
        hub = EventHub(inbox=1, overflow="block")
        async with hub:
            seen: list[Any] = []

            async def slow(event: Event) -> None:
                await asyncio.sleep(0)
                seen.append(event.data)

            hub.subscribe("topic=a", slow)
            waiting = [asyncio.create_task(hub.apublish(Event("a", data=number))) for number in range(1000)]
            await asyncio.sleep(0)
            assert await asyncio.wait_for(asyncio.to_thread(lambda: 7), LIMIT) == 7
            for task in waiting[900:]:
                task.cancel()
            async with asyncio.timeout(2 * LIMIT):
                await asyncio.gather(*waiting[:900])
                while len(seen) < 900:
                    await asyncio.sleep(0.01)
            assert {*range(900)} <= {*seen}

    asyncio.run(run())
