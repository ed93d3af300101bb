"""The life of a processing: plugins, forks, the garbage collector, the end of the interpreter."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Coroutine
from contextlib import suppress
from threading import Event as Flag
from typing import Any

import pytest

from rxhub import Event, EventHub
from rxhub.testing import Nats
from rxhub.transport.io_thread import io_loop
from rxhub.transport.nats.processing.group import Group
from rxhub.transport.nats.processing.options import WorkerOptions
from rxhub.transport.nats.processing.processing import Processing
from tests.threads import LIMIT, run_script, until
from tests.transport.nats.processing.working import Seen, another, ask, is_idle, publish

Call = Callable[[Coroutine[Any, Any, None]], None]


def lose_the_cancellation(call: Call, monkeypatch: pytest.MonkeyPatch) -> Call:
    join, begun = Group.join, Flag()

    async def lose(group: Group) -> None:
        begun.set()
        with suppress(asyncio.CancelledError):  # as `asyncio.wait_for` does until Python 3.12
            await asyncio.sleep(LIMIT)
        await join(group)

    def interrupted(coroutine: Coroutine[Any, Any, None]) -> None:
        monkeypatch.setattr(Group, "join", lose)
        starting = asyncio.run_coroutine_threadsafe(coroutine, io_loop())
        assert begun.wait(LIMIT)
        starting.cancel()
        raise KeyboardInterrupt

    return interrupted


def wait_for_the_start(call: Call, monkeypatch: pytest.MonkeyPatch) -> Call:
    def interrupted(coroutine: Coroutine[Any, Any, None]) -> None:
        call(coroutine)
        raise KeyboardInterrupt

    return interrupted


def cancel_nothing(call: Call, monkeypatch: pytest.MonkeyPatch) -> Call:
    def interrupted(coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, io_loop())
        raise KeyboardInterrupt

    return interrupted


@pytest.mark.parametrize("interrupt", [lose_the_cancellation, wait_for_the_start, cancel_nothing])
@pytest.mark.parametrize("is_coroutine", [False, True])
def test_nothing_is_processed_after_the_start_was_interrupted(
    hub: EventHub, nats: Nats, monkeypatch: pytest.MonkeyPatch, interrupt: Any, is_coroutine: bool
) -> None:
    transport: Any = hub._link.transport

    async def wait(_: Event) -> None: ...

    hub.process("topic=a", print, group="g").stop()
    before = asyncio.all_tasks(io_loop())
    processing = Processing(
        transport.address, transport.subjects, "test", WorkerOptions(subscription="topic=a", group="g")
    )
    with pytest.raises(KeyboardInterrupt):
        processing.start(wait if is_coroutine else print, interrupt(transport.call, monkeypatch), print)
    until(lambda: asyncio.all_tasks(io_loop()) <= before)
    assert not processing.is_active
    monkeypatch.undo()
    seen = Seen()
    with hub.process("topic=a", seen, group="g"):
        publish(hub, "a", 1, 2)
        assert seen.wait(2) == [1, 2]


def test_a_hub_that_nobody_holds_lives_as_long_as_it_processes(hub: EventHub, nats: Nats) -> None:
    seen = Seen()
    other = EventHub(nats.url, nats.user, nats.password, stream=nats.stream)
    processing = other.process("topic=a", seen, group="g")
    gone = weakref.ref(other)
    del other
    gc.collect()
    publish(hub, "a", 1)
    assert seen.wait(1) == [1] and processing.is_active
    processing.stop()
    del processing

    def is_collected() -> bool:
        gc.collect()
        return gone() is None

    until(is_collected)


def test_what_a_plugin_processes_ends_with_it(hub: EventHub) -> None:
    seen = Seen()

    class Plugin:
        name = "plugin"

        def bootstrap(self, hub: EventHub) -> None:
            hub.process("topic=a", seen, group="g")

    hub.bootstrap([Plugin()])
    (processing,) = hub._processings._running
    publish(hub, "a", 1)
    seen.wait(1)
    hub.teardown(["plugin"])
    assert not processing.is_active and not hub._processings


SCRIPT = """
import os, sys, time
from rxhub import Event, EventHub

