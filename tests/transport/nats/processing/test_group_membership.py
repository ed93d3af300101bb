"""A process recreates a lost consumer of its group, and stops when the settings are replaced."""

from __future__ import annotations

from threading import Event as Flag
from typing import Any

import pytest

from rxhub import Event, EventHub
from rxhub.errors import GroupError, StreamError
from rxhub.testing import Nats
from rxhub.transport.nats.processing.processing import Processing
from tests.threads import LIMIT, until
from tests.transport.nats.processing.made import hold
from tests.transport.nats.processing.working import Seen, another, ask, config, is_idle, publish, write

# As `nats consumer rm` does.
DELETE = "CONSUMER.DELETE.{stream}.g"

# Lost consumers


class Failing(Seen):
    """A handler that raises for the values in `failing`.

    Args:
        values: the initial values of `failing`.
    """

    def __init__(self, *values: int) -> None:
        super().__init__()
        self.failing = set(values)

    def __call__(self, event: Event) -> None:
        super().__call__(event)
        if event.data["value"] in self.failing:
            raise ValueError(event.data["value"])


def floor(processing: Processing) -> int:
    """The ack floor that the process knows."""
    worker: Any = processing._worker
    return worker._group.floor


def die(hub: EventHub, processing: Processing) -> None:
    """Disconnect, like a killed process."""
    worker: Any = processing._worker
    transport: Any = hub._link.transport
    transport.call(worker._link.close())


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
        ask(hub, DELETE)
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
        # It joins while the first one works: with a key it is on standby, without one it receives some events.
        idle = other.process("topic=a", two, group="g", **order)
        publish(other, "a", *range(1, 20))
        until(lambda: len(one) + len(two) == 20)
        until(lambda: floor(idle) == 20)
        working.stop()
        ask(other, DELETE)
        publish(other, "a", 20, 21)
        until(lambda: {20, 21} <= set(two))
        assert len(one) + len(two) == 22


def test_what_waits_for_its_next_attempt_comes_again(hub: EventHub) -> None:
    handle = Failing(0)
    with hub.process("topic=a", handle, group="g", backoff=3) as processing:
        worker: Any = processing._worker
        publish(hub, "a", 0, 1)
        until(lambda: len(handle) == 2 and not worker._in_flight.jobs)
        handle.failing.clear()
        ask(hub, DELETE)
        assert handle.wait(3)[2] == 0
        publish(hub, "a", 2)
        until(lambda: processing.counts.handled == 3 and is_idle(hub, "g"))
        # A process remembers what it has handled itself.
        assert sorted(handle) == [0, 0, 1, 2] and len(hub.dead_letters) == 0


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
        ask(other, DELETE)
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
        ask(hub, DELETE)
        publish(hub, "a", 3)
        until(lambda: second.counts.handled + second.counts.skipped == 4)
        assert sorted(seen) == ([0, 3] if once else [0, 1, 2, 3])
        assert second.counts.skipped == (2 if once else 0)


# Other settings


BY_KEY = {"key": "data.value"}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("before", "after"),
    [({}, BY_KEY), (BY_KEY, {}), ({}, {"sequential": True}), ({"once": True}, {}), ({"sequential": True}, BY_KEY)],
    ids=str,
)
def test_who_is_replaced_by_another_order_ends_though_it_gets_no_event(
    hub: EventHub, nats: Nats, before: dict[str, Any], after: dict[str, Any]
) -> None:
    old, new = Seen(), Seen()
    with another(nats) as other:
        replaced = hub.process("topic=a", old, group="g", **before)
        publish(other, "a", 1)
        old.wait(1)
        other.process("topic=a", new, group="g", replace=True, **after)
        with pytest.raises(GroupError, match="settings of the group were replaced"):
            replaced.wait(LIMIT)
        assert not replaced.is_active
        publish(other, "a", 2)
        assert new.wait(1) == [2] and old == [1]


@pytest.mark.parametrize("after", [{"subscription": "topic=b"}, {"key": "data.value"}], ids=str)
def test_who_finds_the_group_made_anew_on_other_terms_ends(hub: EventHub, nats: Nats, after: dict[str, Any]) -> None:
    new = Seen()
    with another(nats) as other:
        old = hub.process("topic=a", print, group="g")
        anew = _config_of(other, **after)
        # The old process may recreate the group first.
        until(lambda: _replaced(hub, anew))
        other.process(**{"subscription": "topic=a", "handler": new, "group": "g", **after})
        with pytest.raises(GroupError, match="settings of the group were replaced"):
            old.wait(LIMIT)
        assert not old.is_active and not hub._processings
        publish(other, after.get("subscription", "topic=a").removeprefix("topic="), 1)
        assert new.wait(1) == [1]


def _replaced(hub: EventHub, config: dict[str, Any]) -> bool:
    """Delete the group and recreate it with this configuration; False if another process recreates it first."""
    ask(hub, DELETE)
    try:
        write(hub, config, "create")
    except StreamError:
        return False
    return True


def _config_of(hub: EventHub, **options: Any) -> dict[str, Any]:
    """The configuration of a consumer of a group with these options."""
    hub.process(**{"subscription": "topic=a", "handler": print, "group": "model", **options}).stop()
    made = config(hub, "model")
    metadata = made["metadata"] | {"rxhub.group": "g"}
    ask(hub, "CONSUMER.DELETE.{stream}.model")
    return made | {"durable_name": "g", "name": "g", "description": "", "metadata": metadata}
