"""The fields of log records, and two libraries that format them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest
import structlog
from pythonjsonlogger.json import JsonFormatter

from rxhub import Event, EventHub
from rxhub.telemetry import LOG_FIELDS, add_event_fields, instrument, uninstrument
from rxhub.testing import Nats
from tests.telemetry.recorded import NOT_SAMPLED, SAMPLED, TRACE, Recorded, recorded
from tests.threads import until

__all__ = ["recorded"]


@contextmanager
def logging_to(formatter: logging.Formatter) -> Generator[io.StringIO]:
    """The log of rxhub, formatted."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger = logging.getLogger("rxhub")
    logger.addHandler(handler)
    try:
        yield stream
    finally:
        logger.removeHandler(handler)


def fail(_: Event) -> None:
    raise OSError("disk")


def publish(event: Event) -> None:
    with EventHub() as hub:
        hub.subscribe("topic=shot.*", fail)
        hub.publish(event, synchronous=True)


def line(stream: io.StringIO) -> dict[str, Any]:
    (only,) = stream.getvalue().splitlines()
    return json.loads(only)


def test_json_logging_writes_the_fields() -> None:
    event = Event("shot.new", source={"traceparent": SAMPLED})
    formatter = JsonFormatter("{levelname}{message}", style="{")
    with logging_to(formatter) as stream:
        publish(event)
    found = line(stream)
    assert found["message"].startswith("Error calling") and "OSError: disk" in found["exc_info"]
    assert {name: found[name] for name in LOG_FIELDS} == {
        "event_id": event.id,
        "topic": "shot.new",
        "group": None,
        "attempt": None,
        "trace_id": TRACE,
    }


def test_structlog_writes_the_fields() -> None:
    event = Event("shot.new")
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.ExtraAdder(allow=LOG_FIELDS),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
    )
    with logging_to(formatter) as stream:
        publish(event)
    found = line(stream)
    assert found["event"].startswith("Error calling") and found["level"] == "error"
    assert {name: found[name] for name in LOG_FIELDS} == {
        "event_id": event.id,
        "topic": "shot.new",
        "group": None,
        "attempt": None,
        "trace_id": None,
    }


def test_the_trace_id_is_that_of_the_span_that_handles_the_event(
    recorded: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    with EventHub() as hub:
        hub.subscribe("topic=shot.*", fail)
        hub._inbox.put(Event("shot.new"))
        hub.drain()
    (record,) = caplog.records
    (delivered,) = recorded.ended("deliver shot.new")
    assert vars(record)["trace_id"] == f"{delivered.context.trace_id:032x}"


@contextmanager
def handlers_log() -> Generator[list[dict[str, Any]]]:
    """The fields of the records of a program's logger."""
    found: list[dict[str, Any]] = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append({name: vars(record)[name] for name in LOG_FIELDS})
    handler.addFilter(add_event_fields)
    logger = logging.getLogger("studio")
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)


def write(_: Event) -> None:
    logging.getLogger("studio").warning("rendered")


@pytest.mark.parametrize("parent", ["", SAMPLED, NOT_SAMPLED])
def test_the_filter_adds_the_fields_to_the_records_of_callbacks(parent: str) -> None:
    event = Event("shot.new", source={"traceparent": parent} if parent else None)
    instrument()  # without a provider
    try:
        with handlers_log() as found, EventHub() as hub:
            hub.subscribe("topic=shot.*", write)
            hub._inbox.put(event)
            hub.drain()
            write(event)
    finally:
        uninstrument()
    fields = {"event_id": event.id, "topic": "shot.new", "group": None, "attempt": None}
    assert found == [fields | {"trace_id": TRACE if parent else None}, dict.fromkeys(LOG_FIELDS)]


def test_the_filter_adds_group_and_attempt_to_the_records_of_a_group(nats: Nats, recorded: Recorded) -> None:
    with handlers_log() as found, EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as hub:
        hub.connect()
        with hub.process("topic=shot.*", write, group="g"):
            for parent in (SAMPLED, NOT_SAMPLED):
                hub.forward(Event("shot.new", id=parent, source={"traceparent": parent}))
            until(lambda: len(found) == 2)
    fields = {"topic": "shot.new", "group": "g", "attempt": 1, "trace_id": TRACE}
    assert found == [{"event_id": SAMPLED} | fields, {"event_id": NOT_SAMPLED} | fields]


def test_without_traces_the_filter_adds_none() -> None:
    with handlers_log() as found, EventHub() as hub:
        hub.subscribe("topic=shot.*", write)
        hub.publish(Event("shot.new"), synchronous=True)
    assert found == [dict.fromkeys(LOG_FIELDS)]
