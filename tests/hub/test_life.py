"""The life of a hub: its end, interpreter exit, fork, the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from threading import Event as Flag
from typing import Any

import pytest
import reactivex
from reactivex import operators as ops

from rxhub import Event, EventHub
from rxhub.errors import HubClosed, HubConnectionError, NotHandled
from tests.threads import LIMIT, at_once, eager_collection, elsewhere, run_script

pytestmark = pytest.mark.filterwarnings("ignore::rxhub.errors.NotHandledWarning")


def watched(hub: EventHub) -> list[str]:
    """Which of the hub's observables have completed so far."""
    ended: list[str] = []
    sources = {
        "events": hub.events,
        "on": hub.on("topic=a"),
        "deliveries": hub.deliveries,
        "errors": hub.errors,
        "state": hub.state,
    }
    for name, source in sources.items():
        source.subscribe(None, lambda error: ended.append(repr(error)), lambda name=name: ended.append(name))
    return ended


ALL = ["deliveries", "errors", "events", "on", "state"]


# Closing


def test_closing_completes_what_there_is_to_observe() -> None:
    hub = EventHub()
    ended = watched(hub)
    hub.close()
    assert sorted(ended) == ALL
    assert repr(hub) == "<EventHub memory:// closed, 0 subscribers, not handled>"
    assert not hub.connected and not hub.is_running
    # Whoever comes later is told at once.
    assert sorted(watched_late(hub)) == ["deliveries", "errors", "events", "state"]


def watched_late(hub: EventHub) -> list[str]:
    ended: list[str] = []
    for name in ("events", "deliveries", "errors", "state"):
        getattr(hub, name).subscribe(on_completed=lambda name=name: ended.append(name))
    return ended


def test_an_on_that_was_made_before_completes_who_subscribes_after() -> None:
    hub, ended = EventHub(), []
    source = hub.on("topic=a")
    hub.close()
    source.subscribe(on_completed=lambda: ended.append("on"))
    assert ended == ["on"] and len(hub.describe()) == 0
    with pytest.raises(HubClosed, match="was closed"):
        source(print)


@pytest.mark.parametrize(
    "call",
    [
        lambda hub: hub.publish(Event("a")),
        lambda hub: hub.publish(Event("a"), synchronous=True),
        lambda hub: asyncio.run(hub.apublish(Event("a"))),
        lambda hub: hub.subscribe("topic=a", print),
        lambda hub: hub.on("topic=a"),
        lambda hub: hub.stream("topic=a"),
        lambda hub: hub.connect(),
        lambda hub: hub.reconnect(),
        lambda hub: hub.start(),
        lambda hub: hub.wait(),
        lambda hub: hub.drain(),
    ],
)
def test_a_closed_hub_takes_nothing_new(call: Callable[[EventHub], Any]) -> None:
    hub = EventHub()
    hub.close()
    with pytest.raises(HubClosed, match="was closed"):
        call(hub)
    with pytest.raises(HubConnectionError):
        hub.disconnect()
    assert hub.publish(Event("a"), on_error="ignore") is None


def test_what_a_closed_hub_still_does() -> None:
    hub = EventHub()
    hub.subscribe("topic=a", print, {"id": "x"})
    hub.close()
    assert hub.get_subscriber_by_identifier("x") is not None
    assert len(hub.describe()) == 1
    hub.unsubscribe("x")
    hub.init_connection()
    with pytest.raises(NotHandled):
        asyncio.run(hub.ask(Event("a")))


def test_closing_again_does_nothing() -> None:
    hub = EventHub()
    ended = watched(hub)
    hub.close()
    hub.close()
    at_once(*[hub.close] * 3)
    assert sorted(ended) == ALL


def test_many_that_close_at_once() -> None:
    for _ in range(20):
        hub = EventHub()
        ended = watched(hub)
        hub.start()
        at_once(*[hub.close] * 3)
        assert sorted(ended) == ALL


def test_with_closes() -> None:
    with EventHub() as hub:
        ended = watched(hub)
    assert sorted(ended) == ALL
    with pytest.raises(ValueError, match="block"), EventHub() as hub:
        raise ValueError("block")
    assert not hub.connected


