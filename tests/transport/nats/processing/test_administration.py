"""Pause, reset and remove groups, with and without running processes."""

from __future__ import annotations

import logging
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event as Flag
from typing import Any

import pytest

from rxhub import Event, EventHub
from rxhub.embedded import store
from rxhub.errors import NotFoundError
from rxhub.testing import Nats
from rxhub.transport.durable import GroupReset, GroupState
from rxhub.transport.nats.reset_records import ResetRecords
from tests.threads import LIMIT, until
from tests.transport.nats.processing.working import Seen, another, ask, config, is_idle, publish


def state(hub: EventHub, group: str = "g") -> GroupState:
    (found,) = [each for each in hub.groups() if each.name == group]
    return found


def handled(hub: EventHub, count: int, **options: Any) -> None:
    """Let the group g handle that many events, and stop."""
    seen = Seen()
    with hub.process("topic=a", seen, group="g", since="first", **options):
        seen.wait(count)
        until(lambda: is_idle(hub, "g"))


class TestList:
    def test_shows_lag_and_age_and_rate(self, hub: EventHub) -> None:
        assert hub.groups() == ()
        gate = Flag()

        def wait(event: Event) -> None:
            assert gate.wait(LIMIT)

        with hub.process("topic=a", wait, group="g") as processing:
            before = datetime.now(UTC) - timedelta(seconds=5)
            publish(hub, "b", 0)
            publish(hub, "a", *range(10))
            until(lambda: state(hub).pending > 0)
            found = state(hub)
            assert found.waiting + found.pending == 10 and found.is_active is found.is_paused is False
            assert found.oldest is not None and found.oldest > before and found.rate is None
            gate.set()
            until(lambda: processing.counts.handled == 10 and state(hub).is_active)
            until(lambda: is_idle(hub, "g"))
            assert state(hub).oldest is None

            def work() -> None:
                publish(hub, "a", *range(50))

            (found,) = measured(hub, work)
            assert found.rate is not None and found.rate > 0
        (found,) = hub.groups(0.05)
        assert found.rate == 0.0


def measured(hub: EventHub, work: Any) -> tuple[GroupState, ...]:
    """The groups, while something happens."""
    found: list[tuple[GroupState, ...]] = []

    def measure() -> bool:
        work()
        found.append(hub.groups(0.2))
        return bool(found[-1][0].rate)

    until(measure)
    return found[-1]


