"""Joining a group requires its settings."""

from __future__ import annotations

from typing import Any

import pytest

from rxhub import EventHub
from rxhub.errors import GroupError, StreamError
from rxhub.testing import Nats
from tests.threads import LIMIT, at_once, until
from tests.transport.nats.processing.working import Seen, another, ask, config, is_idle, publish, write


def test_only_what_may_match_and_what_is_retried_is_sent_to_a_group(hub: EventHub, nats: Nats) -> None:
    hub.process("topic=a.b and data.x=1 or topic=c.*", print, group="g")
    assert sorted(config(hub, "g")["filter_subjects"]) == [
        f"{nats.stream}.event.a.b",
        f"{nats.stream}.event.c.>",
        f"{nats.stream}.retry.g.>",
    ]


@pytest.mark.parametrize("group", ["g", "Bild & Ton: Ingest / 2", "a.b", "ü" * 300, "*", ">", "a--b"])
def test_a_group_may_have_any_name(hub: EventHub, group: str) -> None:
    seen, dead = Seen(), Seen()

    def handle(event: Any) -> None:
        (seen if event.data["value"] == 1 or dead else dead)(event)
        if seen == []:
            raise ValueError

    with hub.process("topic=a", handle, group=group, retries=0, once=True) as processing:
        publish(hub, "a", 2)
        until(lambda: processing.counts.dead)
        assert [letter.group for letter in hub.dead_letters.list(group)] == [group]
        assert hub.dead_letters.retry("all", group) == 1
        assert seen.wait(1) == [2]


@pytest.mark.parametrize(
    "others",
    [{"subscription": "topic=b"}, {"sequential": True}, {"key": "data.value"}, {"once": True}],
    ids=lambda others: next(iter(others)),
)
def test_who_comes_with_other_terms_is_refused_and_told_which(hub: EventHub, others: dict[str, Any]) -> None:
    hub.process("topic=a", print, group="g")
    with pytest.raises(GroupError) as refused:
        hub.process(**{"subscription": "topic=a", "handler": print, "group": "g", **others})
    said = str(refused.value)
    assert "replace=True" in said and "the group has" in said
    assert len(hub._processings._running) == 1


def test_terms_are_replaced_on_demand_and_those_on_the_old_ones_end(hub: EventHub, nats: Nats) -> None:
    old, new = Seen(), Seen()
    with another(nats) as other:
        before = hub.process("topic=a", old, group="g")
        publish(other, "a", 1)
        old.wait(1)
        after = other.process("topic=b", new, group="g", replace=True)
        # Whichever process receives an event, none is skipped.
        publish(other, "b", *range(100))
        assert sorted(new.wait(100)) == list(range(100))
        until(lambda: not before.is_active)
        with pytest.raises(GroupError, match="settings of the group were replaced"):
            before.wait(LIMIT)
        until(lambda: is_idle(other, "g"))
        assert old == [1] and after.counts.skipped == 0


def test_the_order_of_a_group_may_be_replaced_too(hub: EventHub) -> None:
    orders: list[dict[str, Any]] = [{}, {"sequential": True}, {"key": "data.value"}, {"once": True}]
    seen = Seen()
    for number, order in enumerate([*orders, *reversed(orders)]):
        with hub.process("topic=a", seen, group="g", replace=True, **order):
            publish(hub, "a", number)
            assert seen.wait(number + 1)[-1] == number


def test_what_may_change_with_a_version_of_rxhub_is_changed_without_asking(hub: EventHub) -> None:
    hub.process("topic=a", print, group="g").stop()
    write(hub, config(hub, "g") | {"ack_wait": 5_000_000_000, "max_ack_pending": 7}, "update")
    hub.process("topic=a", print, group="g").stop()
    assert (config(hub, "g")["ack_wait"], config(hub, "g")["max_ack_pending"]) == (45_000_000_000, -1)


def test_a_consumer_of_another_program_is_left_alone(hub: EventHub) -> None:
    write(hub, {"durable_name": "g", "ack_policy": "none"}, "create")
    for replace in (False, True):
        with pytest.raises(GroupError, match="is not a group of rxhub"):
            hub.process("topic=a", print, group="g", replace=replace)


def test_processes_that_come_at_the_same_time_make_one_group(hub: EventHub, nats: Nats) -> None:
    seen = Seen()
    with another(nats) as second, another(nats) as third:
        at_once(*[lambda each=each: each.process("topic=a", seen, group="g") for each in (hub, second, third)])
        publish(hub, "a", *range(60))
        assert sorted(seen.wait(60)) == list(range(60))


def test_a_group_that_is_deleted_is_made_again_where_it_was(hub: EventHub) -> None:
    seen = Seen()
    with hub.process("topic=a", seen, group="g") as processing:
        publish(hub, "a", 1, 2)
        seen.wait(2)
        until(lambda: is_idle(hub, "g"))
        ask(hub, "CONSUMER.DELETE.{stream}.g")
        publish(hub, "a", 3, 4)
        assert seen.wait(4) == [1, 2, 3, 4]
        assert processing.is_active


def test_a_stream_that_is_deleted_is_made_again_and_counts_anew(hub: EventHub) -> None:
    seen = Seen()
    with hub.process("topic=a", seen, group="g"):
        publish(hub, "a", 1, 2, 3)
        seen.wait(3)
        ask(hub, "STREAM.DELETE.{stream}")
        until(lambda: _is_there(hub, "g"))
        publish(hub, "a", 4, 5)
        assert seen.wait(5) == [1, 2, 3, 4, 5]


def _is_there(hub: EventHub, group: str) -> bool:
    try:
        config(hub, group)
    except StreamError:
        return False
    return True