@pytest.mark.parametrize("name", ["wait", "start", "run", "drain"])
def test_closing_inside_a_callback_ends_the_event_under_way_and_then_the_hub(name: str) -> None:
    hub, ran = EventHub(), []
    ended = watched(hub)

    def close(event: Event) -> None:
        hub.close()
        ran.append(list(ended))

    hub.subscribe("topic=a", close, priority=1)
    hub.subscribe("topic=a", lambda event: ran.append("the next one"), priority=2)
    for _ in range(2):
        hub.publish(Event("a"))
    if name == "start":
        hub.start()
        assert hub._runner.join(LIMIT)
    else:
        with elsewhere(asyncio.run, hub.run()) if name == "run" else elsewhere(getattr(hub, name)):
            pass
    assert ran == [[], "the next one"]
    assert sorted(ended) == ALL and not hub.is_running


def test_closing_inside_a_coroutine_callback() -> None:
    async def main() -> list[str]:
        async with EventHub() as hub:
            ended = watched(hub)

            async def close(event: Event) -> None:
                await asyncio.sleep(0)
                hub.close()

            hub.subscribe("topic=a", close)
            await hub.apublish(Event("a"))
            while len(ended) < 5:
                await asyncio.sleep(0)
        return ended

    assert sorted(asyncio.run(asyncio.wait_for(main(), LIMIT))) == ALL


@pytest.mark.parametrize("name", ["wait", "start", "run"])
def test_closing_from_another_thread_waits_for_the_event_under_way(name: str) -> None:
    hub, entered, leave, ran = EventHub(), Flag(), Flag(), []
    ended = watched(hub)

    def callback(event: Event) -> None:
        entered.set()
        assert leave.wait(LIMIT)
        ran.append(list(ended))

    hub.subscribe("topic=a", callback)
    hub.publish(Event("a"))
    hub.publish(Event("a"))
    handling = {"wait": hub.wait, "start": hub.start, "run": lambda: asyncio.run(hub.run())}
    with elsewhere(handling[name]):
        assert entered.wait(LIMIT)
        with elsewhere(hub.close, LIMIT) as closing:
            with pytest.raises(HubClosed):
                while True:
                    hub.publish(Event("b"))
            assert closing.thread.is_alive()
            leave.set()
    assert ran == [[]] and sorted(ended) == ALL


def test_a_callback_that_does_not_return_is_not_waited_for_longer_than_told(caplog: pytest.LogCaptureFixture) -> None:
    hub, entered, leave = EventHub(), Flag(), Flag()
    ended = watched(hub)
    hub.subscribe("topic=a", lambda event: entered.set() or leave.wait(LIMIT))
    hub.publish(Event("a"))
    hub.start()
    assert entered.wait(LIMIT)
    with elsewhere(hub.close, 0.01):
        pass
    assert "still runs 0.01 s after close()" in caplog.text
    assert ended == [] and hub.is_running
    leave.set()
    assert hub._runner.join(LIMIT)
    assert sorted(ended) == ALL


def test_who_closes_it_comes_back_when_all_has_completed_whoever_completes_it() -> None:
    hub, told, completing, go = EventHub(), [], Flag(), Flag()

    def at_the_end() -> None:
        completing.set()
        assert go.wait(LIMIT)
        told.append("completed")

    def close() -> None:
        hub.close(LIMIT)
        told.append("closed")

    hub.events.subscribe(on_completed=at_the_end)
    hub.start()
    with elsewhere(close) as closing:
        assert completing.wait(LIMIT)
        closing.thread.join(0.05)  # long enough to come back too early
        go.set()
    assert told == ["completed", "closed"]


def test_what_waits_unhandled_is_told(caplog: pytest.LogCaptureFixture) -> None:
    hub = EventHub()
    for _ in range(3):
        hub.publish(Event("a"))
    hub.disconnect()
    hub.close()
    assert "3 events were waiting unhandled" in caplog.text
    caplog.clear()
    quiet = EventHub()
    quiet.disconnect()
    quiet.close()
    assert caplog.text == ""


