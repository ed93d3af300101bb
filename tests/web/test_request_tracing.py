"""The trace context of HTTP requests: spans, and events that continue the trace."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from rxhub import EventHub
from rxhub.server import Limits, Running, running
from tests.telemetry.recorded import BAGGAGE, NOT_SAMPLED, SAMPLED, TRACE, Recorded, recorded
from tests.threads import until
from tests.web.api import api
from tests.web.reader import reading

__all__ = ["recorded"]

HEADERS = {"traceparent": SAMPLED, "tracestate": "studio=1", "baggage": BAGGAGE}


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(limits=Limits(events=1e9), grace=1) as server:
        yield server


@pytest.fixture
def sources(server: Running) -> Iterator[list[Any]]:
    """The sources of the events that a hub receives."""
    seen: list[Any] = []
    with EventHub(server.url, server.api_user, server.api_key) as hub:
        hub.connect()
        hub.subscribe("topic=traced.*", lambda event: seen.append(event.source))
        hub.start()
        until(lambda: hub.subscriptions_synced)
        yield seen


def test_a_request_has_a_span_whose_context_is_in_its_events(
    server: Running, sources: list[Any], recorded: Recorded
) -> None:
    response = api(server, "POST", "/events", {"topic": "traced.a"}, headers=HEADERS)
    assert response.status_code == 202
    (span,) = recorded.ended("POST /api/events")
    assert span.kind is SpanKind.SERVER and span.parent is not None
    assert trace.format_span_id(span.parent.span_id) in SAMPLED and f"{span.context.trace_id:032x}" == TRACE
    assert span.attributes == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "url.path": "/api/events",
        "http.route": "/api/events",
        "http.response.status_code": 202,
    }
    until(lambda: sources)
    assert sources[0]["traceparent"] == f"00-{TRACE}-{span.context.span_id:016x}-01"
    assert sources[0]["tracestate"] == "studio=1" and sources[0]["baggage"] == BAGGAGE
    (delivered,) = recorded.ended("deliver traced.a")
    assert delivered.parent is not None and delivered.parent.span_id == span.context.span_id


def test_without_tracing_the_headers_are_passed_on(server: Running, sources: list[Any]) -> None:
    events = [
        {"topic": "traced.a"},
        {"topic": "traced.b", "source": {"id": "mine"}},
        {"topic": "traced.c", "source": {"id": "mine", "traceparent": NOT_SAMPLED}},
    ]
    assert api(server, "POST", "/events", events, headers=HEADERS).status_code == 202
    until(lambda: len(sources) == 3)
    assert [{name: source.get(name) for name in HEADERS} for source in sources] == [
        HEADERS,
        HEADERS,
        {"traceparent": NOT_SAMPLED, "tracestate": None, "baggage": None},
    ]
    assert sources[1]["id"] == "mine"


def test_a_refused_request_has_a_route_and_its_status(server: Running, recorded: Recorded) -> None:
    assert httpx.get(f"{server.url}/api/streams/none/events", trust_env=False).status_code in {401, 404}
    assert httpx.get(f"{server.url}/api/nothing", trust_env=False).status_code == 404
    until(lambda: len(recorded.names) == 2)
    assert all(span.status.status_code is StatusCode.UNSET for span in recorded.every)
    assert recorded.spans["GET"].attributes == {
        "http.request.method": "GET",
        "url.scheme": "http",
        "url.path": "/api/nothing",
        "http.response.status_code": 404,
    }


def test_the_span_of_a_stream_ends_with_the_headers_of_its_response(server: Running, recorded: Recorded) -> None:
    with reading(server, "topic=traced.*"):
        (span,) = recorded.ended("GET /api/events")
    assert span.attributes is not None and span.attributes["http.response.status_code"] == 200


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_cloudevents_carry_the_context_in_both_directions(server: Running, sources: list[Any], mode: str) -> None:
    attributes = {"specversion": "1.0", "id": f"1-{mode}", "source": "/x", "type": "traced.cloud"}
    attributes |= {"traceparent": SAMPLED, "tracestate": "studio=1"}
    if mode == "binary":
        headers, body = {f"ce-{name}": value for name, value in attributes.items()}, ""
    else:
        headers, body = {"content-type": "application/cloudevents+json"}, json.dumps(attributes)
    with reading(server, "topic=traced.*", format="cloudevents") as reader:
        # The context of the event precedes that of the request that sends it.
        response = api(server, "POST", "/events", headers={"traceparent": NOT_SAMPLED} | headers, content=body)
        assert response.status_code == 202
        (event,) = reader.wait(1)
    assert event.items() >= {"traceparent": SAMPLED, "tracestate": "studio=1"}.items()
    until(lambda: sources)
    assert sources[0]["traceparent"] == SAMPLED and "traceparent" not in sources[0]["cloudevent"]