class TestPause:
    def test_stops_all_processes_and_resumes_where_they_were(self, hub: EventHub, nats: Nats) -> None:
        seen = Seen()
        with another(nats) as second:
            first = hub.process("topic=a", seen, group="g")
            other = second.process("topic=a", seen, group="g")
            publish(hub, "a", *range(10))
            seen.wait(10)
            hub.groups.pause("g")
            assert state(hub).is_paused
            publish(hub, "a", *range(10, 20))
            first.stop()
            other.stop()
            with second.process("topic=a", seen, group="g"):
                assert sorted(seen) == [*range(10)] and state(hub).waiting == 10
                hub.groups.resume("g")
                assert sorted(seen.wait(20)) == [*range(20)] and not state(hub).is_paused

    @pytest.mark.parametrize("options", [{}, {"key": "topic"}, {"once": True}, {"sequential": True}])
    def test_holds_events_that_a_process_has_received(
        self,
        hub: EventHub,
        impatient: None,
        caplog: pytest.LogCaptureFixture,
        options: dict[str, Any],
    ) -> None:
        caplog.set_level(logging.INFO, "rxhub")
        running, gate, seen = Flag(), Flag(), Seen()

        def wait(event: Event) -> None:
            running.set()
            assert gate.wait(LIMIT)
            seen(event)

        with hub.process("topic=a", wait, group="g", **options):
            publish(hub, "a", *range(30))
            assert running.wait(LIMIT)
            hub.groups.pause("g")
            until(lambda: "The group g is paused" in caplog.text)
            gate.set()
            seen.wait(1)
            # The running handler ends, and no other starts.
            until(lambda: state(hub).pending + state(hub).waiting == 29)
            assert seen == [0]
            hub.groups.resume("g")
            assert sorted(seen.wait(30)) == [*range(30)]
            until(lambda: is_idle(hub, "g"))
        assert seen == [*range(30)]

    def test_held_events_return_to_the_group_when_a_process_stops(
        self, hub: EventHub, impatient: None, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "rxhub")
        running, gate, seen = Flag(), Flag(), Seen()

        def wait(event: Event) -> None:
            running.set()
            assert gate.wait(LIMIT)
            seen(event)

        with hub.process("topic=a", wait, group="g", key="topic"):
            publish(hub, "a", *range(10))
            until(lambda: running.is_set() and state(hub).pending == 10)
            hub.groups.pause("g")
            until(lambda: "The group g is paused" in caplog.text)
            gate.set()
            seen.wait(1)
        assert seen == [0]
        hub.groups.resume("g")
        with hub.process("topic=a", seen, group="g", key="topic"):
            seen.wait(10)
        assert seen == [*range(10)]

    def test_survives_restarts_of_the_server_and_changes_of_settings(self, tmp_path: Path) -> None:
        def connected(server: Any) -> EventHub:
            hub = EventHub(server.url, server.user, server.password, stream="studio")
            hub.connect()
            return hub

        seen = Seen()
        with store(tmp_path) as server, connected(server) as hub:
            with hub.process("topic=a", seen, group="g"):
                publish(hub, "a", 0)
                seen.wait(1)
                until(lambda: is_idle(hub, "g"))
                hub.groups.pause("g")
            publish(hub, "a", 1)
        with store(tmp_path) as server, connected(server) as hub:
            assert state(hub).is_paused
            with hub.process("topic=a or topic=b", seen, group="g", replace=True):
                publish(hub, "b", 2)
                assert state(hub).is_paused and state(hub).waiting == 2 and seen == [0]
                hub.groups.resume("g")
                assert seen.wait(3) == [0, 1, 2]

    def test_survives_the_loss_of_the_consumer(
        self, hub: EventHub, impatient: None, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "rxhub")
        seen = Seen()
        with hub.process("topic=a", seen, group="g"):
            publish(hub, "a", 0)
            seen.wait(1)
            hub.groups.pause("g")
            until(lambda: "The group g is paused" in caplog.text)
            created = ask(hub, "CONSUMER.INFO.{stream}.g")["created"]
            publish(hub, "a", 1)
            ask(hub, "CONSUMER.DELETE.{stream}.g")

            def is_new() -> bool:
                try:
                    return state(hub).is_paused and ask(hub, "CONSUMER.INFO.{stream}.g")["created"] != created
                except ValueError:
                    return False

            until(is_new)
            assert seen == [0]
            hub.groups.resume("g")
            assert seen.wait(2) == [0, 1]


def interrupt_reset(hub: EventHub, sequence: int) -> None:
    """Do what a reset of the group g has done before its consumer is created again."""
    transport: Any = hub._link.transport
    records = ResetRecords(transport.link, transport.subjects.stream)
    wanted = {
        name: value for name, value in config(hub, "g").items() if name not in ("deliver_policy", "opt_start_seq")
    }
    wanted |= {"deliver_policy": "by_start_sequence", "opt_start_seq": sequence}
    transport.call(records.put("g", wanted))
    ask(hub, "CONSUMER.DELETE.{stream}.g")


