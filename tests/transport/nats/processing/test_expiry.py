"""An event that the stream deletes between two attempts is a dead letter, or is at least named and counted."""

from __future__ import annotations

import pytest

from rxhub import Event, EventHub
from tests.threads import until
from tests.transport.nats.processing.working import ask, publish


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
    assert letter.reason == "OSError: away The stream deletes it before the next attempt."


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


def test_an_event_that_was_deleted_while_no_process_ran_is_named_and_counted(
    hub: EventHub, caplog: pytest.LogCaptureFixture
) -> None:
    with hub.process("topic=a", fail, group="g", backoff=300.0) as processing:
        publish(hub, "a", 1, id="the-event")
        until(lambda: processing.counts.retried == 1)
    ask(hub, "STREAM.PURGE.{stream}")
    with hub.process("topic=a", fail, group="g", backoff=300.0) as processing:
        assert processing.counts.expired == 1
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
