"""Traces within one process: spans, their parents, and the context in handlers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from importlib.metadata import entry_points
from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanKind, StatusCode
from reactivex import operators as ops
from reactivex.scheduler import ThreadPoolScheduler

from rxhub import Event, EventHub
from rxhub.errors import HubClosed
from rxhub.telemetry import instrument, tracing, uninstrument
from tests.telemetry.recorded import (
    BAGGAGE,
    NOT_SAMPLED,
    SAMPLED,
    TRACE,
    Recorded,
    is_child,
    recorded,
    recording,
)
from tests.threads import until

__all__ = ["recorded"]

# The hubs run when their events are published.
pytestmark = pytest.mark.filterwarnings("ignore:An event was published on a hub that is not running")


def traced(parent: str, topic: str = "a") -> Event:
    """An event of another program."""
    return Event(topic, source={"id": "other", "traceparent": parent, "baggage": BAGGAGE})


def handle(hub: EventHub, event: Event) -> None:
    """Deliver an event as if a transport had received it."""
    hub._inbox.put(event)
    hub.drain()


def test_an_event_has_a_span_for_publishing_for_its_delivery_and_for_each_callback(recorded: Recorded) -> None:
    def first(_: Event) -> None: ...

    async def second(_: Event) -> None:
        await asyncio.sleep(0)

    with EventHub() as hub:
        hub.subscribe("topic=a", first, {"id": "one"}, priority=1)
        hub.subscribe("topic=a", second)
        event = Event("a")
        hub.publish(event)
        hub.drain()
    published, delivered, *calls = recorded.ended("publish a", "deliver a", f"call {first.__qualname__}")
    calls += recorded.ended(f"call {second.__qualname__}")
    assert published.kind is SpanKind.PRODUCER and published.parent is None
    assert delivered.kind is SpanKind.CONSUMER and is_child(delivered, published)
    assert not published.links and [link.context.span_id for link in delivered.links] == [published.context.span_id]
    assert all(is_child(call, delivered) and call.kind is SpanKind.INTERNAL for call in calls)
    assert published.attributes == {
        "messaging.system": "rxhub",
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
        "messaging.destination.name": "a",
        "messaging.message.id": event.id,
        "messaging.client.id": hub.id,
    }
    assert delivered.attributes == {
        "messaging.system": "rxhub",
        "messaging.operation.name": "deliver",
        "messaging.operation.type": "process",
        "messaging.destination.name": "a",
        "messaging.message.id": event.id,
    }
    assert calls[0].attributes == {
        "code.function.name": f"{__name__}.{first.__qualname__}",
        "rxhub.subscriber.id": "one",
        "rxhub.subscriber.priority": 1,
    }


def test_callbacks_run_in_their_span_with_baggage_and_the_variables_of_their_subscription(recorded: Recorded) -> None:
    department: ContextVar[str] = ContextVar("department", default="")
    seen: list[Any] = []

    def note(event: Event) -> None:
        span: Any = trace.get_current_span()
        seen.append((span.name.rpartition(".")[2], dict(baggage.get_all()), department.get()))

    async def note_later(event: Event) -> None:
        await asyncio.sleep(0)
        note(event)

    with EventHub() as hub:
        token = department.set("fx")
        hub.subscribe("topic=a", note)
        hub.subscribe("topic=a", note_later)
        hub.on("topic=a").pipe(ops.map(lambda event: event)).subscribe(note)
        department.reset(token)
        handle(hub, traced(SAMPLED))
    carried = {"shot": "sh010", "user": "ada"}
    assert seen == [("note", carried, "fx"), ("note_later", carried, "fx"), ("call Pipeline", carried, "fx")]
    assert {trace.format_trace_id(span.context.trace_id) for span in recorded.spans.values()} == {TRACE}
    assert not trace.get_current_span().get_span_context().is_valid


def test_replies_and_events_that_a_handler_publishes_belong_to_its_trace(recorded: Recorded) -> None:
    replies: list[Event] = []
    with EventHub() as hub:

        @hub.on("topic=a")
        def answer(_: Event) -> str:
            hub.publish(Event("b"))
            return "done"

        hub.publish(Event("a"), on_reply=replies.append)
        hub.drain()
    assert replies[0].data == "done"
    call, reply, further = recorded.ended(f"call {answer.__qualname__}", "publish ftrack.meta.reply", "publish b")
    assert is_child(reply, call) and is_child(further, call)
    assert reply.attributes is not None and call.attributes is not None
    assert reply.attributes["messaging.message.conversation_id"] == replies[0].in_reply_to_event


def test_a_callback_that_fails_marks_its_span_only(recorded: Recorded) -> None:
    def fail(_: Event) -> None:
        raise KeyError("shot")

    def stop(event: Event) -> None:
        event.stop()

    with EventHub() as hub:
        hub.subscribe("topic=a", fail)
        hub.subscribe("topic=a", stop, {"id": "stopper"})
        hub.subscribe("topic=a", print)
        hub.publish(Event("a"), synchronous=True)
    failed, delivered, _ = recorded.ended(f"call {fail.__qualname__}", "deliver a", "publish a")
    assert failed.status.status_code is StatusCode.ERROR and failed.events[0].name == "exception"
    assert failed.attributes is not None and failed.attributes["error.type"] == "KeyError"
    assert delivered.status.status_code is StatusCode.UNSET
    assert delivered.attributes is not None and delivered.attributes["rxhub.stopped_by"] == "stopper"
    assert "call print" not in recorded.names


def test_a_callback_on_a_scheduler_is_a_child_of_the_delivery(recorded: Recorded) -> None:
    def slow(_: Event) -> None:
        assert baggage.get_baggage("shot") == "sh010"

    with ThreadPoolExecutor(1) as pool, EventHub() as hub:
        hub.subscribe("topic=a", slow, scheduler=ThreadPoolScheduler(1))
        handle(hub, traced(SAMPLED))
        called, delivered = recorded.ended(f"call {slow.__qualname__}", "deliver a")
        assert is_child(called, delivered) and called.status.status_code is StatusCode.UNSET
        pool.shutdown()


def test_a_publish_that_is_refused_ends_its_span_with_the_error(recorded: Recorded) -> None:
    hub = EventHub(inbox=1)
    hub.publish(Event("a"))
    with pytest.raises(Exception, match="full"):
        hub.publish(Event("b"))
    hub.drain()
    hub.close()
    with pytest.raises(HubClosed):
        hub.publish(Event("c"))
    assert recorded.spans["publish b"].status.status_code is StatusCode.ERROR
    assert "publish c" not in recorded.names


def test_a_shared_source_is_not_changed_and_a_second_publish_gets_a_context_of_its_own(recorded: Recorded) -> None:
    seen: list[Any] = []
    with EventHub() as hub:
        hub.subscribe("topic=a", lambda event: seen.append(event.source))
        event = Event("a", source={"id": "mine"})
        before = event.source
        for _ in range(2):
            hub.publish(event)
            hub.drain()
    assert "traceparent" not in before and before["id"] == "mine"
    assert seen[0]["traceparent"] != seen[1]["traceparent"]


def test_a_forwarded_event_keeps_its_context(recorded: Recorded) -> None:
    seen: list[Any] = []
    with EventHub() as hub:
        hub.subscribe("topic=a", lambda event: seen.append(event.source))
        hub.forward(traced(SAMPLED))
        hub.drain()
    assert seen[0]["traceparent"] == SAMPLED and seen[0]["baggage"] == BAGGAGE
    published: Any = recorded.spans["publish a"]
    assert trace.format_trace_id(published.context.trace_id) == TRACE
    # Another span has created the context of the event.
    assert published.kind is SpanKind.CLIENT
    assert [trace.format_span_id(link.context.span_id) for link in published.links] == [SAMPLED.split("-")[2]]


def test_an_event_that_is_not_sampled_has_no_spans_but_its_context_reaches_handlers(recorded: Recorded) -> None:
    seen: list[Any] = []

    def note(_: Event) -> None:
        found = trace.get_current_span().get_span_context()
        seen.append((trace.format_trace_id(found.trace_id), found.trace_flags.sampled, baggage.get_baggage("shot")))
        # Libraries add to the context of the handler.
        token = context.attach(baggage.set_baggage("step", "2"))
        seen.append(dict(baggage.get_all()))
        context.detach(token)
        hub.publish(Event("b"))

    with EventHub() as hub:
        hub.subscribe("topic=a", note)
        hub.subscribe("topic=b", lambda event: seen.append(event.source))
        handle(hub, traced(NOT_SAMPLED))
        hub.drain()
    assert seen[:2] == [(TRACE, False, "sh010"), {"shot": "sh010", "user": "ada", "step": "2"}]
    assert seen[2]["traceparent"] == NOT_SAMPLED and seen[2]["baggage"] == BAGGAGE
    assert recorded.names == []


@pytest.mark.parametrize("flags", ["00", "02", "04"])
def test_each_event_that_is_not_sampled_keeps_its_context_after_its_callback(recorded: Recorded, flags: str) -> None:
    later: list[Any] = []

    def note(event: Event) -> None:
        kept = copy_context()
        later.append(lambda: (kept.run(baggage.get_baggage, "shot"), kept.run(trace.get_current_span)))
        event["source"] = {}

    with EventHub() as hub:
        hub.subscribe("topic=a", note)
        for shot in ("sh010", "sh020"):
            source = {"traceparent": NOT_SAMPLED[:-2] + flags, "baggage": f"shot={shot}"}
            handle(hub, Event("a", source=source))
    read = [each() for each in later]
    assert [shot for shot, _ in read] == ["sh010", "sh020"]
    assert all(trace.format_trace_id(span.get_span_context().trace_id) == TRACE for _, span in read)
    assert recorded.names == []


def test_subscribers_of_an_event_that_is_not_sampled_keep_their_own_variables(recorded: Recorded) -> None:
    department: ContextVar[str] = ContextVar("department", default="")
    seen: list[tuple[str, Any]] = []

    def note(_: Event) -> None:
        seen.append((department.get(), baggage.get_baggage("shot")))
        department.set("changed")

    with EventHub() as hub:
        for name in ("fx", "fx", "light", "fx"):
            token = department.set(name)
            hub.subscribe("topic=a", note)
            department.reset(token)
        hub.subscribe("topic=a", note)
        hub.subscribe("topic=a", note)
        handle(hub, traced(NOT_SAMPLED))
    assert seen == [(name, "sh010") for name in ("fx", "fx", "light", "fx", "", "")]


def test_the_sampler_decides_about_events_without_a_trace() -> None:
    seen: list[Any] = []
    with recording(ParentBased(ALWAYS_OFF)) as recorded, EventHub() as hub:
        hub.subscribe("topic=a", lambda _: seen.append(trace.get_current_span().get_span_context()))
        handle(hub, Event("a"))
        hub.publish(Event("a"))
        hub.drain()
    assert [found.trace_flags.sampled for found in seen] == [False, False] and all(found.is_valid for found in seen)
    assert recorded.names == []


@pytest.mark.parametrize("value", [5, None, [], "", "junk", "é" * 55, f"00-{'0' * 32}-b7ad6b7169203331-01", {"a": 1}])
def test_an_invalid_context_of_another_program_is_ignored(recorded: Recorded, value: Any) -> None:
    called: list[Event] = []
    with EventHub() as hub:
        hub.subscribe("topic=a", called.append)
        handle(hub, Event("a", source={"traceparent": value, "tracestate": value, "baggage": value}))
        handle(hub, Event("a", source="a string"))
        hub.forward(Event("a", source={"traceparent": value}))
        hub.drain()
    assert len(called) == 3
    assert recorded.spans["deliver a"].attributes


def test_tracing_that_is_switched_off_during_an_event_ends_its_spans(recorded: Recorded) -> None:
    with EventHub() as hub:
        hub.subscribe("topic=a", lambda _: uninstrument())
        hub.publish(Event("a"))
        hub.drain()
        hub.publish(Event("b"))
        hub.drain()
    assert sorted(recorded.names)[1:] == ["deliver a", "publish a"]


def test_without_opentelemetry_everything_runs_and_the_error_names_the_extra() -> None:
    code = """