def test_an_observer_that_raises_at_the_end_keeps_nothing_from_ending(caplog: pytest.LogCaptureFixture) -> None:
    hub = EventHub()

    def refuse() -> None:
        raise RuntimeError("no end")

    for source in (hub.events, hub.on("topic=a"), hub.deliveries, hub.state):
        source.subscribe(on_completed=refuse)
    ended = watched(hub)
    hub.close()
    assert sorted(ended) == ALL and "no end" in caplog.text


def test_an_observer_may_close_and_use_the_hub_as_it_ends() -> None:
    hub, seen = EventHub(), []

    def at_the_end() -> None:
        hub.close()
        seen.append(hub.publish(Event("a"), on_error="ignore"))
        hub.events.subscribe(on_completed=lambda: seen.append("at once"))

    hub.on("topic=a").subscribe(on_completed=at_the_end)
    with elsewhere(hub.close):
        pass
    assert seen == [None, "at once"]


def test_timers_end_with_the_hub() -> None:
    hub, got = EventHub(), []
    hub.on("topic=a").pipe(ops.debounce(3600, scheduler=hub.scheduler)).subscribe(
        lambda event: got.append(event.data), on_completed=lambda: got.append("done")
    )
    until_the_end = ops.take_until(hub.events.pipe(ops.last_or_default()))
    interval = reactivex.interval(3600, scheduler=hub.scheduler)
    interval.pipe(until_the_end).subscribe(on_completed=lambda: got.append("interval"))
    hub.publish(Event("a", data="debounced"))
    hub.drain()
    hub.close()
    # A debounce gives its last value when its source ends.
    assert sorted(got) == ["debounced", "done", "interval"]
    assert hub._inbox._timers == []


def test_publishing_while_it_closes_is_accepted_or_told() -> None:
    for _ in range(30):
        hub, go = EventHub(), Flag()

        def publish(hub: EventHub = hub, go: Flag = go) -> int:
            assert go.wait(LIMIT)
            accepted = 0
            try:
                while True:
                    hub.publish(Event("a")).result(LIMIT)
                    accepted += 1
            except HubClosed:
                return accepted

        hub.start()
        with elsewhere(publish), elsewhere(publish):
            go.set()
            hub.close()


# The garbage collector


def test_a_dropped_hub_is_collected() -> None:
    hub = EventHub("memory://dropped")
    hub.subscribe("topic=a", print)
    hub.on("topic=a").pipe(ops.map(lambda event: event)).subscribe(print)
    hub.deliveries.subscribe(print)
    hub.request(Event("a"))
    hub.publish(Event("a"), on_reply=print)
    hub.publish(Event("a"), synchronous=True)
    with hub.start():
        pass
    hub.drain()
    seen = weakref.ref(hub)
    del hub
    gc.collect()
    assert seen() is None


def test_a_hub_that_is_handled_lives() -> None:
    got, hub = Flag(), EventHub("memory://alive")
    hub.subscribe("topic=a", lambda event: got.set())
    handle = hub.start()
    del hub
    gc.collect()
    with EventHub("memory://alive") as other:
        other.publish(Event("a"))
        assert got.wait(LIMIT)
        other.drain()
    handle.dispose()


def test_a_finalizer_may_use_the_hub_in_the_middle_of_anything() -> None:
    hub = EventHub()

    class Owner:
        def __init__(self) -> None:
            self.cycle = self
            self.identifier = hub.subscribe("topic=a", lambda event: None)
            self.subscription = hub.on("topic=b").subscribe()
            self.listening = hub.events.subscribe()

        def __del__(self) -> None:
            hub.unsubscribe(self.identifier)
            self.subscription.dispose()
            self.listening.dispose()
            hub.publish(Event("c"), on_reply=lambda event: None)
            hub.publish(Event("a"), synchronous=True)

    def work() -> None:
        for _ in range(100):
            Owner()
            hub.publish(Event("a"))
            hub.drain()

    with eager_collection(), elsewhere(work):
        pass
    gc.collect()
    hub.drain()
    assert hub.events.observers == []
    assert {subscriber.id for subscriber in hub.describe()} == {hub.id}
    hub.close()


