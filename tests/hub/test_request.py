"""Requests keep Rx's grammar, and leave neither threads nor timers behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from threading import Event as Flag
from threading import active_count, get_ident
from typing import Any

import pytest
from reactivex import Observable, abc
from reactivex import operators as ops
from reactivex.internal.exceptions import SequenceContainsNoElementsError
from reactivex.scheduler import NewThreadScheduler

from rxhub import Event, EventHub
from rxhub.errors import HubClosed, NoReply
from rxhub.transport.connection_state import ConnectionState, Phase
from tests.threads import LIMIT, at_once, elsewhere, until


class Grammar:
    """An observer that notes whatever overlaps, and what comes after the end."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.ended = False
        self.mistakes: list[str] = []
        self._inside: list[str] = []

    def _note(self, name: str, wait: Callable[[], Any] = lambda: None) -> None:
        if self._inside:
            self.mistakes.append(f"{name} during {self._inside}")
        if self.ended:
            self.mistakes.append(f"{name} after the end")
        self._inside.append(name)
        wait()
        self._inside.remove(name)

    def on_next(self, value: Any) -> None:
        self._note("on_next", lambda: Flag().wait(0.0002))
        self.values.append(value)

    def on_error(self, error: Exception) -> None:
        self._note("on_error")
        self.ended = True

    def on_completed(self) -> None:
        self._note("on_completed")
        self.ended = True

    def observe(self, observable: Observable[Any], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        return observable.subscribe(self.on_next, self.on_error, self.on_completed, scheduler=scheduler)


@contextmanager
def running(hub: EventHub) -> Iterator[None]:
    """A loop in another thread that handles the hub."""

    async def main() -> None:
        async with hub:
            await asyncio.to_thread(stop.wait, LIMIT)

    stop = Flag()
    with elsewhere(asyncio.run, main()):
        until(lambda: hub.is_running)
        try:
            yield
        finally:
            stop.set()


HANDLED: dict[str, Callable[[EventHub], Any]] = {"start": lambda hub: hub.start(), "run": running}


@pytest.mark.parametrize("context", HANDLED)
def test_an_answered_request_leaves_no_thread_and_no_timer(context: str) -> None:
    hub = EventHub()
    hub.subscribe("topic=a", lambda event: event.data + 1)
    with HANDLED[context](hub):
        before = active_count()
        for n in range(200):
            assert hub.request(Event("a", data=n), timeout=600).pipe(ops.first()).run().data == n + 1
        assert active_count() == before
        until(lambda: hub._inbox.due_in() is None)
    hub.close()


def test_an_unanswered_request_ends_where_the_hub_is_handled() -> None:
    with EventHub() as hub, hub.start():
        threads: list[int] = []
        hub.on("topic=where").subscribe(lambda event: threads.append(get_ident()))
        hub.publish(Event("where"))
        for scheduler in (None, NewThreadScheduler()):
            hub.request(Event("a"), timeout=0.01).subscribe(
                on_completed=lambda: threads.append(get_ident()), scheduler=scheduler
            )
        until(lambda: len(threads) == 3)
        assert len(set(threads)) == 1


@pytest.mark.parametrize("scheduler", [None, NewThreadScheduler()])
def test_the_end_waits_for_a_reply_that_is_being_observed(scheduler: abc.SchedulerBase | None) -> None:
    entered, leave, told = Flag(), Flag(), []

    def slow(reply: Event) -> None:
        entered.set()
        assert leave.wait(LIMIT)
        told.append("observed")

    with EventHub() as hub, hub.start():
        hub.subscribe("topic=a", lambda event: 1)
        hub.request(Event("a"), timeout=1.0).subscribe(
            slow, on_completed=lambda: told.append("completed"), scheduler=scheduler
        )
        assert entered.wait(LIMIT)
        assert not leave.wait(1.2) and told == []
        leave.set()
        until(lambda: len(told) == 2)
    assert told == ["observed", "completed"]


@pytest.mark.parametrize("context", HANDLED)
def test_a_request_that_a_coroutine_callback_awaits_ends_in_time(context: str) -> None:
    told: list[Any] = []

    async def callback(event: Event) -> None:
        for wait in (
            lambda: _awaited(hub.request(Event("q"), timeout=0.01)),
            lambda: asyncio.to_thread(hub.request(Event("q"), timeout=0.01).run),
            lambda: asyncio.to_thread(hub.request(Event("q"), timeout=0.01).pipe(ops.first()).run),
        ):
            try:
                await wait()
            except (NoReply, SequenceContainsNoElementsError) as error:
                told.append(error)

    hub = EventHub()
    hub.subscribe("topic=a", callback)
    with HANDLED[context](hub):
        hub.publish(Event("a"))
        until(lambda: len(told) == 3)
    hub.close()


def test_a_request_ends_in_time_although_the_handling_thread_is_stuck() -> None:
    entered, leave = Flag(), Flag()
    with EventHub() as hub, hub.start():
        hub.subscribe("topic=a", lambda event: entered.set() or (leave.wait(LIMIT) and None))
        hub.publish(Event("a"))
        assert entered.wait(LIMIT)
        with pytest.raises(NoReply):
            hub.request(Event("q"), timeout=0.01).run()
        leave.set()


def test_a_request_ends_with_hub_closed_when_the_hub_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    async def main(hub: EventHub) -> None:
        waiting = asyncio.ensure_future(_awaited(hub.request(Event("q"), timeout=600)))
        await asyncio.sleep(0)
        hub.close()
        async with asyncio.timeout(LIMIT):
            with pytest.raises(HubClosed, match="closed before"):
                await waiting

    with EventHub() as hub, hub.start():
        hub.request(Event("q"), timeout=600).subscribe(print)  # takes no errors
        asyncio.run(main(hub))
    with EventHub() as hub, hub.start():
        hub.subscribe("topic=q", lambda event: hub.scheduler.schedule(lambda *_: hub.close(timeout=0)) and None)
        with pytest.raises(HubClosed, match="closed before"):
            hub.request(Event("q"), timeout=600).run()
    assert not [record for record in caplog.records if "observer" in record.getMessage()]


async def _awaited(observable: Observable[Any]) -> Any:
    return await observable


def test_replies_from_several_threads_and_the_end_never_overlap() -> None:
    grammars = [Grammar() for _ in range(6)]
    with EventHub() as hub, hub.start():
        for n, grammar in enumerate(grammars):
            asked = Event("a", id=f"asked-{n}")
            grammar.observe(hub.request(asked, timeout=0.002 * n), NewThreadScheduler())

            def reply(asked: Event = asked, grammar: Grammar = grammar) -> None:
                while not grammar.ended:
                    answer = Event("ftrack.meta.reply", in_reply_to_event=asked.id, target=f"id={hub.id}")
                    hub.publish(answer, synchronous=True)

            at_once(reply, reply, reply)
    assert [grammar.mistakes for grammar in grammars] == [[]] * 6
    assert any(grammar.values for grammar in grammars)


def test_an_event_under_way_in_another_thread_is_not_overlapped_by_the_end_of_its_pipeline() -> None:
    entered, leave, told = Flag(), Flag(), []

    def slow(event: Event) -> None:
        entered.set()
        assert leave.wait(LIMIT)
        told.append("observed")

    hub = EventHub()
    hub.on("topic=a").subscribe(slow, on_completed=lambda: told.append("completed"))
    with elsewhere(hub.publish, Event("a"), True):
        assert entered.wait(LIMIT)
        hub.close()
        assert told == []
        leave.set()
    assert told == ["observed", "completed"]


def test_the_present_state_and_a_further_one_never_overlap() -> None:
    numbers = count()
    with EventHub() as hub, hub.start():
        done = Flag()

        def change() -> None:
            while not done.is_set():
                hub._link.on_state(ConnectionState(Phase.CONNECTED, f"change {next(numbers)}"))
                Flag().wait(0.001)

        with elsewhere(change):
            grammars = [Grammar() for _ in range(20)]
            try:
                for grammar in grammars:
                    with grammar.observe(hub.state):
                        until(lambda: grammar.values)
            finally:
                done.set()
    assert [grammar.mistakes for grammar in grammars] == [[]] * 20
