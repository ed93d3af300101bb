"""Switch tracing on and off, and the state that the hot paths read.

`active` is None until `instrument` is called. Publishing, dispatching and processing read it once for each event, so
tracing costs nothing measurable while it is off, and OpenTelemetry need not be installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rxhub.text.extras import missing_dependency

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from rxhub.telemetry.spans import Spans

__all__ = ["Instrumentor", "instrument", "uninstrument"]

active: Spans | None = None


def instrument(tracer_provider: TracerProvider | None = None) -> None:
    """Create spans from now on, in all hubs and servers of this process.

    Call it once, after you have configured OpenTelemetry and its propagators.

    Args:
        tracer_provider: creates the tracer. Default: OpenTelemetry's global provider.

    Raises:
        ModuleNotFoundError: if OpenTelemetry is not installed (`pip install 'rxhub[otel]'`).
    """
    global active
    try:
        from rxhub.telemetry.spans import Spans
    except ModuleNotFoundError as error:
        raise missing_dependency(error, "Tracing", "otel") from None
    active = Spans(tracer_provider)


def uninstrument() -> None:
    """Create no further spans. Spans that are open end as usual."""
    global active
    active = None


class Instrumentor:
    """The entry point for `opentelemetry-instrument`, which calls `instrument`."""

    def instrument(self, *, tracer_provider: TracerProvider | None = None, **_: Any) -> None:
        """Call `rxhub.telemetry.instrument`; other options are ignored."""
        instrument(tracer_provider)

    def uninstrument(self, **_: Any) -> None:
        """Call `rxhub.telemetry.uninstrument`."""
        uninstrument()
