"""A group whose consumer is deleted, with whatever it knew, loses no event and begins nothing from the start."""

from __future__ import annotations

from threading import Event as Flag
from typing import Any

import pytest

from rxhub import Event, EventHub
from rxhub.testing import Nats
from rxhub.transport.nats.processing.processing import Processing
from tests.threads import until
from tests.transport.nats.processing.made import hold
from tests.transport.nats.processing.working import Seen, another, delete_group, is_idle, publish


class Failing(Seen):
    """A handler that raises at some values while it is told to.

    Args:
        values: at which.
    """

    def __init__(self, *values: int) -> None:
        super().__init__()
        self.failing = set(values)

    def __call__(self, event: Event) -> None:
        super().__call__(event)
        if event.data["value"] in self.failing:
            raise ValueError(event.data["value"])


def floor(processing: Processing) -> int:
    """Up to which sequence it knows everything to be done with."""
    processor: Any = processing._processor
    return processor._group.floor


def die(hub: EventHub, processing: Processing) -> None:
    """As if its process were gone: it says nothing more to the server."""
    processor: Any = processing._processor
    transport: Any = hub._link.transport
    transport.call(processor._link.close())


@pytest.mark.parametrize("order", [{}, {"key": "data.value"}, {"sequential": True}, {"once": True}])
def test_a_process_that_was_started_again_and_has_done_nothing_begins_behind_what_was_done(
    hub: EventHub, order: dict[str, Any]
) -> None:
    before, seen = Seen(), Seen()
    with hub.process("topic=a", before, group="g", **order):
        publish(hub, "a", *range(20))
        before.wait(20)
        until(lambda: is_idle(hub, "g"))
    with hub.process("topic=a", seen, group="g", **order):
        delete_group(hub, "g")
        publish(hub, "a", 20, 21)
        assert seen.wait(2) == [20, 21]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("order", [{}, {"key": "data.value"}])
def test_a_process_that_was_idle_while_others_worked_begins_behind_what_they_have_done(
    hub: EventHub, nats: Nats, order: dict[str, Any]
) -> None:
    one, two = Seen(), Seen()
    with another(nats) as other:
        working = hub.process("topic=a", one, group="g", **order)
        publish(other, "a", 0)
        one.wait(1)
        # It comes when the first is at work: by key it stands by, and without it is given something now and then.
        idle = other.process("topic=a", two, group="g", **order)
        publish(other, "a", *range(1, 20))
        until(lambda: len(one) + len(two) == 20)
        until(lambda: floor(idle) == 20)
        working.stop()
        delete_group(other, "g")
        publish(other, "a", 20, 21)
        until(lambda: {20, 21} <= set(two))
        assert len(one) + len(two) == 22


def test_what_waits_for_its_next_attempt_comes_again(hub: EventHub) -> None:
    handle = Failing(0)
    with hub.process("topic=a", handle, group="g", backoff=3) as processing:
        processor: Any = processing._processor
        publish(hub, "a", 0, 1)
        until(lambda: len(handle) == 2 and not processor._holding.jobs)
        handle.failing.clear()
        delete_group(hub, "g")
        assert handle.wait(3)[2] == 0
        publish(hub, "a", 2)
        until(lambda: processing.counts.handled == 3 and is_idle(hub, "g"))
        # What was done by this very process is known to it.
        assert sorted(handle) == [0, 0, 1, 2] and len(hub.dead) == 0


@pytest.mark.parametrize("order", [{}, {"key": "data.value"}])
def test_what_another_process_had_in_hand_comes_again_though_that_has_died(
    hub: EventHub, nats: Nats, order: dict[str, Any]
) -> None:
    going, begun, seen = Flag(), Seen(), Seen()

    def handle(event: Event) -> None:
        begun(event)
        hold(going)

    with another(nats) as other:
        dying = hub.process("topic=a", handle, group="g", **order)
        publish(other, "a", 0)
        begun.wait(1)
        other.process("topic=a", seen, group="g", **order)
        die(hub, dying)
        delete_group(other, "g")
        publish(other, "a", 1)
        assert sorted(seen.wait(2)) == [0, 1]
        going.set()
        dying.stop()


@pytest.mark.parametrize("once", [False, True])
def test_what_was_done_beyond_an_event_that_waits_may_be_done_again_and_is_not_with_the_store(
    hub: EventHub, once: bool
) -> None:
    before, seen = Failing(0), Seen()
    with hub.process("topic=a", before, group="g", backoff=1000, once=once) as first:
        publish(hub, "a", 0, 1, 2)
        until(lambda: first.counts.retried == 1 and first.counts.handled == 2)
    with hub.process("topic=a", seen, group="g", backoff=1000, once=once) as second:
        delete_group(hub, "g")
        publish(hub, "a", 3)
        until(lambda: second.counts.handled + second.counts.skipped == 4)
        assert sorted(seen) == ([0, 3] if once else [0, 1, 2, 3])
        assert second.counts.skipped == (2 if once else 0)
