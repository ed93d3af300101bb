"""`memory://name`: hubs of one process that see each other's events."""

from __future__ import annotations

import asyncio
import gc
from concurrent.futures import Future
from typing import Any

import pytest

from rxhub import Event, EventHub
from rxhub.errors import HubConnectionError, Overflow
from rxhub.expression import parse
from rxhub.transport import memory
from rxhub.transport.connection_state import ConnectionState, Phase
from rxhub.transport.memory import MemoryTransport
from tests.threads import at_once, eager_collection, elsewhere, run_script

pytestmark = pytest.mark.filterwarnings("ignore::rxhub.errors.NotHandledWarning")


class Inbox:
    """A sink that keeps what it is told."""

    def __init__(self, *, full: bool = False) -> None:
        self.events: list[Event] = []
        self.states: list[Phase] = []
        self.full = full

    def on_event(self, event: Event) -> bool:
        if not self.full:
            self.events.append(event)
        return not self.full

    def on_state(self, state: ConnectionState) -> None:
        self.states.append(state.phase)


def opened(name: str = "", *, full: bool = False) -> tuple[MemoryTransport, Inbox]:
    transport, inbox = MemoryTransport(name), Inbox(full=full)
    transport.open(inbox)
    return transport, inbox


def test_all_under_one_name_get_an_envelope_of_their_own() -> None:
    (one, first), (_, second), (_, stranger) = opened("studio"), opened("studio"), opened("other")
    event = Event("a", data={"n": 1})

    assert one.send(event).result(0) is None

    assert first.events == second.events == [event] and stranger.events == []
    assert len({id(event), id(first.events[0]), id(second.events[0])}) == 3
    assert first.events[0].data is second.events[0].data is event.data


def test_without_a_name_a_network_is_its_own() -> None:
    (one, first), (_, second) = opened(), opened()
    one.send(Event("a"))
    assert len(first.events) == 1 and second.events == []


def test_sending_needs_an_open_transport() -> None:
    transport = MemoryTransport("studio")
    with pytest.raises(HubConnectionError, match=r"connect\(\)"):
        transport.send(Event("a")).result(0)
    transport.open(Inbox())
    transport.close().result(0)
    with pytest.raises(HubConnectionError):
        transport.send(Event("a")).result(0)


def test_states_are_told() -> None:
    transport, inbox = opened()
    transport.close()
    transport.close()
    transport.open(inbox)
    assert inbox.states == [Phase.CONNECTED, Phase.DISCONNECTED, Phase.CONNECTED]


def test_what_its_own_inbox_refuses_nobody_gets() -> None:
    (one, _), (_, second) = opened("studio", full=True), opened("studio")
    with pytest.raises(Overflow, match=r"inbox is full and refused a\.b"):
        one.send(Event("a.b")).result(0)
    assert second.events == []


def test_another_hub_that_refuses_does_not_concern_the_publisher() -> None:
    (one, first), (_, second), (_, third) = opened("studio"), opened("studio", full=True), opened("studio")
    one.send(Event("a")).result(0)
    assert [len(inbox.events) for inbox in (first, second, third)] == [1, 0, 1]


def test_interest_changes_nothing() -> None:
    transport, inbox = opened()
    transport.add_subscription("x", parse("topic=b"), {})
    transport.send(Event("a"))
    transport.remove_subscription("x")
    transport.remove_subscription("unknown")
    assert len(inbox.events) == 1


def test_the_future_of_an_accepted_event_cannot_be_spoilt() -> None:
    transport, _ = opened()
    sent, told = transport.send(Event("a")), []
    assert isinstance(sent, Future) and not sent.cancel()
    sent.add_done_callback(told.append)
    assert told == [sent] and transport.send(Event("a")).done()

    async def main() -> Any:
        return await asyncio.wrap_future(transport.send(Event("a")))

    assert asyncio.run(main()) is None


def test_coming_and_going_while_others_send() -> None:
    sender, inbox = opened("busy")

    def come_and_go() -> None:
        for _ in range(300):
            opened("busy")[0].close()

    def send() -> None:
        for _ in range(300):
            sender.send(Event("a")).result(0)

    at_once(come_and_go, send, come_and_go, send)
    assert len(inbox.events) == 600
    assert len(sender._network.sinks) == 1


# The life of a network


def test_a_network_lives_as_long_as_a_hub_holds_it() -> None:
    transport, _ = opened("short-lived")
    assert "short-lived" in memory._networks
    del transport
    gc.collect()
    assert "short-lived" not in memory._networks


def test_a_dropped_hub_is_collected_and_its_network_forgets_it() -> None:
    kept = EventHub("memory://shared")
    gone = EventHub("memory://shared")
    gone.subscribe("", print)
    gone.on("").subscribe(print)
    network = kept._link.transport._network
    assert len(network.sinks) == 2
    del gone
    gc.collect()
    assert len(network.sinks) == 1
    kept.publish(Event("a"))
    kept.close()
    assert network.sinks == {}


def test_hubs_may_be_collected_in_the_middle_of_anything() -> None:
    kept = EventHub("memory://eager")

    def work() -> None:
        for _ in range(150):
            hub = EventHub("memory://eager")
            hub.subscribe("topic=a", print)
            kept.publish(Event("b"))

    with eager_collection(), elsewhere(work):
        pass
    gc.collect()
    assert len(kept._link.transport._network.sinks) == 1
    kept.close()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("memory://studio", "memory://studio", True),
        ("memory://studio", "MEMORY://studio", True),
        ("memory://studio", "memory://studio/", True),
        ("memory://studio", "memory://me:secret@studio", True),
        ("memory://studio", "memory://Studio", False),
        ("memory://studio/a", "memory://studio/b", False),
        ("memory://", "memory://", False),
        ("memory:///", "memory://", False),
        ("memory://\N{SNOWMAN}", "memory://\N{SNOWMAN}", True),
    ],
)
def test_which_urls_are_one_network(one: str, other: str, same: bool) -> None:
    with EventHub(one) as here, EventHub(other) as there:
        here.publish(Event("a"))
        assert there.drain() == same
        here.drain()


def test_a_child_process_has_free_locks() -> None:
    assert run_script("""
import os, signal, threading
from rxhub import Event, EventHub
hub = EventHub("memory://studio")
stop = False
def publish():
    while not stop:
        hub.publish(Event("a")).result()
        hub.drain()
# Warns that the hub is not running. In Python 3.14, the lock of `warnings` stays locked in a child that is forked while
# another thread warns.
hub.publish(Event("a")); hub.drain()
threads = [threading.Thread(target=publish, daemon=True) for _ in range(1)]
for thread in threads: thread.start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        assert hub.connected
        one, two = EventHub("memory://studio"), EventHub("memory://studio")
        one.publish(Event("b")).result()
        assert [h.drain() for h in (hub, one, two)] == [1, 1, 1]
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
stop = True
for thread in threads: thread.join()
print("done")
""").split() == ["done"]


def test_subscribers_need_no_announcement() -> None:
    hub = EventHub()
    assert hub.subscriptions_synced
    hub.close()
    assert not hub.subscriptions_synced
