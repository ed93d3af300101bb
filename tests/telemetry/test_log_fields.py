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
from rxhub.telemetry import LOG_FIELDS
from tests.telemetry.recorded import SAMPLED, TRACE, Recorded, recorded

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