# The interpreter's exit

BEGINNING = """
import asyncio, atexit, os, signal, sys, threading, time
from rxhub import Event, EventHub
"""


@pytest.mark.parametrize(
    "script",
    [
        "hub = EventHub(); hub.start()",
        "hub = EventHub(); hub.start(); hub.publish(Event('a'))",
        "hub = EventHub(); hub.start(invoke=lambda batch: None); hub.publish(Event('a'))",
        "hub = EventHub(); hub.subscribe('', lambda e: hub.publish(Event('a'))); hub.start(); hub.publish(Event('a'))",
        "hub = EventHub(); threading.Thread(target=hub.wait, daemon=True).start(); time.sleep(0.05)",
        "main = EventHub().run(); threading.Thread(target=asyncio.run, args=[main], daemon=True).start()",
        "hub = EventHub(); hub.scheduler.schedule_relative(3600, print); hub.start()",
        "hub = EventHub(); hub.start(); sys.exit(0)",
        "hubs = [EventHub('memory://x') for _ in range(20)]; [h.start() for h in hubs]; hubs[0].publish(Event('a'))",
    ],
)
def test_the_interpreter_exits_in_the_middle_of_it(script: str) -> None:
    assert run_script(BEGINNING + script) == ""


def test_at_exit_hubs_are_closed() -> None:
    assert run_script(
        BEGINNING
        + """
hub = EventHub()
handled = threading.Event()
hub.subscribe("topic=a", lambda event: print("handled") or handled.set())
hub.events.subscribe(on_completed=lambda: print("completed"))
hub.start()
hub.publish(Event("a"))
handled.wait(20)
"""
    ).split() == ["handled", "completed"]


def test_a_callback_that_never_returns_does_not_keep_the_interpreter() -> None:
    assert (
        run_script(
            BEGINNING
            + """
hub = EventHub()
entered = threading.Event()
hub.subscribe("topic=a", lambda event: entered.set() or threading.Event().wait())
hub.start()
hub.publish(Event("a"))
entered.wait(10)
print("exiting")
"""
        )
        == "exiting\n"
    )


def test_no_thread_starts_during_exit() -> None:
    assert run_script("""
import atexit
def late():
    # Registered before rxhub was imported, so it runs after the hubs were closed.
    hub = EventHub()
    hub.subscribe("topic=a", lambda event: print("handled"))
    try:
        hub.start()
    except HubClosed as error:
        print("refused")
    hub.publish(Event("a"))
    hub.drain()
atexit.register(late)
from rxhub import Event, EventHub
from rxhub.errors import HubClosed
""").split() == ["refused", "handled"]


def test_an_observer_that_fails_at_exit_does_not_keep_other_hubs_from_closing() -> None:
    assert (
        run_script(
            BEGINNING
            + """
import logging
logging.disable(logging.CRITICAL)
hubs = [EventHub() for _ in range(3)]
def refuse(): raise RuntimeError("no")
for hub in hubs:
    hub.events.subscribe(on_completed=refuse)
    hub.on("topic=a").subscribe(on_completed=refuse)
    hub.events.subscribe(on_completed=lambda: print("closed"))
"""
        ).split()
        == ["closed"] * 3
    )


# fork

FORK = (
    BEGINNING
    + """
def in_child(work):
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # a deadlock ends the child
        try:
            work()
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, "the child failed"
"""
)


def test_a_child_s_hub_is_connected_and_usable() -> None:
    assert run_script(
        FORK
        + """
hub = EventHub("memory://studio")
ran = []
hub.subscribe("topic=a", lambda event: ran.append(os.getpid()))
hub.on("topic=a").subscribe(lambda event: ran.append("on"))
states = []
hub.state.subscribe(states.append)
closed = EventHub()
closed.close()
hub.publish(Event("a"))
hub.start()
def work():
    assert hub.connected and not hub.is_running, repr(hub)
    assert "closed" in repr(closed)
    ran.clear()
    assert hub.drain() == 0
    hub.connect()
    with EventHub("memory://studio") as other:
        other.publish(Event("a"))
        other.drain()
    hub.wait(0.01)
    assert ran == [os.getpid(), "on"], ran
    with hub.start():
        done = threading.Event()
        hub.publish(Event("b"), on_reply=lambda event: done.set())
        hub.subscribe("topic=b", lambda event: 1)
        hub.publish(Event("b"), on_reply=lambda event: done.set())
        assert done.wait(10)
        assert asyncio.run(hub.ask(Event("b"))).data == 1
    assert [state.phase.value for state in states] == ["connected", "disconnected", "connected"], states
    hub.close()
in_child(work)
print(hub.connected, hub.is_running)
"""
    ).split() == ["True", "True"]


