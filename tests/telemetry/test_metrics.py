"""Metrics of hubs, groups and bridges, as Prometheus reads them."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from textwrap import dedent

import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families

from rxhub import Event, EventHub
from rxhub.bridge import Bridge
from rxhub.errors import Overflow
from rxhub.server import running
from rxhub.server.client import CloseReason
from rxhub.telemetry import counts, metrics
from rxhub.testing import Nats
from tests.server.wire import credentials, request
from tests.threads import run_script, until

pytestmark = pytest.mark.filterwarnings("ignore::rxhub.errors.NotHandledWarning")


@pytest.fixture
def registry() -> Iterator[CollectorRegistry]:
    gc.collect()  # hubs of other tests
    registry = CollectorRegistry()
    metrics.enable(registry)
    try:
        yield registry
    finally:
        metrics.disable()


Value = Callable[..., float]


@pytest.fixture
def value(registry: CollectorRegistry) -> Value:
    def value(name: str, **labels: str) -> float:
        return registry.get_sample_value(f"rxhub_{name}", labels) or 0.0

    return value


def fail(event: Event) -> None:
    raise ValueError(event.topic)


def test_events_of_a_hub_are_counted_by_family(value: Value) -> None:
    with EventHub() as hub, hub.start():
        hub.subscribe("topic=studio.render.*", lambda event: None)
        hub.subscribe("topic=studio.broken", fail)
        for topic in ("studio.render.started", "studio.render.done", "studio.broken", "plain"):
            hub.publish(Event(topic))
        until(lambda: value("events_received_total", topic="plain") == 1)
        for name in ("events_published_total", "events_received_total"):
            assert value(name, topic="studio.render") == 2
            assert value(name, topic="studio.broken") == 1
        assert value("callbacks_failed_total", topic="studio.broken") == 1
        assert value("callbacks_failed_total", topic="studio.render") == 0
        assert value("dispatch_seconds_count") >= 1
        assert value("publish_seconds_count") >= 1
        until(lambda: value("inbox_wait_seconds_count") >= 1)


def test_synchronous_publishing_is_counted(value: Value) -> None:
    with EventHub() as hub:
        hub.subscribe("topic=studio.a", fail)
        hub.publish(Event("studio.a"), synchronous=True)
    for name in ("events_published_total", "events_received_total", "callbacks_failed_total"):
        assert value(name, topic="studio.a") == 1
    assert value("dispatch_seconds_count") == 1


def test_replayed_events_are_counted(value: Value, nats: Nats) -> None:
    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as hub, hub.start():
        hub.connect()
        for topic in ("job.a", "job.b", "other"):
            hub.publish(Event(topic)).result(10)
        assert len(hub.replay("topic=job.*", since=1).to_list().run()) == 2
    assert [value("events_replayed_total", topic=topic) for topic in ("job.a", "job.b", "other")] == [1, 1, 0]


def test_coroutines_are_counted_too(value: Value) -> None:
    async def handle(event: Event) -> None:
        fail(event)

    async def publish() -> None:
        async with EventHub() as hub:
            hub.subscribe("topic=studio.a", handle)
            last = asyncio.Event()
            hub.subscribe("topic=studio.b", lambda event: last.set())
            await hub.apublish(Event("studio.a"))
            await hub.apublish(Event("studio.b"))
            await asyncio.wait_for(last.wait(), 20)

    asyncio.run(publish())
    assert value("callbacks_failed_total", topic="studio.a") == 1
    assert value("events_received_total", topic="studio.b") == 1


@pytest.mark.parametrize(("policy", "dropped"), [("error", 2), ("drop-newest", 2), ("drop-oldest", 2), ("latest", 2)])
def test_dropped_events_are_counted(value: Value, policy: str, dropped: int) -> None:
    with EventHub(inbox=2, overflow=policy) as hub:
        refused = 0
        for number in range(4):
            try:
                hub.publish(Event(f"studio.{'a' if number < 2 else 'b'}"))
            except Overflow:
                refused += 1
        assert value("inbox_events") == len(hub._inbox)
        total = sum(value("events_dropped_total", topic=f"studio.{each}") for each in "ab")
        assert total == hub.dropped == dropped
        assert value("events_refused_total", topic="studio.b") == refused == (2 if policy == "error" else 0)


def test_the_number_of_families_is_bounded(registry: CollectorRegistry, value: Value) -> None:
    with EventHub() as hub:
        for number in range(5_000):
            hub.publish(Event(f"company{number}.shot.changed"))
        hub.publish(Event("x" * 10_000))
        body = metrics.exposition()[0]
        hub.drain()
    samples = [
        sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "rxhub_events_published_total"
    ]
    assert len(samples) == 101
    assert sum(samples) == 5_001
    assert value("events_published_total", topic="other") > 4_000
    assert len(body) < 100_000


def test_a_family_with_many_topics_keeps_its_name(value: Value) -> None:
    with EventHub() as hub:
        for number in range(5_000):
            hub.publish(Event(f"studio.render.{number}"))
        hub.drain()
    assert value("events_published_total", topic="studio.render") == 5_000
    assert value("events_received_total", topic="studio.render") == 5_000


def test_long_topics_are_not_kept(value: Value) -> None:
    for number in range(200):
        assert counts.active is not None
        counts.active.failed.add(f"studio.{number}.{'x' * 100_000}")
    assert sum(map(len, counts.active.failed.numbers)) < 200 * 20
    assert value("callbacks_failed_total", topic="studio.199") == 0
    assert value("callbacks_failed_total", topic="other") == 100
    assert value("callbacks_failed_total", topic="studio.0") == 1


@pytest.mark.parametrize(
    "topic", ['a"b.c', "a\nb.c", "a\\b.c", 'a{b="c"} 1', "", ".", "a\0b", "a\r\n# HELP x", "\u2028.é", "a\ud800.b"]
)
@pytest.mark.parametrize("accept", ["", "application/openmetrics-text;version=1.0.0"])
def test_any_topic_can_be_a_label(registry: CollectorRegistry, topic: str, accept: str) -> None:
    assert counts.active is not None
    counts.active.published.add(topic)
    body, _ = metrics.exposition(accept)
    lines = [line for line in body.decode().split("\n") if line.startswith("rxhub_events_published_total{")]
    families = text_string_to_metric_families(f"{lines[0]}\n")
    (sample,) = [sample for family in families for sample in family.samples]
    assert len(lines) == 1 and sample.value == 1
    assert sample.labels == {"topic": topic.replace("\ud800", "?")}


def test_a_group_is_counted_with_its_lag(nats: Nats, value: Value) -> None:
    group = f"g{os.getpid()}"
    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as hub:
        hub.connect()
        done: list[str] = []

        def handle(event: Event) -> None:
            if event.topic == "studio.broken":
                raise ValueError
            done.append(event.topic)

        processing = hub.process("topic=studio.*", handle, group=group, retries=1, backoff=0.01)
        for topic in ("studio.render", "studio.broken", "studio.render"):
            future = hub.publish(Event(topic))
            assert future is not None
            future.result(20)
        until(lambda: processing.counts.dead == 1 and processing.counts.handled == 2)
        of = {"group": group, "topic": "studio.broken"}
        assert value("processing_handled_total", group=group, topic="studio.render") == 2
        assert [value(f"processing_{each}_total", **of) for each in ("failed", "retried", "dead")] == [2, 1, 1]
        assert value("processing_seconds_count", group=group) == 4
        assert 1 <= value("processing_wait_seconds_count", group=group) <= 4
        assert value("events_published_total", topic="studio.render") == 2
        assert value("outbox_events") == 0
        processing.stop()
        for _ in range(3):
            future = hub.publish(Event("studio.render"))
            assert future is not None
            future.result(20)
        gate: list[int] = []
        again = hub.process("topic=studio.*", lambda event: until(lambda: bool(gate)), group=group)
        until(lambda: value("processing_in_progress", group=group) >= 1)
        assert value("group_waiting", group=group) + value("group_pending", group=group) >= 1
        gate.append(1)
        until(lambda: again.counts.handled == 3)


def test_reconnections_are_counted(value: Value) -> None:
    with running() as server, EventHub(server.url, server.api_user, server.api_key) as hub, hub.start():
        hub.connect()
        assert value("reconnections_total") == 0
        for client in list(server._events.connections):
            client.end(CloseReason.SHUTDOWN)
        until(lambda: value("reconnections_total") == 1 and hub.connected)
        assert value("hubs_reconnecting") == 0
        assert value("hubs") >= 1


def test_bridges_are_counted(nats: Nats, value: Value) -> None:
    with ExitStack() as stack:
        target = stack.enter_context(EventHub(nats.url, nats.user, nats.password, stream=nats.stream))
        target.connect()
        source = stack.enter_context(EventHub())
        bridge = stack.enter_context(Bridge(source, target, "topic=studio.*", name="film"))
        stack.enter_context(source.start())
        until(lambda: bridge.counts.gaps == 1)
        for _ in range(3):
            source.publish(Event("studio.a"))
        until(lambda: value("bridge_stored_total", bridge="film") == 3)
        assert value("bridge_read_total", bridge="film") == 3
        assert value("bridge_gaps_total", bridge="film") == 1
        assert value("bridge_waiting", bridge="film") == 0


def test_a_server_shows_the_metrics_of_the_hubs_in_its_process(value: Value) -> None:
    with running() as server, EventHub() as hub:
        hub.publish(Event("studio.a"))
        status, body, headers = request(server, "/metrics", credentials(server))
        assert status == 200
        families = {family.name for family in text_string_to_metric_families(body)}
        assert {"rxhub_server_handshakes", "rxhub_events_published", "process_open_fds"} <= families
        accept = {"accept": "application/openmetrics-text;version=1.0.0"}
        _, body, headers = request(server, "/metrics", credentials(server) | accept)
        assert headers["content-type"].startswith("application/openmetrics-text")
        assert body.endswith("# EOF\n")
        hub.drain()


@pytest.mark.parametrize("again", [False, True])
def test_disabled_metrics_count_nothing_and_can_be_enabled_again(again: bool) -> None:
    assert counts.active is None
    assert list(metrics.collect()) == []
    registry = CollectorRegistry()
    metrics.enable(registry)
    metrics.enable(registry)
    try:
        with EventHub() as hub:
            hub.publish(Event("studio.a"))
            hub.drain()
        assert registry.get_sample_value("rxhub_events_received_total", {"topic": "studio.a"}) == 1
    finally:
        metrics.disable()
    metrics.disable()
    assert list(registry.collect()) == []
    assert counts.active is None


_WORKER = """
import os, sys
from rxhub import Event, EventHub
from rxhub.telemetry import metrics

