"""Events that the stream deletes between two attempts become dead letters, or are logged and counted."""

from __future__ import annotations

from threading import Event as Flag
from typing import Any

import pytest

from rxhub import Event, EventHub
from rxhub.testing import Nats
from tests.threads import LIMIT, until
from tests.transport.nats.processing.working import another, ask, publish

KEYS = pytest.mark.parametrize("key", [None, "data.value"])


def fail(event: Event) -> None:
    raise OSError("away")


def limit_age(hub: EventHub, seconds: float) -> None:
    config = ask(hub, "STREAM.INFO.{stream}")["config"]
    age = int(seconds * 1_000_000_000)
    ask(hub, "STREAM.UPDATE.{stream}", config | {"max_age": age, "duplicate_window": age})


def test_an_event_that_would_be_too_old_for_its_next_attempt_is_a_dead_letter(hub: EventHub) -> None:
    limit_age(hub, 30.0)
    with hub.process("topic=a", fail, group="g", retries=5, backoff=100.0) as processing:
        publish(hub, "a", 1)
        until(lambda: processing.counts.dead == 1)
    (letter,) = hub.dead_letters.list()
    assert letter.attempts == 1
    assert letter.reason == "OSError: away The stream deletes the event before the next attempt."


def test_an_event_that_is_young_enough_is_tried_again(hub: EventHub) -> None:
    limit_age(hub, 3600.0)
    with hub.process("topic=a", fail, group="g", retries=2, backoff=0.01) as processing:
        publish(hub, "a", 1)
        until(lambda: processing.counts.dead == 1)
    (letter,) = hub.dead_letters.list()
    assert (letter.attempts, letter.reason) == (3, "OSError: away")


@pytest.mark.usefixtures("impatient")
def test_an_event_that_is_deleted_between_two_attempts_is_named_and_counted(
    hub: EventHub, caplog: pytest.LogCaptureFixture
) -> None:
    with hub.process("topic=a", fail, group="g", backoff=300.0) as processing:
        publish(hub, "a", 1, id="the-event")
        until(lambda: processing.counts.retried == 1)
        ask(hub, "STREAM.PURGE.{stream}")
        until(lambda: processing.counts.expired == 1)
    assert "has deleted a the-event (message 1) before its next attempt" in caplog.text
    assert "OSError: away" in caplog.text


@pytest.mark.usefixtures("impatient")
def test_an_event_that_was_deleted_while_no_process_ran_is_named_and_counted(
    hub: EventHub, caplog: pytest.LogCaptureFixture
) -> None:
    with hub.process("topic=a", fail, group="g", backoff=300.0) as processing:
        publish(hub, "a", 1, id="the-event")
        until(lambda: processing.counts.retried == 1)
    ask(hub, "STREAM.PURGE.{stream}")
    with hub.process("topic=a", fail, group="g", backoff=300.0) as processing:
        until(lambda: processing.counts.expired == 1)
    assert "a the-event (message 1)" in caplog.text


def test_an_event_that_was_handled_in_the_end_is_not_counted(hub: EventHub) -> None:
    seen: list[str] = []

    def handle(event: Event) -> None:
        seen.append(event.id)
        if len(seen) == 1:
            raise OSError("away")

    with hub.process("topic=a", handle, group="g", backoff=0.01) as processing:
        publish(hub, "a", 1)
        until(lambda: processing.counts.handled == 1)
    ask(hub, "STREAM.PURGE.{stream}")
    with hub.process("topic=a", handle, group="g") as processing:
        assert processing.counts.expired == 0


class FailingFirst:
    """A handler that fails so often, and then waits in each attempt for `may_end`."""

    def __init__(self, failures: int) -> None:
        self.begun = 0
        self.may_end = Flag()
        self._failures = failures

    def __call__(self, event: Event) -> None:
        self.begun += 1
        if self.begun <= self._failures:
            raise OSError("away")
        assert self.may_end.wait(LIMIT)


def records(hub: EventHub, group: str = "g") -> int:
    """The number of writes of attempt records."""
    return ask(hub, f"STREAM.INFO.KV_{{stream}}-attempts-{group}")["state"]["last_seq"]


@KEYS
@pytest.mark.usefixtures("impatient")
def test_an_event_that_is_deleted_while_it_is_tried_again_is_not_lost(
    hub: EventHub, nats: Nats, key: str | None
) -> None:
    handle = FailingFirst(1)
    options = {"group": "g", "key": key, "backoff": 0.01}
    with another(nats) as other, hub.process("topic=a", handle, **options) as one:
        publish(hub, "a", 1)
        until(lambda: handle.begun == 2)
        with other.process("topic=a", handle, **options) as two:
            ask(hub, "STREAM.PURGE.{stream}")
            # Each check renews the record; an event is lost after three checks without a renewal.
            written = records(hub)
            until(lambda: records(hub) >= written + 6)
            handle.may_end.set()
            until(lambda: one.counts.handled + two.counts.handled == 1)
        counts = [one.counts, two.counts]
    assert [sum(each) for each in zip(*counts, strict=True)] == [1, 1, 1, 0, 0, 0]
    assert handle.begun == 2


@pytest.mark.usefixtures("impatient")
def test_an_event_that_is_deleted_while_it_keeps_its_place_is_tried_again_and_not_lost(
    hub: EventHub, nats: Nats
) -> None:
    handle = FailingFirst(2)
    handle.may_end.set()
    with another(nats) as other, hub.process("topic=a", handle, group="g", key="data.value", backoff=2.0) as one:
        publish(hub, "a", 1)
        # A record exists from the second attempt on.
        until(lambda: one.counts.retried == 2)
        ask(hub, "STREAM.PURGE.{stream}")
        with other.process("topic=a", handle, group="g", key="data.value", backoff=2.0) as two:
            until(lambda: one.counts.handled == 1)
            assert (one.counts.expired, two.counts.expired) == (0, 0)
    assert handle.begun == 3


@KEYS
@pytest.mark.usefixtures("impatient")
def test_an_event_that_was_deleted_when_it_fails_is_a_dead_letter(hub: EventHub, key: str | None) -> None:
    begun, purged = Flag(), Flag()

    def fail_later(event: Event) -> None:
        begun.set()
        assert purged.wait(LIMIT)
        raise OSError("away")

    with hub.process("topic=a", fail_later, group="g", key=key, retries=5, backoff=100.0) as processing:
        publish(hub, "a", 1)
        assert begun.wait(LIMIT)
        ask(hub, "STREAM.PURGE.{stream}")
        worker: Any = processing._worker
        until(lambda: worker._retries._expiry._first > 1)
        purged.set()
        until(lambda: processing.counts.dead == 1)
    (letter,) = hub.dead_letters.list()
    assert letter.event is not None and letter.event.data == {"value": 1}
    assert letter.reason == "OSError: away The stream deletes the event before the next attempt."


@pytest.mark.usefixtures("impatient")
def test_a_deleted_event_is_lost_with_the_process_that_held_it(
    hub: EventHub, nats: Nats, caplog: pytest.LogCaptureFixture
) -> None:
    with another(nats) as other:
        one = hub.process("topic=a", fail, group="g", key="data.value", retries=50, backoff=0.6)
        publish(hub, "a", 1, id="the-event")
        until(lambda: one.counts.retried == 3)
        ask(hub, "STREAM.PURGE.{stream}")
        with other.process("topic=a", fail, group="g", key="data.value", retries=50, backoff=0.6) as two:
            one.stop()
            until(lambda: two.counts.expired == 1)
        assert one.counts.expired == 0
    assert "has deleted a the-event (message 1) before its next attempt" in caplog.text