def test_a_fork_in_the_middle_of_everything() -> None:
    assert run_script(
        FORK
        + """
import logging
logging.disable(logging.CRITICAL)
hub = EventHub("memory://studio", inbox=50, overflow="drop-oldest")
stop = threading.Event()
def fail(event): raise ValueError
hub.subscribe("topic=a", fail)
hub.subscribe("topic=a", lambda event: 1)
seen = []
for source in (hub.events, hub.deliveries, hub.errors, hub.on("topic=a")):
    source.subscribe(lambda _: None)
def busy():
    while not stop.is_set():
        hub.publish(Event("a"), on_reply=lambda event: None)
        hub.publish(Event("a"), synchronous=True)
        hub.unsubscribe(hub.subscribe("topic=b", print))
        hub.scheduler.schedule_relative(0.0001, lambda *_: None)
        hub.deliveries.subscribe(lambda _: None).dispose()
        EventHub("memory://studio").close()
threads = [threading.Thread(target=busy, daemon=True) for _ in range(3)]
hub.start()
for thread in threads: thread.start()
def work():
    counts = dict(events=0, deliveries=0, errors=0, on=0)
    for name in counts:
        source = hub.on("topic=a") if name == "on" else getattr(hub, name)
        def count(_, name=name): counts[name] += 1
        source.subscribe(count)
    hub.connect()
    hub.publish(Event("a")).result(10)
    assert hub.drain() == 2, hub
    assert hub.publish(Event("a"), synchronous=True)[0] == 1
    assert counts["on"] == 2 and counts["errors"] == 2 and counts["events"] == 3, counts
    with hub.start():
        done = threading.Event()
        hub.scheduler.schedule_relative(0.001, lambda *_: done.set())
        assert done.wait(10)
    hub.close()
for _ in range(15):
    time.sleep(0.002)
    in_child(work)
stop.set()
for thread in threads: thread.join()
print("done")
"""
    ).split() == ["done"]


def test_a_fork_inside_a_callback() -> None:
    assert run_script(
        FORK
        + """
hub = EventHub()
def callback(event):
    def work():
        assert not hub.is_running
        hub.connect()
        ran = []
        hub.subscribe("topic=b", lambda event: ran.append(1))
        hub.publish(Event("b"))
        assert hub.drain() == 1 and ran == [1]
    in_child(work)
    print("forked")
hub.subscribe("topic=a", callback)
hub.on("topic=a").subscribe(callback)
hub.publish(Event("a"))
hub.drain()
hub.publish(Event("a"), synchronous=True)
print(hub.connected)
"""
    ).split() == ["forked"] * 4 + ["True"]


def test_the_parent_s_loop_survives_a_child_that_exits() -> None:
    assert run_script(
        FORK
        + """
hub = EventHub()
forked = threading.Event()
async def callback(event):
    # Wakes the private loop from another thread, which needs what the child must not touch.
    await asyncio.to_thread(time.sleep, 0.01)
    if event.data == 1:
        child = os.fork()
        if child == 0:
            import gc
            hub.__dict__.clear()
            gc.collect()
            os._exit(0)
        os.waitpid(child, 0)
    await asyncio.to_thread(time.sleep, 0.01)
    print("woken", event.data)
hub.subscribe("topic=a", callback)
for n in (1, 2):
    hub.publish(Event("a", data=n))
signal.alarm(20)
hub.drain()
"""
    ).split() == ["woken", "1", "woken", "2"]
