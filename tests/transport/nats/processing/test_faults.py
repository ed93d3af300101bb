"""Failures of processes, connections and servers while events are handled."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGKILL
from threading import Event as Flag
from threading import Lock, Thread
from typing import Any
from urllib.parse import urlsplit

import pytest

from rxhub import Event, EventHub
from rxhub.concurrency.supervise import failures
from rxhub.errors import HubConnectionError
from rxhub.testing import Nats
from rxhub.transport.nats.connection import NatsConnection
from rxhub.transport.nats.processing import group as group_module
from rxhub.transport.nats.processing.group import Group
from rxhub.transport.nats.processing.in_flight import InFlight
from rxhub.transport.nats.processing.processing import Counts
from rxhub.transport.nats.processing.task_executor import TaskExecutor
from tests.nats_server import Cluster
from tests.proxy import Proxy
from tests.threads import LIMIT, until
from tests.transport.nats.processing.made import hold
from tests.transport.nats.processing.working import Seen, is_idle, publish


class Victims:
    """Processes of one group, restarted when they die.

    Attributes:
        deaths: how many died by themselves.
    """

    def __init__(self, nats: Nats, notes: Path, count: int, **options: Any) -> None:
        seconds = options.pop("seconds", 0.002)
        told = {**nats._asdict(), "process": options, "seconds": seconds}
        self._command = [sys.executable, "-m", "tests.transport.nats.processing.victim", json.dumps(told), str(notes)]
        self._notes = notes
        self._running = [self._start() for _ in range(count)]
        self.deaths = 0
        self._is_over = False
        self._lock = Lock()
        self._keeper = Thread(target=self._keep, daemon=True)
        self._keeper.start()

    def kill(self) -> None:
        """Kill the oldest process."""
        with self._lock:
            self._running[0].send_signal(SIGKILL)
            self._running.append(self._running.pop(0))

    def noted(self, what: str) -> Counter[int]:
        """How often each event was started, or done."""
        if not self._notes.exists():
            return Counter()
        lines = [line.split() for line in self._notes.read_text().splitlines()]
        return Counter(int(value) for did, value in lines if did == what)

    def end(self) -> None:
        self._is_over = True
        self._keeper.join(LIMIT)
        for process in self._running:
            process.kill()
            process.communicate(timeout=LIMIT)

    def _keep(self) -> None:
        while not self._is_over:
            with self._lock:
                for place, process in enumerate(self._running):
                    if process.poll() is not None:
                        self.deaths += process.returncode == 9
                        process.communicate()
                        self._running[place] = self._start()
            Flag().wait(0.02)

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        return process


@contextmanager
def victims(nats: Nats, folder: Path, count: int = 1, **options: Any) -> Iterator[Victims]:
    made = Victims(nats, folder / "notes", count, **options)
    try:
        yield made
    finally:
        made.end()


def asked(hub: EventHub, **asked: int) -> None:
    """Events with an instruction: `die_once=3` is the event 3."""
    for do, value in asked.items():
        future = hub.publish(Event("a", data={"value": value, "do": do.replace("_", " ")}))
        assert future is not None
        future.result(LIMIT)


# Processes


def test_what_a_killed_process_had_in_hand_is_handled_by_others(hub: EventHub, nats: Nats, tmp_path: Path) -> None:
    with victims(nats, tmp_path, 2, concurrency=2, seconds=0.01) as group:
        for kill in range(3):
            publish(hub, "a", *range(100 * kill, 100 * kill + 100))
            until(lambda kill=kill: len(group.noted("done")) > 100 * kill + 20)
            group.kill()
        until(lambda: len(group.noted("done")) == 300)
        until(lambda: is_idle(hub, "g"))
        begun, done = group.noted("begin"), group.noted("done")
    # Started and not done, or done and not acknowledged: only those that ran when a process was killed.
    assert sum(done.values()) - 300 <= 3 * 2 * 2 and sum(begun.values()) - 300 <= 3 * 2 * 3
    assert len(hub.dead_letters) == 0


def test_with_the_store_every_event_is_handled_exactly_once_though_processes_die_in_the_middle(
    hub: EventHub, nats: Nats, tmp_path: Path
) -> None:
    with victims(nats, tmp_path, 2, once=True, seconds=0.02) as group:
        publish(hub, "a", *range(100, 140))
        asked(hub, die_once=1, die_after=2)
        publish(hub, "a", *range(140, 180))
        until(lambda: is_idle(hub, "g") and len(group.noted("done")) == 82)
        assert group.deaths == 2
        begun, done = group.noted("begin"), group.noted("done")
    assert set(done.values()) == {1}
    assert begun[1] == 2 and begun[2] == 1
    assert len(hub.dead_letters) == 0


def test_an_event_that_is_stored_twice_is_handled_once_with_the_store(hub: EventHub) -> None:
    seen = Seen()
    with hub.process("topic=a", seen, group="g", once=True) as processing:
        transport: Any = hub._link.transport
        stream = transport.subjects.stream
        config = transport.call(transport.link.js_request(f"STREAM.INFO.{stream}"))["config"]
        # As after the deduplication window of the stream.
        short = config | {"duplicate_window": 100_000_000}
        transport.call(transport.link.js_request(f"STREAM.UPDATE.{stream}", short))
        event = Event("a", id="the same id", data={"value": 1})
        for _ in range(2):
            future = hub.publish(event)
            assert future is not None
            future.result(LIMIT)
            Flag().wait(0.3)
        publish(hub, "a", 2)
        assert seen.wait(2) == [1, 2]
        until(lambda: processing.counts == Counts(2, 0, 0, 0, 1))


def test_an_event_that_kills_its_process_is_a_dead_letter_and_no_other_is(
    hub: EventHub, nats: Nats, tmp_path: Path
) -> None:
    with victims(nats, tmp_path, concurrency=2, retries=1, backoff=0.01) as group:
        publish(hub, "a", *range(100, 120))
        asked(hub, die=1)
        publish(hub, "a", *range(120, 140))
        until(lambda: len(hub.dead_letters) == 1)
        until(lambda: is_idle(hub, "g"))
        assert set(group.noted("done")) == set(range(100, 140))
        # Once without a record, and then as often as any other.
        assert group.noted("begin")[1] == 3 == group.deaths
    (letter,) = hub.dead_letters.list()
    assert letter.event is not None and letter.event.data["value"] == 1
    assert letter.reason.startswith("The event was tried 2 times") and letter.attempts == 2


# Connections


@pytest.fixture
def proxy(nats: Nats) -> Generator[Proxy]:
    port = urlsplit(nats.url).port
    assert port is not None
    with Proxy(port) as made:
        yield made


@pytest.fixture
def far(nats: Nats, proxy: Proxy) -> Generator[EventHub]:
    """A hub that connects through the proxy."""
    with EventHub(f"nats://127.0.0.1:{proxy.port}", nats.user, nats.password, stream=nats.stream) as made:
        yield made


@pytest.mark.usefixtures("impatient")
def test_a_handler_that_runs_while_the_line_breaks_runs_once_and_is_acknowledged_by_the_next_line(
    hub: EventHub, far: EventHub, proxy: Proxy
) -> None:
    going, seen = Flag(), Seen()

    def handle(event: Event) -> None:
        seen(event)
        hold(going)

    with far.process("topic=a", handle, group="g") as processing:
        publish(hub, "a", 1)
        seen.wait(1)
        worker: Any = processing._worker
        before = worker._link.connection
        proxy.reset()
        until(lambda: worker._link.connection not in (None, before))
        # Longer than the server waits for an acknowledgement.
        Flag().wait(1.5)
        going.set()
        until(lambda: is_idle(hub, "g"))
        assert seen == [1] and processing.counts == Counts(1, 0, 0, 0, 0)


@pytest.mark.usefixtures("impatient")
def test_what_ends_while_there_is_no_line_is_acknowledged_when_there_is_one(
    hub: EventHub, far: EventHub, proxy: Proxy
) -> None:
    going, seen = Flag(), Seen()

    def handle(event: Event) -> None:
        seen(event)
        hold(going)

    with far.process("topic=a", handle, group="g", concurrency=3) as processing:
        publish(hub, "a", 1, 2, 3)
        seen.wait(3)
        proxy.black_hole = True
        proxy.reset()
        going.set()
        until(lambda: processing.counts.handled == 3)
        proxy.black_hole = False
        until(lambda: is_idle(hub, "g"))
        publish(hub, "a", 4)
        assert seen.wait(4)[3] == 4 and sorted(seen[:3]) == [1, 2, 3]


@pytest.mark.usefixtures("impatient")
def test_what_waited_in_a_process_that_is_cut_off_is_begun_elsewhere_and_not_there(
    hub: EventHub, far: EventHub, proxy: Proxy
) -> None:
    going, cut_off, elsewhere = Flag(), Seen(), Seen()
    going.set()

    def handle(event: Event) -> None:
        cut_off(event)
        hold(going)

    processing = far.process("topic=a", handle, group="g")
    # The worker measures that handlers are fast, and prefetches several events.
    publish(hub, "a", *range(50))
    cut_off.wait(50)
    going.clear()
    publish(hub, "a", *range(100, 104))
    cut_off.wait(51)
    # All of them, so that none is on its way when the connection breaks.
    until(lambda: len(processing._worker._in_flight.jobs) == 4)  # type: ignore[union-attr]
    proxy.black_hole = True
    with hub.process("topic=a", elsewhere, group="g"):
        until(lambda: set(elsewhere) >= set(range(101, 104)))
        going.set()
        # The leases have expired before new events arrive.
        until(lambda: not processing._worker._in_flight.jobs)  # type: ignore[union-attr]
        assert cut_off[50:] == [100]
        proxy.black_hole = False
        until(lambda: is_idle(hub, "g"))
    processing.stop()


@pytest.mark.usefixtures("impatient")
def test_what_another_process_has_handled_is_not_begun_after_reconnecting(
    hub: EventHub, far: EventHub, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    going, cut_off, elsewhere = Flag(), Seen(), Seen()

    def handle(event: Event) -> None:
        cut_off(event)
        hold(going)

    processing = far.process("topic=a", handle, group="g", key="topic")
    worker: Any = processing._worker
    publish(hub, "a", *range(5))
    until(lambda: cut_off == [0] and len(worker._in_flight.jobs) == 5)
    lost, reports, report = worker._link.connection, [], InFlight.send_in_progress

    async def note_report(jobs: InFlight, line: NatsConnection | None) -> None:
        await report(jobs, line)
        if jobs is worker._in_flight and line not in (None, lost):
            reports.append(line)

    monkeypatch.setattr(InFlight, "send_in_progress", note_report)
    proxy.black_hole = True
    with hub.process("topic=a", elsewhere, group="g", key="topic"):
        until(lambda: elsewhere == [0, 1, 2, 3, 4])
        proxy.black_hole = False
        proxy.reset()
        until(lambda: len(reports) > 2)
        going.set()
        until(lambda: worker._handlers.running == 0 and not worker._in_flight.jobs)
        assert cut_off == [0]
        processing.stop()


def test_the_lease_of_an_event_does_not_outlast_those_of_earlier_ones(hub: EventHub) -> None:
    going = Flag()
    worker: Any = hub.process("topic=a", lambda _: hold(going), group="g", key="topic")._worker
    for number in range(3):
        publish(hub, "a", number)
        until(lambda number=number: len(worker._in_flight.jobs) == number + 1)
        leases = [job.lease_until for job in worker._in_flight.jobs.values()]
        assert leases == sorted(leases, reverse=True)
    going.set()


@pytest.mark.usefixtures("impatient")
def test_sequential_order_survives_lines_that_break(hub: EventHub, far: EventHub, proxy: Proxy) -> None:
    seen = Seen()
    with far.process("topic=a", seen, group="g", sequential=True):
        for breaks in range(3):
            publish(hub, "a", *range(20 * breaks, 20 * breaks + 20))
            until(lambda breaks=breaks: len(seen) > 20 * breaks + 5)
            proxy.reset()
        until(lambda: is_idle(hub, "g"))
    assert list(dict.fromkeys(seen)) == list(range(60))


@pytest.mark.usefixtures("impatient")
def test_order_by_key_survives_lines_that_break(hub: EventHub, far: EventHub, proxy: Proxy) -> None:
    seen = Seen()
    with far.process("topic=a", seen, group="g", key="topic"):
        for breaks in range(2):
            publish(hub, "a", *range(200 * breaks, 200 * breaks + 200))
            until(lambda breaks=breaks: len(seen) > 200 * breaks + 5)
            proxy.reset()
        until(lambda: is_idle(hub, "g"))
    assert list(dict.fromkeys(seen)) == list(range(400))


# Servers


def dead_letters(hub: EventHub) -> int | None:
    """The number of dead letters; None while their stream elects a leader."""
    try:
        return len(hub.dead_letters)
    except HubConnectionError:
        return None


def test_a_server_that_is_killed_while_events_are_handled_loses_none(cluster: Cluster) -> None:
    seen = Seen()
    with EventHub(cluster.url, cluster.user, cluster.password, stream="processing-faults") as hub:
        hub.connect()
        with hub.process("topic=a", seen, group="g", once=True):
            publish(hub, "a", *range(50))
            seen.wait(50)
            futures = [hub.publish(Event("a", data={"value": value})) for value in range(50, 150)]
            cluster.kill(cluster.leader("processing-faults"))
            for future in futures:
                assert future is not None
                future.result(2 * LIMIT)
            # On a busy machine, the elections of the stream and the group take long.
            until(lambda: set(seen) == set(range(150)), 3 * LIMIT)
        until(lambda: dead_letters(hub) == 0)


# Internal errors in long-lived tasks


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("owner", "method"),
    [(InFlight, "send_in_progress"), (Group, "confirm"), (TaskExecutor, "overdue")],
)
def test_an_internal_error_ends_neither_the_in_progress_acknowledgements_nor_other_routines(
    hub: EventHub, monkeypatch: pytest.MonkeyPatch, owner: type, method: str
) -> None:
    failures.clear()
    original = getattr(owner, method)
    calls: list[int] = []

    def broken(self: Any, *arguments: Any) -> Any:
        calls.append(1)
        if len(calls) in (2, 3):
            raise AttributeError("broken inside")
        return original(self, *arguments)

    seen: list[int] = []

    async def handler(event: Event) -> None:
        seen.append(event.data["value"])
        # Longer than the server waits without a report.
        await asyncio.sleep(4 * group_module.ACK_WAIT_S)

    with hub.process("topic=a", handler, group="g", timeout=LIMIT, retries=0):
        monkeypatch.setattr(owner, method, broken)
        publish(hub, "a", 1)
        until(lambda: is_idle(hub, "g") and seen)
        until(lambda: len(calls) > 3)
    assert seen == [1]
    assert failures.total() >= 1


def test_an_internal_error_while_reconnecting_does_not_end_it(nats: Nats, monkeypatch: pytest.MonkeyPatch) -> None:
    original = NatsConnection.close
    calls: list[int] = []

    async def broken(self: NatsConnection) -> None:
        await original(self)
        calls.append(1)
        if len(calls) == 1:
            raise AttributeError("broken inside")

    with Proxy(int(nats.url.rpartition(":")[2])) as proxy:
        url = f"nats://127.0.0.1:{proxy.port}"
        with EventHub(url, nats.user, nats.password, stream=nats.stream) as hub:
            hub.connect()
            monkeypatch.setattr(NatsConnection, "close", broken)
            failures.clear()
            proxy.reset()
            until(lambda: calls)
            until(lambda: hub.connected)
            publish(hub, "a", 1)
            assert failures["reconnecting to NATS"] == 1
