"""Traces through NATS: headers, the attempts of groups, replays."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator
from typing import Any

import nats as nats_py
import pytest
from opentelemetry import baggage, trace
from opentelemetry.trace import SpanKind, StatusCode

from rxhub import Event, EventHub
from rxhub.testing import Nats
from tests.telemetry.recorded import BAGGAGE, NOT_SAMPLED, SAMPLED, TRACE, Recorded, is_child, recorded
from tests.threads import until

__all__ = ["recorded"]


@pytest.fixture
def hub(nats: Nats) -> Generator[EventHub]:
    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as made:
        made.connect()
        yield made


def stored_headers(nats: Nats, sequence: int) -> dict[str, str]:
    """The headers of a stored message, as nats-py reads them."""

    async def read() -> dict[str, str]:
        client = await nats_py.connect(nats.url, user=nats.user, password=nats.password)
        try:
            return dict((await client.jetstream().get_msg(nats.stream, sequence)).headers or {})
        finally:
            await client.close()

    return asyncio.run(read())


def store(nats: Nats, topic: str, headers: dict[str, str]) -> None:
    """Store an event as another program does."""

    async def write() -> None:
        client = await nats_py.connect(nats.url, user=nats.user, password=nats.password)
        try:
            payload = b'{"topic":"%s"}' % topic.encode()
            await client.jetstream().publish(f"{nats.stream}.event.{topic}", payload, headers=headers)
        finally:
            await client.close()

    asyncio.run(write())


def test_the_context_is_in_the_headers_of_a_stored_event(nats: Nats, hub: EventHub, recorded: Recorded) -> None:
    event = Event("shot.new")
    future = hub.publish(event)
    assert future is not None
    future.result(20)
    headers = stored_headers(nats, 1)
    assert headers["traceparent"] == event.source["traceparent"] and headers["Nats-Msg-Id"] == event.id
    (published,) = recorded.ended("publish shot.new")
    assert trace.format_span_id(published.context.span_id) in headers["traceparent"]


@pytest.mark.parametrize("value", ["a\r\nNats-Rollup: all", "é", "x" * 10_000])
def test_a_value_that_does_not_fit_into_a_header_is_left_out(nats: Nats, hub: EventHub, value: str) -> None:
    source = {"traceparent": NOT_SAMPLED, "tracestate": value, "baggage": value}
    future = hub.publish(Event("shot.new", source=source))
    assert future is not None
    future.result(20)
    headers = stored_headers(nats, 1)
    assert set(headers) == {"Nats-Msg-Id", "traceparent"} and headers["traceparent"] == NOT_SAMPLED


@pytest.mark.parametrize("name", ["traceparent", "Traceparent"])
def test_the_headers_of_another_program_reach_handlers(
    nats: Nats, hub: EventHub, recorded: Recorded, name: str
) -> None:
    seen: list[Any] = []
    hub.subscribe("topic=shot.new", lambda event: seen.append(event.source))
    hub.start()
    with hub.process("topic=shot.new", lambda event: seen.append(event.source), group="g"):
        until(lambda: hub.subscriptions_synced)
        store(nats, "shot.new", {name: SAMPLED, "baggage": BAGGAGE})
        until(lambda: len(seen) == 2)
    assert seen == [{"traceparent": SAMPLED, "baggage": BAGGAGE}] * 2
    delivered, processed = recorded.ended("deliver shot.new", "process shot.new")
    for span in (delivered, processed):
        assert trace.format_trace_id(span.context.trace_id) == TRACE


@pytest.mark.parametrize("is_coroutine", [False, True])
def test_each_attempt_of_a_group_has_a_span_in_which_its_handler_runs(
    hub: EventHub, recorded: Recorded, is_coroutine: bool, caplog: pytest.LogCaptureFixture
) -> None:
    attempts: list[tuple[str, Any]] = []

    def work(_: Event) -> None:
        span: Any = trace.get_current_span()
        attempts.append((span.name, baggage.get_baggage("shot")))
        if len(attempts) == 1:
            raise OSError("disk")

    async def work_later(event: Event) -> None:
        await asyncio.sleep(0)
        work(event)

    event = Event("shot.new", source={"traceparent": SAMPLED, "baggage": BAGGAGE})
    with (
        caplog.at_level(logging.ERROR, "rxhub"),
        hub.process("topic=shot.new", work_later if is_coroutine else work, group="g", backoff=0.01),
    ):
        hub.forward(event)
        until(lambda: len(attempts) == 2)
        until(lambda: recorded.names.count("process shot.new") == 2)
    assert attempts == [("process shot.new", "sh010")] * 2
    first, second = [span for span in recorded.every if span.name == "process shot.new"]
    assert first.status.status_code is StatusCode.ERROR and second.status.status_code is StatusCode.UNSET
    assert first.kind is SpanKind.CONSUMER
    assert first.attributes is not None and second.attributes is not None
    assert (first.attributes["rxhub.attempt"], second.attributes["rxhub.attempt"]) == (1, 2)
    assert first.attributes["messaging.consumer.group.name"] == "g"
    assert first.attributes["error.type"] == "OSError"
    (record,) = [each for each in caplog.records if "attempt 1" in each.getMessage()]
    assert (
        vars(record).items()
        >= {
            "event_id": event.id,
            "topic": "shot.new",
            "group": "g",
            "attempt": 1,
            "trace_id": TRACE,
        }.items()
    )


def test_an_attempt_that_is_not_sampled_has_no_span(hub: EventHub, recorded: Recorded) -> None:
    seen: list[Any] = []

    def work(_: Event) -> None:
        seen.append((trace.get_current_span().get_span_context().trace_flags, baggage.get_baggage("shot")))

    with hub.process("topic=shot.new", work, group="g"):
        hub.forward(Event("shot.new", source={"traceparent": NOT_SAMPLED, "baggage": BAGGAGE}))
        until(lambda: seen)
    assert seen == [(0, "sh010")] and recorded.names == []


def test_a_replay_has_a_span_with_the_number_of_its_events(nats: Nats, hub: EventHub, recorded: Recorded) -> None:
    hub.start()
    for _ in range(3):
        future = hub.publish(Event("shot.new"))
        assert future is not None
        future.result(20)
    seen: list[Any] = []
    outer = recorded.provider.get_tracer("test").start_span("outer")
    with trace.use_span(outer, end_on_exit=True):
        replay = hub.replay("topic=shot.*")
        done: list[bool] = []
        replay.subscribe(lambda _: seen.append(trace.get_current_span()), on_completed=lambda: done.append(True))
        until(lambda: done)
    replayed, parent = recorded.ended("replay", "outer")
    assert is_child(replayed, parent) and replayed.kind is SpanKind.CLIENT
    assert replayed.attributes is not None
    assert replayed.attributes["messaging.batch.message_count"] == 3
    assert replayed.attributes["messaging.destination.subscription.name"] == "topic=shot.*"
    assert [span.get_span_context() for span in seen] == [replayed.context] * 3
