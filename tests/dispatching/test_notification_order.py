"""What a signal and ftrack's hub tell of joining and leaving is in the order of what happened, under threads too."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from threading import Thread
from typing import Any

import pytest

from rxhub.compat.ftrack.exception import NotFoundError, NotUniqueError
from rxhub.compat.ftrack.hub import EventHub as FtrackHub
from rxhub.concurrency.ordered_calls import OrderedCalls
from rxhub.errors import ScopeClosed
from rxhub.rx.scope import Scope
from rxhub.server import running
from rxhub.signals.signal import Signal
from tests.threads import LIMIT, at_once, elsewhere, until


@pytest.fixture(autouse=True)
def _switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def nothing(**_: Any) -> None:
    """A receiver."""


def test_a_signal_tells_of_connecting_before_disconnecting_whichever_thread_is_faster() -> None:
    signal: Signal[...] = Signal("busy")
    present: set[int] = set()
    wrong: list[str] = []

    def joined(connection: Any, **_: Any) -> None:
        if id(connection) in present:
            wrong.append("connected twice")
        present.add(id(connection))

    def left(connection: Any, **_: Any) -> None:
        if id(connection) not in present:
            wrong.append("disconnected before it was connected")
        present.discard(id(connection))

    signal.connected.connect(joined)
    signal.disconnected.connect(left)
    kept: list[Any] = []  # an id is used again only after its object is gone

    def connect() -> None:
        for _ in range(1500):
            signal.connect(nothing, weak=False)
            kept.extend(signal.connections)

    def disconnect() -> None:
        for _ in range(1500):
            signal.disconnect(nothing)

    at_once(connect, disconnect, connect, disconnect)
    signal.disconnect(nothing)
    assert not wrong and not present


def test_a_receiver_of_connected_may_wait_for_a_thread_that_connects() -> None:
    signal: Signal[...] = Signal("busy")
    told: list[Any] = []

    def other(**_: Any) -> None: ...

    def joined(connection: Any, **_: Any) -> None:
        told.append(connection.receiver)
        if len(told) == 1:
            elsewhere(signal.connect, other).join()

    signal.connected.connect(joined)
    signal.connect(nothing)
    assert told == [nothing, other]


@pytest.mark.parametrize(
    "disconnect",
    [lambda signal: signal.disconnect(nothing), lambda signal: elsewhere(signal.disconnect, nothing).join()],
    ids=["here", "in another thread"],
)
def test_who_is_disconnected_while_connecting_is_told_is_told_to_have_left_after_it(disconnect: Any) -> None:
    signal: Signal[...] = Signal("busy")
    told: list[str] = []

    def joined(connection: Any, **_: Any) -> None:
        disconnect(signal)
        told.append("+")

    signal.connected.connect(joined)
    signal.disconnected.connect(lambda **_: told.append("-"), weak=False)
    signal.connect(nothing)
    assert told == ["+", "-"]


def test_an_owner_keeps_nothing_of_what_is_disconnected_before_it_is_kept() -> None:
    signal: Signal[...] = Signal("owned")

    class Slow(Scope):
        def add(self, leave: Any) -> None:
            elsewhere(signal.disconnect, nothing).join()
            super().add(leave)

    owner = Slow("plugin")
    with owner.registering():
        signal.connect(nothing)
    assert len(owner) == 0 and not signal.connections


def test_an_owner_keeps_nothing_of_what_another_thread_disconnects_at_once() -> None:
    signal: Signal[...] = Signal("owned")
    owner = Scope("plugin")

    def connect() -> None:
        with owner.registering():
            for _ in range(3000):
                signal.connect(nothing)

    def disconnect() -> None:
        for _ in range(6000):
            signal.disconnect(nothing)

    at_once(connect, disconnect)
    signal.disconnect(nothing)
    assert len(owner) == 0


def test_what_an_owner_that_has_left_connects_is_told_to_have_left() -> None:
    signal: Signal[...] = Signal("owned")
    told: list[str] = []
    signal.connected.connect(lambda **_: told.append("+"), weak=False)
    signal.disconnected.connect(lambda **_: told.append("-"), weak=False)
    owner = Scope("plugin")
    owner.close()
    with owner.registering(), pytest.raises(ScopeClosed):
        signal.connect(nothing)
    assert told == ["+", "-"] and not signal.connections


def test_ftrack_s_hub_does_not_announce_who_has_left_before_it_is_announced() -> None:
    class Slow(FtrackHub):
        def _notify_server_about_subscriber(self, subscriber: Any) -> None:
            if subscriber.id == "brief" and subscriber.alive:
                elsewhere(self.unsubscribe, "brief").join()
            super()._notify_server_about_subscriber(subscriber)

    with running() as server:
        hub = Slow(server.url, server.api_user, server.api_key)
        hub.connect()
        hub.subscribe("topic=a", print, {"id": "brief"})
        hub.subscribe("topic=a", print, {"id": "lasting"})
        until(lambda: not hub._packet_callbacks)  # everything is acknowledged
        assert server.stats["subscriptions"] == 2
        hub.close()


def test_ftrack_s_hub_leaves_no_subscriber_announced_that_has_left() -> None:
    with running() as server:
        hub = FtrackHub(server.url, server.api_user, server.api_key)
        hub.connect()

        def join() -> None:
            for _ in range(150):
                try:
                    hub.subscribe("topic=a", print, {"id": "same"})
                except NotUniqueError:
                    pass

        def leave() -> None:
            for _ in range(300):
                try:
                    hub.unsubscribe("same")
                except NotFoundError:
                    pass

        at_once(join, leave, join, leave)
        with_replies = 1 + any(subscriber.metadata["id"] == "same" for subscriber in hub._subscribers)
        until(lambda: not hub._packet_callbacks)  # everything is acknowledged
        assert server.stats["subscriptions"] == with_replies
        # The last one to come is announced.
        if with_replies == 1:
            hub.subscribe("topic=a", print, {"id": "same"})
        until(lambda: server.stats["subscriptions"] == 2)
        hub.close()


def test_calls_that_raise_keep_back_no_others_and_reach_who_has_queued_them(caplog: pytest.LogCaptureFixture) -> None:
    calls: OrderedCalls[int] = OrderedCalls()
    made: list[int] = []

    def fail(number: int) -> None:
        made.append(number)
        raise ValueError(f"number {number}")

    other, own = (fail, 1), (fail, 2)
    for call in (other, own, (made.append, 3)):
        calls.add(call)
    with pytest.raises(ValueError, match="number 2"):
        calls.run(own, wait=True)
    assert made == [1, 2, 3] and "number 1" in caplog.text


def test_a_call_is_made_by_the_thread_that_makes_calls_if_another_one_does_not_wait() -> None:
    calls: OrderedCalls[int] = OrderedCalls()
    made: list[int] = []

    def first(number: int) -> None:
        def second() -> None:
            calls.add((made.append, 2))
            calls.run()

        thread = Thread(target=second)
        thread.start()
        thread.join(LIMIT)
        assert not thread.is_alive()
        made.append(number)

    calls.add((first, 1))
    calls.run()
    assert made == [1, 2]
