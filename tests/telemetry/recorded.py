"""Spans that tests record, without OpenTelemetry's global provider."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler

from rxhub.telemetry import instrument, uninstrument
from tests.threads import until

__all__ = ["BAGGAGE", "NOT_SAMPLED", "SAMPLED", "TRACE", "Recorded", "recorded", "recording"]

TRACE = "0af7651916cd43dd8448eb211c80319c"
SAMPLED = f"00-{TRACE}-b7ad6b7169203331-01"
NOT_SAMPLED = f"00-{TRACE}-b7ad6b7169203331-00"
BAGGAGE = "shot=sh010,user=ada"


class Recorded:
    """The spans of a provider."""

    def __init__(self, sampler: Sampler) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def every(self) -> tuple[ReadableSpan, ...]:
        """The spans that have ended, in this order."""
        return self._exporter.get_finished_spans()

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        """The spans that have ended, by name; the last one of each name."""
        return {span.name: span for span in self.every}

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.every]

    def ended(self, *names: str) -> list[ReadableSpan]:
        """Those spans, when they have ended."""
        until(lambda: set(names) <= set(self.names))
        spans = self.spans
        return [spans[name] for name in names]


def is_child(span: Any, parent: Any) -> bool:
    return span.parent.span_id == parent.context.span_id and span.context.trace_id == parent.context.trace_id


@contextmanager
def recording(sampler: Sampler | None = None) -> Generator[Recorded]:
    """Trace during the block."""
    made = Recorded(sampler or ParentBased(ALWAYS_ON))
    instrument(made.provider)
    try:
        yield made
    finally:
        uninstrument()


@pytest.fixture
def recorded() -> Generator[Recorded]:
    with recording() as made:
        yield made
