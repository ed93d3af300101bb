"""Events that wait for a retry, or for others of their key, do not delay other events."""

from __future__ import annotations

import logging
from concurrent.futures import Future
from threading import Event as Flag
from time import sleep
from typing import Any

import pytest

from rxhub import Event, EventHub
from rxhub.testing import Nats
from tests.threads import LIMIT, until
from tests.transport.nats.processing.working import another, ask, config, is_idle


def store(hub: EventHub, *events: tuple[str, int]) -> None:
    """Publish and store one event for each key and number, in order."""
    futures = [hub.publish(Event("a", data={"key": key, "value": value})) for key, value in events]
    for future in futures:
        assert isinstance(future, Future)
        future.result(LIMIT)


class Failing:
    """A handler that fails for the keys in `keys`."""

    def __init__(self, *keys: str) -> None:
        self.keys = set(keys)
        self.seen: list[tuple[str, int]] = []

    def __call__(self, event: Event) -> None:
        key, value = event.data["key"], event.data["value"]
        if key in self.keys:
            raise OSError("away")
        self.seen.append((key, value))

    def values(self, key: str) -> list[int]:
        return [value for own, value in list(self.seen) if own == key]


KEYED: dict[str, Any] = {"group": "g", "key": "data.key", "retries": 1_000, "backoff": 0.05}


def test_a_failing_key_holds_up_no_other_however_many_events_wait_behind_it(hub: EventHub) -> None:
    failing = Failing("bad")
    with hub.process("topic=a", failing, **KEYED) as processing:
        store(hub, *(("bad", number) for number in range(4_000)), ("good", 1))
        until(lambda: failing.values("good") == [1])
        until(lambda: processing.counts.failed > 0)
        assert not failing.values("bad")
        failing.keys.clear()
        until(lambda: processing.counts.handled == 4_001)
    assert failing.values("bad") == list(range(4_000))
    assert processing.counts.dead == processing.counts.expired == 0
    assert is_idle(hub, "g")


def test_a_slow_key_holds_up_no_other(hub: EventHub) -> None:
    seen: list[str] = []
    free = Flag()

    def handle(event: Event) -> None:
        key = event.data["key"]
        if key == "slow":
            assert free.wait(LIMIT)
        seen.append(key)

    with hub.process("topic=a", handle, group="g", key="data.key", concurrency=2) as processing:
        store(hub, *(("slow", number) for number in range(3_000)), ("quick", 1))
        until(lambda: seen == ["quick"])
        free.set()
        until(lambda: processing.counts.handled == 3_001)


def test_many_failing_keys_hold_up_no_other(hub: EventHub) -> None:
    bad = [f"bad{number}" for number in range(2_000)]
    failing = Failing(*bad)
    with hub.process("topic=a", failing, **(KEYED | {"backoff": 30.0})) as processing:
        store(hub, *((key, 1) for key in bad), ("good", 1))
        until(lambda: failing.values("good") == [1])
        until(lambda: processing.counts.failed == 2_000)


def test_events_that_wait_behind_their_key_are_handed_back_in_order(hub: EventHub, nats: Nats) -> None:
    failing = Failing("bad")
    first = hub.process("topic=a", failing, **KEYED)
    store(hub, *(("bad", number) for number in range(1_500)), ("good", 1))
    until(lambda: failing.values("good") == [1])
    first.stop()
    failing.keys.clear()
    with another(nats) as other:
        processing = other.process("topic=a", failing, **KEYED)
        until(lambda: processing.counts.handled == 1_500)
    assert failing.values("bad") == list(range(1_500)) and failing.values("good") == [1]


@pytest.mark.usefixtures("impatient")
def test_events_that_wait_behind_their_key_stay_with_their_process(hub: EventHub) -> None:
    failing = Failing("bad")
    with hub.process("topic=a", failing, **KEYED) as processing:
        store(hub, *(("bad", number) for number in range(2_000)), ("good", 1))
        until(lambda: failing.values("good") == [1])
        # Several times as long as the server waits for a message that no process reports as in progress.
        sleep(4.0)
        assert failing.seen == [("good", 1)]
        failing.keys.clear()
        until(lambda: processing.counts.handled == 2_001)
    assert failing.values("bad") == list(range(2_000))


def test_an_event_that_the_stream_deletes_while_it_waits_behind_its_key_is_counted_and_named(
    hub: EventHub, caplog: pytest.LogCaptureFixture
) -> None:
    failing = Failing("bad")
    with hub.process("topic=a", failing, **KEYED) as processing:
        store(hub, *(("bad", number) for number in range(3_000)), ("good", 1))
        until(lambda: failing.values("good") == [1])
        ask(hub, "STREAM.PURGE.{stream}")
        failing.keys.clear()
        until(lambda: sum(processing.counts[:1]) + processing.counts.expired == 3_001)
        assert processing.counts.expired
    assert "not in the stream any more" in caplog.text


def test_an_event_that_waits_for_a_retry_holds_up_no_other(hub: EventHub) -> None:
    failing = Failing("bad")
    with hub.process("topic=a", failing, group="g", retries=5, backoff=60.0, concurrency=20) as processing:
        store(hub, *(("bad", number) for number in range(3_000)), ("good", 1))
        until(lambda: failing.values("good") == [1])
        until(lambda: processing.counts.retried == 3_000)
        store(hub, ("good", 2))
        until(lambda: failing.values("good") == [1, 2])
    assert config(hub, "g")["max_ack_pending"] == -1


def test_a_group_warns_before_its_limit_is_reached(hub: EventHub, nats: Nats, caplog: pytest.LogCaptureFixture) -> None:
    failing = Failing("bad")
    options = KEYED | {"backoff": 60.0, "max_waiting": 10}
    with caplog.at_level(logging.WARNING, "rxhub"):
        hub.process("topic=a", failing, **options)
        store(hub, *(("bad", number) for number in range(9)))
        until(lambda: ask(hub, "CONSUMER.INFO.{stream}.g")["num_ack_pending"] == 9)
        # Each process reads the state of the group at least every ten seconds.
        until(lambda: "9 of at most 10 events in flight" in caplog.text)
    (group,) = [group for stream in hub.streams() if stream.name == nats.stream for group in stream.groups]
    assert (group.pending, group.limit) == (9, 10)


def test_a_limit_that_the_server_sets_is_kept_to(hub: EventHub) -> None:
    found = ask(hub, "STREAM.INFO.{stream}")["config"]
    ask(hub, "STREAM.UPDATE.{stream}", found | {"consumer_limits": {"max_ack_pending": 50}})
    with hub.process("topic=a", Failing(), **KEYED) as processing:
        store(hub, *(("good", number) for number in range(100)))
        until(lambda: processing.counts.handled == 100)
    assert 0 < config(hub, "g")["max_ack_pending"] <= 50
    with hub.process("topic=a", Failing(), group="other") as processing:
        store(hub, ("good", 1))
        until(lambda: processing.counts.handled == 1)
