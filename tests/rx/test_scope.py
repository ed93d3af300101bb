"""What is registered in somebody's name leaves with him."""

from __future__ import annotations

import asyncio
import gc
import logging
from contextvars import copy_context
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub import Dispatcher, Event
from rxhub.errors import ScopeClosed
from rxhub.rx.scope import Scope, current_scope
from rxhub.signals.signal import Signal
from tests.threads import at_once, elsewhere


def test_nobody_is_present_unless_somebody_is() -> None:
    outer, inner = Scope("outer"), Scope("inner")
    assert current_scope() is None
    with outer.registering():
        assert current_scope() is outer
        with inner.registering() as registering:
            assert current_scope() is registering is inner
        assert current_scope() is outer
    assert current_scope() is None


def test_presence_ends_with_an_error_too() -> None:
    with pytest.raises(ValueError, match="x"), Scope("a").registering():
        raise ValueError("x")
    assert current_scope() is None


def test_a_task_started_in_it_is_in_it_and_a_thread_is_not() -> None:
    async def main() -> Any:
        with Scope("a").registering():
            inside = asyncio.create_task(who())
            with elsewhere(current_scope) as thread:
                assert thread.join() is None
        return await inside

    async def who() -> Scope | None:
        return current_scope()

    assert asyncio.run(main()).name == "a"


def test_registrations_are_undone_the_latest_first() -> None:
    owner, undone = Scope("a"), []
    for number in range(3):
        owner.add(lambda number=number: undone.append(number))
    assert len(owner) == 3 and not undone and repr(owner) == "<Scope a: 3 registrations>"
    owner.close()
    owner.close()
    assert undone == [2, 1, 0]
    assert owner.is_closed and len(owner) == 0 and repr(owner) == "<Scope a: closed>"


def test_what_was_undone_before_is_forgotten() -> None:
    class Registration:
        undone = 0

        def leave(self) -> None:
            self.undone += 1

    owner, kept, gone = Scope("a"), Registration(), Registration()
    owner.add(kept.leave)
    owner.add(gone.leave)
    owner.discard(gone.leave)
    owner.discard(gone.leave)
    owner.close()
    assert (kept.undone, gone.undone) == (1, 0)


def test_one_that_cannot_be_undone_leaves_the_others_undone(caplog: pytest.LogCaptureFixture) -> None:
    owner, undone = Scope("a"), []
    owner.add(lambda: undone.append(1))
    owner.add(lambda: 1 / 0)
    owner.add(lambda: undone.append(2))
    with caplog.at_level(logging.ERROR, "rxhub"):
        owner.close()
    assert undone == [2, 1]
    assert "A registration of a could not be undone: division by zero" in caplog.text


def test_undoing_may_register_and_undo() -> None:
    owner, undone = Scope("a"), []
    owner.add(first := lambda: undone.append("first"))

    def second() -> None:
        owner.discard(first)
        with pytest.raises(ScopeClosed):
            owner.add(lambda: undone.append("late"))

    owner.add(second)
    owner.close()
    assert undone == ["late"]


def test_who_has_left_registers_nothing() -> None:
    owner, undone = Scope("a"), []
    owner.close()
    with pytest.raises(ScopeClosed, match="in the name of a any more"):
        owner.add(lambda: undone.append(1))
    assert undone == [1]


def test_leaving_in_one_thread_while_another_registers_keeps_nothing() -> None:
    for _ in range(50):
        owner, signal, refused = Scope("a"), Signal(), []

        def register(owner: Scope = owner, signal: Signal = signal, refused: list[int] = refused) -> None:
            with owner.registering():
                for _ in range(20):
                    try:
                        signal.connect(lambda **named: None)
                    except ScopeClosed:
                        refused.append(1)

        at_once(register, owner.close, register)
        owner.close()
        assert signal.connections == () and len(owner) == 0


@given(st.lists(st.tuples(st.sampled_from(["subscribe", "unsubscribe", "connect", "disconnect"]), st.integers(0, 9))))
def test_an_owner_knows_exactly_what_is_registered(steps: list[tuple[str, int]]) -> None:
    owner, dispatcher, signal = Scope("a"), Dispatcher(), Signal()
    callbacks = [lambda *_, **named: None for _ in range(10)]
    ids, connected = set[str](), set[int]()
    with owner.registering():
        for step, number in steps:
            if step == "subscribe" and str(number) not in ids:
                dispatcher.subscribe("", print, {"id": str(number)})
                ids.add(str(number))
            elif step == "unsubscribe" and str(number) in ids:
                dispatcher.unsubscribe(str(number))
                ids.remove(str(number))
            elif step == "connect":
                signal.connect(callbacks[number])
                connected.add(number)
            elif step == "disconnect":
                signal.disconnect(callbacks[number])
                connected.discard(number)
            assert len(owner) == len(ids) + len(connected)
    owner.close()
    assert len(dispatcher) == 0 and signal.connections == ()


# Who asks


def test_subscribers_and_their_pipelines_leave() -> None:
    dispatcher, owner, seen = Dispatcher(), Scope("plugin"), []
    stranger = dispatcher.subscribe("", seen.append)
    with owner.registering():
        own = dispatcher.subscribe("", seen.append)
    assert (own.owner, stranger.owner) == (owner, None)
    owner.close()
    dispatcher.dispatch(Event("a"))
    assert len(seen) == 1 and dispatcher.subscribers == (stranger,)


def test_an_id_that_was_given_to_another_is_not_taken_from_him() -> None:
    dispatcher, owner = Dispatcher(), Scope("plugin")
    with owner.registering():
        dispatcher.subscribe("", print, {"id": "x"})
    dispatcher.unsubscribe("x")
    other = dispatcher.subscribe("", print, {"id": "x"})
    owner.close()
    assert dispatcher.subscribers == (other,)


def test_receivers_are_held_strongly_and_leave() -> None:
    signal, owner, seen = Signal(), Scope("plugin"), []

    def connect() -> None:
        signal.connect(lambda **named: seen.append(named["n"]))

    connect()
    with owner.registering():
        connect()
        signal.subscribe(lambda emission: seen.append(emission["n"]))
    gc.collect()
    signal.send(n=1)
    assert seen == [1, 1] and [connection.owner for connection in signal.connections] == [owner, owner]
    owner.close()
    signal.send(n=2)
    assert seen == [1, 1]


def test_what_a_callback_subscribes_later_is_its_owners() -> None:
    dispatcher, owner = Dispatcher(), Scope("plugin")
    with owner.registering():
        dispatcher.subscribe("topic=project", lambda event: dispatcher.subscribe("topic=shot", print) and None)
    copy_context().run(dispatcher.dispatch, Event("project"))
    assert len(owner) == 2
    owner.close()
    assert len(dispatcher) == 0


def test_a_task_that_outlives_its_owner_is_told() -> None:
    dispatcher, owner = Dispatcher(), Scope("plugin")
    with owner.registering():
        late = copy_context()
    owner.close()
    with pytest.raises(ScopeClosed, match="plugin"):
        late.run(dispatcher.subscribe, "", print)
    assert len(dispatcher) == 0