class TestReset:
    @pytest.mark.parametrize("kind", ["first", "sequence", "time", "event", "ago"])
    def test_moves_a_group_without_processes(self, hub: EventHub, kind: str) -> None:
        publish(hub, "b", 0)
        publish(hub, "a", *range(5))
        publish(hub, "a", 5, id="wanted")
        publish(hub, "a", 6, 7)
        handled(hub, 8)
        time = datetime.fromisoformat(ask(hub, "STREAM.MSG.GET.{stream}", {"seq": 7})["message"]["time"])
        to, first = {
            "first": ("first", 0),
            "sequence": (7, 5),
            "time": (time, 5),
            "event": ("wanted", 5),
            "ago": (timedelta(days=1), 0),
        }[kind]
        preview = hub.groups.preview_reset("g", to)
        assert (preview.repeated, preview.skipped) == (8 - first, 0)
        assert hub.groups.reset("g", to) == preview.sequence
        assert state(hub).waiting == 8 - first
        seen = Seen()
        with hub.process("topic=a", seen, group="g"):
            assert seen.wait(8 - first) == [*range(first, 8)]

    def test_skips_events(self, hub: EventHub) -> None:
        hub.process("topic=a", Seen(), group="g").stop()
        publish(hub, "a", *range(10))
        # The server counts a stored event for its groups a moment later.
        until(lambda: hub.groups.preview_reset("g", 8) == GroupReset(8, 0, 7))
        hub.groups.reset("g", 8)
        seen = Seen()
        with hub.process("topic=a", seen, group="g"):
            assert seen.wait(3) == [7, 8, 9]

    @pytest.mark.parametrize(
        "options", [{}, {"key": "data.value"}, {"once": True}, {"sequential": True}, {"concurrency": 8}]
    )
    def test_delivers_again_while_processes_run(self, hub: EventHub, nats: Nats, options: dict[str, Any]) -> None:
        seen = Seen()
        with another(nats) as second:
            with hub.process("topic=a", seen, group="g", **options):
                with second.process("topic=a", seen, group="g", **options):
                    publish(hub, "a", *range(40))
                    until(lambda: set(seen) == {*range(40)} and is_idle(hub, "g"))
                    before = Counter(seen)
                    assert hub.groups.reset("g", 11) == 11
                    publish(hub, "a", *range(40, 50))
                    until(lambda: all((Counter(seen) - before)[value] for value in range(10, 50)))
                    until(lambda: is_idle(hub, "g"))
                    again = Counter(seen) - before
                    # Processes recreate a consumer behind its floor if they are faster, so some may come once more.
                    assert not any(again[value] for value in range(10))

    @pytest.mark.parametrize("once", [False, True])
    def test_delivers_again_to_a_process_that_did_not_notice(self, hub: EventHub, once: bool) -> None:
        gate, seen = Flag(), Seen()

        def wait(event: Event) -> None:
            seen(event)
            if event.data["value"] == 3:
                assert gate.wait(LIMIT)

        with hub.process("topic=a", wait, group="g", sequential=True, once=once):
            publish(hub, "a", *range(4))
            # Its only handler is busy, so it has no open request that the server could answer.
            seen.wait(4)
            hub.groups.reset("g", "first")
            gate.set()
            until(lambda: all(Counter(seen)[value] >= 2 for value in range(3)))
            until(lambda: is_idle(hub, "g"))

    @pytest.mark.parametrize("is_paused", [False, True])
    def test_in_the_middle_of_work_loses_nothing(
        self, hub: EventHub, nats: Nats, impatient: None, caplog: pytest.LogCaptureFixture, is_paused: bool
    ) -> None:
        """Each event from the place on is handled after the reset; if the group is paused before, in order."""
        caplog.set_level(logging.INFO, "rxhub")
        seen: list[int] = []

        def work(event: Event) -> None:
            seen.append(event.data["value"])

        with another(nats) as second:
            options: dict[str, Any] = {"group": "g", "key": "data.key", "concurrency": 4}
            with hub.process("topic=a", work, **options), second.process("topic=a", work, **options):
                for value in range(200):
                    hub.publish(Event("a", data={"value": value, "key": value % 5}))
                until(lambda: len(seen) > 60)
                if is_paused:
                    hub.groups.pause("g")
                    until(lambda: caplog.text.count("The group g is paused") == 2)
                begin = len(seen)
                hub.groups.reset("g", 31)
                if is_paused:
                    # Nothing but what ran is handled meanwhile.
                    begin = len(seen)
                    hub.groups.resume("g")
                until(lambda: {*seen[begin:]} >= {*range(30, 200)}, 2 * LIMIT)
                until(lambda: is_idle(hub, "g"))
        if is_paused:
            for key in range(5):
                values = [value for value in seen[begin:] if value % 5 == key]
                assert values == [value for value in range(30, 200) if value % 5 == key]

    def test_is_completed_by_the_next_process_if_it_was_interrupted(self, hub: EventHub) -> None:
        publish(hub, "a", *range(5))
        handled(hub, 5)
        interrupt_reset(hub, 3)
        seen = Seen()
        with hub.process("topic=a", seen, group="g"):
            assert seen.wait(3) == [2, 3, 4]

    def test_is_completed_by_the_next_change_if_it_was_interrupted(self, hub: EventHub) -> None:
        publish(hub, "a", *range(5))
        handled(hub, 5)
        interrupt_reset(hub, 3)
        hub.groups.pause("g")
        assert state(hub).is_paused and state(hub).waiting == 3

    def test_of_two_administrators_at_once_leaves_a_place_of_one(self, hub: EventHub, nats: Nats) -> None:
        publish(hub, "a", *range(10))
        handled(hub, 10)
        with another(nats) as second, ThreadPoolExecutor(2) as pool:
            calls = [pool.submit(each.groups.reset, "g", to) for each, to in ((hub, 3), (second, 7))]
            assert [call.result(LIMIT) for call in calls] == [3, 7]
        assert state(hub).waiting in (8, 4)
        seen = Seen()
        with hub.process("topic=a", seen, group="g"):
            seen.wait(4)
            until(lambda: is_idle(hub, "g"))
        assert seen in ([*range(2, 10)], [*range(6, 10)])

    @pytest.mark.parametrize("to", [100, 2**64, datetime.max.replace(tzinfo=UTC), timedelta.min])
    def test_behind_the_last_event_continues_with_the_next_one(self, hub: EventHub, to: Any) -> None:
        publish(hub, "a", *range(3))
        handled(hub, 3)
        assert hub.groups.preview_reset("g", to).sequence == hub.groups.reset("g", to) == 4
        publish(hub, "a", 3)
        seen = Seen()
        with hub.process("topic=a", seen, group="g"):
            assert seen.wait(1) == [3]

    def test_keeps_a_pause(self, hub: EventHub) -> None:
        publish(hub, "a", *range(3))
        handled(hub, 3)
        hub.groups.pause("g")
        hub.groups.reset("g", "first")
        assert state(hub).is_paused and state(hub).waiting == 3

    def test_counts_attempts_from_one(self, hub: EventHub) -> None:
        def fail(event: Event) -> None:
            raise ValueError

        attempts: list[int] = []
        with hub.process("topic=a", fail, group="g", retries=1, backoff=0.01) as processing:
            processing.failures.subscribe(lambda failure: attempts.append(failure.attempt))
            publish(hub, "a", 0)
            until(lambda: processing.counts.dead == 1)
            hub.groups.reset("g", "first")
            until(lambda: processing.counts.dead == 2)
            until(lambda: attempts == [1, 2, 1, 2])

    @pytest.mark.parametrize("to", [0, -1, True, "", None, datetime(2026, 1, 1)])  # noqa: DTZ001
    def test_rejects_other_places(self, hub: EventHub, to: Any) -> None:
        hub.process("topic=a", Seen(), group="g").stop()
        for ask_ in (hub.groups.preview_reset, hub.groups.reset):
            with pytest.raises(ValueError, match="is reset to"):
                ask_("g", to)

    def test_needs_an_event_that_is_stored(self, hub: EventHub) -> None:
        hub.process("topic=a", Seen(), group="g").stop()
        publish(hub, "a", 1, id="\N{SNOWMAN}")
        assert hub.groups.preview_reset("g", "\N{SNOWMAN}") == GroupReset(1, 0, 0)
        with pytest.raises(NotFoundError, match="no event with the id 'other'"):
            hub.groups.reset("g", "other")


class TestRemove:
    def test_leaves_nothing_of_a_group(self, hub: EventHub, nats: Nats) -> None:
        publish(hub, "a", *range(3))
        handled(hub, 3, once=True)
        hub.groups.remove("g")
        assert hub.groups() == ()
        assert not [each for each in ask(hub, "STREAM.NAMES")["streams"] if f"{nats.stream}-handled" in each]
        seen = Seen()
        with hub.process("topic=a", seen, group="g", since="first", once=True):
            assert seen.wait(3) == [0, 1, 2]

    def test_needs_a_group(self, hub: EventHub) -> None:
        for change in (hub.groups.pause, hub.groups.resume, hub.groups.remove):
            with pytest.raises(NotFoundError, match="rxhub groups"):
                change("none")
        with pytest.raises(NotFoundError, match="rxhub groups"):
            hub.groups.reset("none", 1)