url, user, password, stream = {nats!r}
hub = EventHub(url, user, password, stream=stream)
hub.connect()
seen = []

def wait(count):
    while len(seen) < count:
        time.sleep(0.01)
"""


def script(nats: Nats, body: str) -> str:
    return run_script(SCRIPT.format(nats=tuple(nats)) + body)


def test_a_forked_child_processes_nothing_and_its_parent_goes_on(nats: Nats) -> None:
    told = script(
        nats,
        """
processing = hub.process("topic=a", lambda event: seen.append(event.data), group="g")
hub.publish(Event("a", data=1)).result(10)
wait(1)
child = os.fork()
if not child:
    ended = not processing.is_active and processing.wait(0) and not hub._processings
    processing.stop()
    hub.close()
    os._exit(0 if ended else 1)
print("child", os.waitpid(child, 0)[1])
hub.publish(Event("a", data=2)).result(10)
wait(2)
print(seen, processing.is_active)
hub.close()
""",
    )
    assert told == "child 0\n[1, 2] True\n"


def test_a_program_that_just_ends_hands_back_what_it_has_not_begun(hub: EventHub, nats: Nats) -> None:
    told = script(
        nats,
        """
hub.process("topic=a", lambda event: seen.append(event.data["value"]), group="g")
for value in range(300):
    hub.publish(Event("a", data={"value": value}))
wait(300)
processing = hub.process("topic=b", lambda event: (seen.append(event.data["value"]), time.sleep(0.3)), group="h")
for value in range(5):
    hub.publish(Event("b", data={"value": value})).result(10)
wait(301)
print("ends")
""",
    )
    assert told == "ends\n"
    seen = Seen()
    hub.process("topic=b", seen, group="h")
    assert seen.wait(4) == [1, 2, 3, 4]
    until(lambda: is_idle(hub, "h"))


def test_a_processing_tells_of_itself(hub: EventHub) -> None:
    def handle(event: Event) -> Any:
        raise ValueError

    with hub.process("topic=a", handle, group="g", retries=0) as processing:
        assert repr(processing) == "<Processing 'topic=a' in the group g: no events yet>"
        publish(hub, "a", 1)
        until(lambda: processing.counts.dead)
        assert repr(processing) == "<Processing 'topic=a' in the group g: 1 failed, 1 dead>"
    assert repr(processing) == "<Processing 'topic=a' in the group g: has ended>"


@pytest.mark.parametrize("once", [False, True])
def test_what_was_handed_back_is_not_begun_when_the_last_handler_returns(hub: EventHub, nats: Nats, once: bool) -> None:
    has_begun, may_end = Flag(), Flag()
    seen, others = list[int](), Seen()

    def handle(event: Event) -> None:
        seen.append(event.data["value"])
        if event.data["value"] == 100:
            has_begun.set()
            assert may_end.wait(LIMIT)

    processing = hub.process("topic=a", handle, group="g", once=once)
    # Handlers are fast, so many events are prefetched.
    publish(hub, "a", *range(100))
    until(lambda: processing.counts.handled == 100)
    publish(hub, "a", *range(100, 400))
    assert has_begun.wait(LIMIT)
    until(lambda: ask(hub, "CONSUMER.INFO.{stream}.g")["num_pending"] == 0)
    with another(nats) as other, other.process("topic=a", others, group="g", once=once):
        ended = processing.begin_to_stop(LIMIT)
        assert ended is not None
        others.wait(299)
        may_end.set()
        ended.result(LIMIT)
        until(lambda: is_idle(hub, "g"))
    assert seen == list(range(101)) and sorted(others) == list(range(101, 400))