metrics.enable()
with EventHub() as hub:
    hub.subscribe("topic=studio.*", lambda event: None)
    for _ in range(int(sys.argv[1])):
        hub.publish(Event("studio.a"))
    hub.drain()
    hub.publish(Event("studio.b"))
    metrics.exposition()
    print(os.getpid(), flush=True)
    sys.stdin.read()
    hub.drain()
"""


def test_processes_share_their_metrics(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _WORKER, str(number)],
            env=os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for number in (3, 4)
    ]

    def shared(name: str, **labels: str) -> float | None:
        body, _ = metrics.exposition(directory=str(tmp_path))
        for family in text_string_to_metric_families(body.decode()):
            for sample in family.samples:
                if sample.name == f"rxhub_{name}" and sample.labels == labels:
                    return sample.value
        return None

    try:
        for process in processes:
            assert process.stdout is not None
            assert int(process.stdout.readline()) == process.pid
        assert shared("events_received_total", topic="studio.a") == 7
        assert shared("inbox_events") == 2
        assert shared("inbox_wait_seconds_count") is not None
        first = processes[0]
        first.kill()
        first.wait(20)
        metrics.process_ended(first.pid, str(tmp_path))
        assert shared("inbox_events") == 1
        assert shared("events_received_total", topic="studio.a") == 7
    finally:
        for process in processes:
            process.kill()
            process.communicate(timeout=20)


def test_a_forked_child_counts_from_zero_when_it_enables_metrics() -> None:
    run_script(
        dedent("""
        import os, sys
        from prometheus_client import CollectorRegistry
        from rxhub import Event, EventHub
        from rxhub.telemetry import counts, metrics

        registry = CollectorRegistry()
        metrics.enable(registry)
        hub = EventHub()
        hub.publish(Event("studio.a"))
        if os.fork() == 0:
            assert counts.active is None
            metrics.enable(registry)
            with EventHub() as own:
                own.publish(Event("studio.a"))
                assert registry.get_sample_value("rxhub_events_published_total", {"topic": "studio.a"}) == 1
                own.drain()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
        hub.publish(Event("studio.a"))
        assert registry.get_sample_value("rxhub_events_published_total", {"topic": "studio.a"}) == 2
        hub.drain()
        metrics.disable()
        """)
    )


def test_other_metrics_of_the_program_are_in_the_exposition() -> None:
    registry = CollectorRegistry()
    Counter("renders", "Frames that were rendered.", registry=registry).inc()
    metrics.enable(registry)
    try:
        body, content_type = metrics.exposition()
        assert b"\nrenders_total 1.0\n" in body
        assert b"# TYPE rxhub_events_published_total counter" in body
        assert content_type.startswith("text/plain")
    finally:
        metrics.disable()