import sys
sys.modules["opentelemetry"] = None
from rxhub import Event, EventHub
from rxhub.telemetry import instrument
with EventHub() as hub:
    hub.subscribe("topic=a", lambda event: print(event.topic))
    hub.publish(Event("a"), synchronous=True)
try:
    instrument()
except ModuleNotFoundError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == ["a", "Tracing needs opentelemetry: pip install 'rxhub[otel]'"]


def test_rxhub_does_not_import_opentelemetry_by_itself() -> None:
    code = "import rxhub, rxhub.telemetry, sys; print([name for name in sys.modules if name.startswith('opentel')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_opentelemetry_instrument_finds_the_entry_point() -> None:
    (found,) = entry_points(group="opentelemetry_instrumentor", name="rxhub")
    instrumentor = found.load()()
    instrumentor.instrument(skip_dep_check=True)
    try:
        assert tracing.active is not None
    finally:
        instrumentor.uninstrument()
    assert tracing.active is None


def test_without_a_provider_contexts_are_passed_on() -> None:
    seen: list[Any] = []
    instrument()
    try:
        with EventHub() as hub:
            hub.subscribe("topic=a", lambda _: seen.append(trace.get_current_span().get_span_context().trace_id))
            handle(hub, traced(SAMPLED))
    finally:
        uninstrument()
    assert [trace.format_trace_id(found) for found in seen] == [TRACE]


def test_the_delivery_span_ends_when_a_handler_ends_its_context(recorded: Recorded) -> None:
    def leave(_: Event) -> None:
        raise KeyboardInterrupt

    with EventHub() as hub:
        hub.subscribe("topic=a", leave)
        hub.publish(Event("a"))
        with pytest.raises(KeyboardInterrupt):
            hub.drain()
    until(lambda: "deliver a" in recorded.names)
