"""`hub.process` on a real server: selection of events, and failures."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Event as Flag
from typing import Any

import pytest
from asgiref.sync import markcoroutinefunction

from rxhub import Event, EventHub
from rxhub.testing import Nats
from rxhub.transport.nats.processing import retries as retries_module
from rxhub.transport.nats.processing.failures import Failure
from rxhub.transport.nats.processing.filtering import MessageFilter
from rxhub.transport.nats.processing.processing import Counts
from rxhub.transport.nats.pull_consumer import Message
from tests.threads import LIMIT, until
from tests.transport.nats.processing.working import Seen, another, is_idle, publish, store

# Which events


def test_events_are_handled_though_nobody_handles_the_hub_and_acknowledged(hub: EventHub) -> None:
    seen = Seen()
    with hub.process("topic=shot.* and data.value > 1", seen, group="g") as processing:
        publish(hub, "shot.new", 1, 2, 3)
        publish(hub, "other", 4)
        assert seen.wait(2) == [2, 3]
        until(lambda: is_idle(hub, "g"))
        assert processing.counts == Counts(handled=2, failed=0, retried=0, dead=0, skipped=1)


def test_a_hub_that_was_never_connected_processes_on_a_connection_of_its_own(nats: Nats, hub: EventHub) -> None:
    seen = Seen()
    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as other:
        other.process("topic=a", seen, group="g")
        publish(hub, "a", 1)
        assert seen.wait(1) == [1]
        assert not other.connected


def test_processes_agree_however_they_write_their_subscription(hub: EventHub) -> None:
    one, two = Seen(), Seen()
    hub.process("topic=a and data.value>1", one, group="g")
    hub.process("  topic = a  and data.value > 1 ", two, group="g")
    publish(hub, "a", 2, 3)
    until(lambda: len(one + two) == 2)


def test_process_is_a_decorator_that_gives_back_the_function(hub: EventHub) -> None:
    seen: list[Any] = []

    @hub.process("topic=a", group="g")
    def handle(event: Event) -> str:
        seen.append(event.data["value"])
        return "handled"

    publish(hub, "a", 1)
    until(lambda: seen == [1])
    assert handle(Event("a", data={"value": 2})) == "handled"


def test_processes_of_a_group_share_events_and_groups_do_not(hub: EventHub, nats: Nats) -> None:
    one, two, other = Seen(), Seen(), Seen()
    with another(nats) as second:
        hub.process("topic=a", one, group="shared")
        second.process("topic=a", two, group="shared")
        hub.process("topic=a", other, group="other")
        publish(hub, "a", *range(200))
        until(lambda: len(one) + len(two) >= 200)
        assert sorted(one + two) == list(range(200)) and one and two
        assert other.wait(200) == list(range(200))


def test_a_group_misses_nothing_while_no_process_of_it_runs(hub: EventHub) -> None:
    seen = Seen()
    publish(hub, "a", "before the group")
    hub.process("topic=a", seen, group="g").stop()
    publish(hub, "a", 1, 2)
    with hub.process("topic=a", seen, group="g"):
        assert seen.wait(2) == [1, 2]


@pytest.mark.parametrize("since", ["first", 1, timedelta(hours=1), datetime.now(UTC) - timedelta(hours=1)])
def test_a_new_group_may_begin_in_the_past(hub: EventHub, since: Any) -> None:
    seen = Seen()
    publish(hub, "a", 1, 2)
    with hub.process("topic=a", seen, group="g", since=since):
        assert seen.wait(2) == [1, 2]
    # An existing group continues where it stopped.
    publish(hub, "a", 3)
    with hub.process("topic=a", seen, group="g", since=since):
        assert seen.wait(3) == [1, 2, 3]


def test_a_group_may_begin_at_a_sequence(hub: EventHub) -> None:
    seen = Seen()
    publish(hub, "a", 1, 2, 3)
    hub.process("topic=a", seen, group="g", since=3)
    assert seen.wait(1) == [3]


def test_an_event_with_a_target_is_handled_if_that_is_the_group(hub: EventHub) -> None:
    seen = Seen()
    with hub.process("topic=a", seen, group="g") as processing:
        publish(hub, "a", 1, target="id=h")
        publish(hub, "a", 2, target="id=g")
        publish(hub, "a", 3, target="id=")
        publish(hub, "a", 4)
        assert seen.wait(2) == [2, 4]
        until(lambda: processing.counts.skipped == 2 and is_idle(hub, "g"))


def test_replies_are_for_nobody_but_the_asker(hub: EventHub) -> None:
    seen = Seen()
    hub.process("topic=*", seen, group="g")
    source = Event("asked", source={"id": "asker"})
    hub.publish_reply(source, {"value": "reply"})
    publish(hub, "a", 1)
    assert seen.wait(1) == [1]


# Failures


def test_a_failing_event_is_tried_again_and_every_failure_is_told(hub: EventHub) -> None:
    failures: list[Failure] = []
    done = Flag()

    def handle(event: Event) -> None:
        if len(failures) < 2:
            raise ValueError(f"no {len(failures)}")
        done.set()

    with hub.process("topic=a", handle, group="g", backoff=0.01) as processing:
        processing.failures.subscribe(failures.append)
        publish(hub, "a", 1)
        assert done.wait(LIMIT)
        until(lambda: is_idle(hub, "g"))
        assert processing.counts == Counts(1, 2, 2, 0, 0)
    assert [(str(one.error), one.attempt, one.is_final) for one in failures] == [("no 0", 1, False), ("no 1", 2, False)]
    assert [one.event.data if one.event else None for one in failures] == [{"value": 1}] * 2


def test_others_are_handled_while_one_waits_for_its_next_attempt(hub: EventHub) -> None:
    seen = Seen()

    def handle(event: Event) -> None:
        if event.data["value"] == "bad":
            raise ValueError
        seen(event)

    hub.process("topic=a", handle, group="g", backoff=100)
    publish(hub, "a", "bad", 1, 2)
    assert seen.wait(2) == [1, 2]


def test_after_the_last_attempt_it_is_a_dead_letter(hub: EventHub, caplog: pytest.LogCaptureFixture) -> None:
    def handle(event: Event) -> None:
        raise LookupError("nothing there")

    failures: list[Failure] = []
    with hub.process("topic=a.b", handle, group="my group", retries=2, backoff=0.01) as processing:
        processing.failures.subscribe(failures.append)
        publish(hub, "a.b", 1)
        until(lambda: processing.counts.dead)
        assert processing.counts == Counts(0, 3, 2, 1, 0)
    (letter,) = hub.dead_letters.list()
    assert (letter.group, letter.topic, letter.attempts, letter.sequence) == ("my group", "a.b", 3, 1)
    assert letter.reason == "LookupError: nothing there" and "in handle" in letter.traceback
    assert letter.event is not None and letter.event.data == {"value": 1}
    assert [one.is_final for one in failures] == [False, False, True]
    assert "attempt 3 of 3 at a.b" in caplog.text and "nothing there" in caplog.text


class Mute(Exception):
    """A class of another program."""

    def __init__(self, raises: BaseException) -> None:
        super().__init__()
        self.raises = raises

    def __str__(self) -> str:
        raise self.raises


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("cannot read caf\udce9.exr"), "ValueError: cannot read caf\\udce9.exr"),
        (Mute(AttributeError()), "Mute: its message cannot be read: str() raised AttributeError"),
        (Mute(SystemExit(1)), "Mute: its message cannot be read: str() raised SystemExit"),
    ],
)
@pytest.mark.parametrize("sequential", [False, True])
def test_whatever_a_handler_raises_is_tried_as_often_as_it_should_be(
    hub: EventHub, error: Exception, reason: str, sequential: bool
) -> None:
    runs = Seen()

    def handle(event: Event) -> None:
        runs(event)
        raise error

    with hub.process("topic=a", handle, group="g", retries=2, backoff=0.01, sequential=sequential) as processing:
        publish(hub, "a", 1)
        until(lambda: processing.counts.dead)
    (letter,) = hub.dead_letters.list()
    assert runs == [1, 1, 1] and (letter.attempts, letter.reason) == (3, reason)
    letter.traceback.encode()
    publish(hub, "a", 2)  # the network goes on


def test_a_handler_with_a_yield_in_it_does_not_pass_for_one_that_handles(hub: EventHub) -> None:
    def yields(event: Event) -> Iterator[int]:
        yield 1

    async def yields_too(event: Event) -> AsyncIterator[int]:
        yield 1

    for handler in (yields, yields_too, partial(yields)):
        with pytest.raises(TypeError, match="has a yield"):
            hub.process("topic=a", handler, group="g")
    for number, handler in enumerate((yields, yields_too)):
        group = f"g{number}"
        with hub.process("topic=a", lambda event, it=handler: it(event), group=group, retries=0) as processing:
            publish(hub, "a", 1)
            until(lambda processing=processing: processing.counts.dead)
        assert "returned a generator" in next(hub.dead_letters.list(group)).reason


@pytest.mark.parametrize("is_coroutine", [False, True])
def test_an_event_is_handled_when_the_future_of_an_executor_is_done(hub: EventHub, is_coroutine: bool) -> None:
    began: list[int] = []
    done = Flag()

    def work(value: int) -> None:
        began.append(value)
        done.wait(LIMIT)
        if value == 2:
            raise ValueError("in the pool")

    with ThreadPoolExecutor(2) as pool:

        def handle(event: Event) -> Any:
            return pool.submit(work, event.data["value"])

        # A marked function runs on the loop of coroutine functions.
        handler: Any = markcoroutinefunction(handle) if is_coroutine else handle
        with hub.process("topic=a", handler, group="g", retries=0, concurrency=2) as processing:
            publish(hub, "a", 1, 2)
            until(lambda: len(began) == 2)
            assert processing.counts.handled == processing.counts.dead == 0
            done.set()
            until(lambda: (processing.counts.handled, processing.counts.dead) == (1, 1))
        assert next(hub.dead_letters.list("g")).reason == "ValueError: in the pool"


@pytest.mark.parametrize("interruption", [SystemExit(1), KeyboardInterrupt()])
@pytest.mark.parametrize("is_coroutine", [False, True])
def test_what_would_end_a_program_is_a_failure(hub: EventHub, interruption: BaseException, is_coroutine: bool) -> None:
    def handle(event: Event) -> None:
        raise interruption

    async def handle_async(event: Event) -> None:
        raise interruption

    handler: Any = handle_async if is_coroutine else handle
    with hub.process("topic=a", handler, group="g", retries=0) as processing:
        publish(hub, "a", 1)
        until(lambda: processing.counts.dead)
        assert next(hub.dead_letters.list()).reason.startswith(type(interruption).__name__)


@pytest.mark.parametrize("order", [{}, {"key": "data.value"}], ids=str)
@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize("id", ["null", "7", '["x"]'])
def test_an_event_whose_id_is_no_text_is_handled_as_any_other(
    hub: EventHub, order: dict[str, Any], once: bool, id: str
) -> None:
    seen = Seen()
    with hub.process("topic=a", seen, group="g", once=once, **order) as processing:
        store(hub, "a", f'{{"topic": "a", "id": {id}, "data": {{"value": 1}}}}'.encode())
        publish(hub, "a", 2)
        assert sorted(seen.wait(2)) == [1, 2]
        until(lambda: is_idle(hub, "g"))
        assert processing.counts == Counts(2, 0, 0, 0, 0)


@pytest.mark.parametrize("order", [{}, {"key": "topic"}, {"sequential": True}], ids=str)
@pytest.mark.parametrize("retries", [0, 2])
def test_a_mistake_of_rxhub_s_own_holds_up_no_other_event_and_ends_in_a_dead_letter(
    hub: EventHub, order: dict[str, Any], retries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes, tries = MessageFilter.matches, list[int]()

    def mistaken(self: MessageFilter, message: Message, event: Event) -> bool:
        if event.data["value"] == 1:
            tries.append(1)
            raise ZeroDivisionError("nobody has thought of this")
        return takes(self, message, event)

    monkeypatch.setattr(MessageFilter, "matches", mistaken)
    monkeypatch.setattr(retries_module, "_INTERNAL_ERROR_DELAY_S", 0.05)
    seen = Seen()
    with hub.process("topic=a", seen, group="g", retries=retries, **order) as processing:
        publish(hub, "a", 1, 2)
        assert seen.wait(1) == [2]
        until(lambda: processing.counts.dead == 1 and is_idle(hub, "g"))
        assert len(tries) == retries + 1
    (letter,) = hub.dead_letters.list()
    assert letter.reason == "ZeroDivisionError: nobody has thought of this" and letter.attempts == retries + 1
    assert letter.event is not None and letter.event.data == {"value": 1}


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'"text"', b'{"topic": 1}', b"\xff\xfe", b'{"a": NaN}', b"[" * 10_000]
)
def test_what_is_no_event_is_a_dead_letter_at_once(hub: EventHub, data: bytes) -> None:
    seen = Seen()
    with hub.process("topic=*", seen, group="g") as processing:
        store(hub, "a.b", data)
        publish(hub, "a", 1)
        assert seen.wait(1) == [1]
        until(lambda: is_idle(hub, "g"))
        assert processing.counts == Counts(1, 0, 0, 1, 0)
    (letter,) = hub.dead_letters.list()
    assert letter.data == data and letter.topic == "a.b" and letter.event is None
    assert letter.reason and letter.to_json()["event"] == data.decode(errors="replace")


def test_many_failures_do_not_flood_the_log(hub: EventHub, caplog: pytest.LogCaptureFixture) -> None:
    def handle(event: Event) -> None:
        raise ValueError("always")

    with hub.process("topic=a", handle, group="g", retries=0) as processing:
        publish(hub, "a", *range(100))
        until(lambda: processing.counts.dead == 100)
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len([line for line in told if "always" in line]) == 10
    assert "g: 90 more attempts failed." in told


def test_an_observer_that_raises_changes_nothing(hub: EventHub, caplog: pytest.LogCaptureFixture) -> None:
    def observe(failure: Failure) -> None:
        raise RuntimeError("observer")

    def handle(event: Event) -> None:
        raise ValueError

    with hub.process("topic=a", handle, group="g", retries=1, backoff=0.01) as processing:
        processing.failures.subscribe(observe)
        publish(hub, "a", 1)
        until(lambda: processing.counts.dead)
    assert "observer" in caplog.text


def test_a_handler_may_change_its_event_and_the_next_attempt_gets_it_as_it_was(hub: EventHub) -> None:
    seen: list[Any] = []

    def handle(event: Event) -> None:
        seen.append(event.data["value"])
        event.data["value"] = "changed"
        if len(seen) == 1:
            raise ValueError

    for number, options in enumerate([{}, {"key": "data.value"}, {"sequential": True}]):
        seen.clear()
        with hub.process("topic=a", handle, group=f"g{number}", backoff=0.01, **options):
            publish(hub, "a", 1)
            until(lambda: len(seen) == 2)
        assert seen == [1, 1]
