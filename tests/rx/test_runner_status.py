"""Whoever waits for handling that nobody does any more is told so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from threading import Event as Flag
from typing import Any

import pytest
import reactivex
from reactivex import operators as ops
from reactivex.internal.exceptions import SequenceContainsNoElementsError

from rxhub import Event, EventHub
from rxhub.errors import HubClosed, NotHandled
from rxhub.rx.runner_status import WAIT_GAP_S
from tests.threads import LIMIT, elsewhere, until

pytestmark = pytest.mark.filterwarnings("ignore::rxhub.errors.NotHandledWarning")


async def first(observable: Any) -> Any:
    return await observable


async def read(hub: EventHub) -> Any:
    return await anext(hub.stream("topic=a"))


WAITERS: dict[str, Callable[[EventHub], Awaitable[Any]]] = {
    "stream": read,
    "ask": lambda hub: hub.ask(Event("q"), timeout=LIMIT),
    "request": lambda hub: first(hub.request(Event("q"), timeout=LIMIT)),
    "request, piped": lambda hub: first(hub.request(Event("q"), timeout=LIMIT).pipe(ops.first())),
    "request().run()": lambda hub: asyncio.to_thread(hub.request(Event("q"), timeout=LIMIT).pipe(ops.first()).run),
    "on": lambda hub: first(hub.on("topic=a").pipe(ops.take(1))),
    "on().run()": lambda hub: asyncio.to_thread(hub.on("topic=a").pipe(ops.take(1)).run),
    "events": lambda hub: first(hub.events),
    "deliveries": lambda hub: first(hub.deliveries.pipe(ops.filter(lambda d: d.event.topic == "a"), ops.take(1))),
    "errors": lambda hub: first(hub.errors.pipe(ops.publish()).auto_connect().pipe(ops.take(1))),
    "state": lambda hub: first(hub.state.pipe(ops.skip(1), ops.take(1))),
}


def until_told(waiter: str, hub: EventHub, end: Callable[[], object]) -> Any:
    """Wait, have the handling ended by another thread meanwhile; what the waiter raises."""

    async def main() -> Any:
        waiting = asyncio.ensure_future(WAITERS[waiter](hub))
        while not hub._runner._watching and not waiting.done():
            await asyncio.sleep(0.001)
        ending = asyncio.to_thread(end)
        async with asyncio.timeout(LIMIT):
            result = (await asyncio.gather(waiting, return_exceptions=True))[0]
            await ending
        return result

    return asyncio.run(main())


@pytest.mark.parametrize("waiter", WAITERS)
def test_the_end_of_start_ends_who_waits(waiter: str) -> None:
    with EventHub() as hub:
        handle = hub.start()
        asyncio_thread = elsewhere(until_told, waiter, hub, lambda: None)
        until(lambda: hub._runner._watching)
        handle.dispose()
        error = asyncio_thread.join()
        assert isinstance(error, NotHandled) and "hub.start()" in str(error)
        assert not hub._runner._watching


@pytest.mark.parametrize("waiter", WAITERS)
def test_who_would_wait_where_nobody_handles_is_told_at_once(waiter: str) -> None:
    with EventHub() as hub:
        error = until_told(waiter, hub, lambda: None)
        assert isinstance(error, NotHandled) and "hub.start()" in str(error)
        assert not hub._runner._watching


@pytest.mark.parametrize("waiter", WAITERS)
def test_the_end_of_run_ends_who_waits_on_the_same_loop(waiter: str) -> None:
    async def main() -> None:
        with EventHub() as hub:
            running = asyncio.create_task(hub.run())
            await asyncio.sleep(0)
            waiting = asyncio.ensure_future(WAITERS[waiter](hub))
            while not hub._runner._watching:
                await asyncio.sleep(0.001)
            running.cancel()
            async with asyncio.timeout(LIMIT):
                with pytest.raises(NotHandled):
                    await waiting

    asyncio.run(main())


@pytest.mark.parametrize(
    ("waiter", "expected"),
    [
        ("stream", StopAsyncIteration),
        ("ask", HubClosed),
        ("on", SequenceContainsNoElementsError),
        ("on().run()", SequenceContainsNoElementsError),
        ("events", SequenceContainsNoElementsError),
    ],
)
def test_the_close_of_a_hub_ends_who_waits_as_a_close(waiter: str, expected: type[Exception]) -> None:
    hub = EventHub()
    hub.start()
    waiting = elsewhere(_raised, waiter, hub)
    until(lambda: hub._runner._watching)
    hub.close()
    assert isinstance(waiting.join(), expected)


def _raised(waiter: str, hub: EventHub) -> Exception:
    async def main() -> Exception:
        try:
            await asyncio.wait_for(WAITERS[waiter](hub), LIMIT)
        except Exception as error:
            return error
        raise AssertionError

    return asyncio.run(main())


def test_a_stream_is_read_on_when_the_hub_is_handled_again() -> None:
    async def main() -> list[Any]:
        with EventHub() as hub:
            events = hub.stream("topic=a")
            handle = hub.start()
            reading = asyncio.ensure_future(anext(events))
            while not hub._runner._watching:
                await asyncio.sleep(0)
            handle.dispose()
            with pytest.raises(NotHandled):
                await reading
            hub.publish(Event("a", data=1))
            with hub.start():
                return [(await asyncio.wait_for(anext(events), LIMIT)).data]

    assert asyncio.run(main()) == [1]


@pytest.mark.parametrize("handle", [lambda hub: hub.wait(0.001), lambda hub: hub.drain()])
def test_who_handles_again_and_again_disturbs_nobody(handle: Callable[[EventHub], object]) -> None:
    async def main(hub: EventHub) -> list[Any]:
        events = hub.stream("topic=a")
        async with asyncio.timeout(LIMIT):
            return [
                (await anext(events)).data,
                (await hub.ask(Event("q"), timeout=LIMIT)).data,
                (await hub.on("topic=a").pipe(ops.take(1))).data,
            ]

    with EventHub() as hub:
        hub.subscribe("topic=q", lambda event: 2)
        over = Flag()

        def again_and_again() -> None:
            while not over.is_set():
                handle(hub)
                hub.publish(Event("a", data=1))
                over.wait(0.01)

        with elsewhere(again_and_again):
            until(lambda: hub._runner.stops_in() != 0)
            try:
                assert asyncio.run(main(hub)) == [1, 2, 1]
            finally:
                over.set()


@pytest.mark.parametrize("waiter", ["stream", "on", "on().run()"])
def test_who_does_not_handle_again_is_no_longer_waited_for(waiter: str) -> None:
    with EventHub() as hub:
        hub.drain()
        assert 0 < (hub._runner.stops_in() or 0) <= WAIT_GAP_S
        assert isinstance(until_told(waiter, hub, lambda: None), NotHandled)


def test_what_is_there_at_once_needs_no_handling() -> None:
    async def main(hub: EventHub) -> Any:
        assert hub.state.pipe(ops.first()).run()
        assert await hub.events.pipe(ops.start_with(1), ops.first()) == 1
        assert await hub.on("topic=a").pipe(ops.merge(reactivex.of(2)), ops.first()) == 2

    with EventHub() as hub:
        asyncio.run(main(hub))


def test_run_in_a_callback_says_that_it_would_wait_for_itself() -> None:
    with EventHub() as hub:
        told: list[Any] = []
        hub.errors.subscribe(lambda outcome: told.append(outcome.error))
        hub.subscribe("topic=a", lambda event: hub.on("topic=b").pipe(ops.take(1)).run())
        hub.publish(Event("a"))
        hub.drain()
        assert [type(error) for error in told] == [NotHandled] and "this thread" in str(told[0])
