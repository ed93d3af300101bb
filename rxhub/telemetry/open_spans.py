"""Spans that were started and have not ended."""

from __future__ import annotations

from concurrent.futures import Future
from contextvars import Context as Variables
from typing import Final

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, StatusCode

__all__ = ["OpenSpan", "RequestSpan"]

_SERVER_ERROR: Final = 500


class OpenSpan:
    """A span that was started, and the context in which it is current."""

    __slots__ = ("context", "span")

    def __init__(self, span: Span, parent: Context) -> None:
        self.span = span
        # Without a provider, older versions of OpenTelemetry create invalid spans.
        self.context = trace.set_span_in_context(span, parent) if span.get_span_context().is_valid else parent

    def attach(self, variables: Variables) -> None:
        """Make the span the current one in `variables`."""
        variables.run(otel.attach, self.context)

    def end(self, error: BaseException | None = None) -> None:
        """End the span, with an error if there is one."""
        span = self.span
        if error is not None:
            span.record_exception(error)
            span.set_status(StatusCode.ERROR, str(error))
            span.set_attribute("error.type", type(error).__qualname__)
        span.end()

    def end_with(self, future: Future[None]) -> None:
        """End the span when the future is done."""
        future.add_done_callback(lambda done: self.end(done.exception()))


class RequestSpan:
    """The span of a request, which is the current one in a `with` block."""

    __slots__ = ("_has_ended", "_name", "_span", "_token")

    def __init__(self, span: Span, parent: Context, name: str) -> None:
        self._span = OpenSpan(span, parent)
        self._name = name
        self._has_ended = False

    def __enter__(self) -> None:
        self._token = otel.attach(self._span.context)

    def __exit__(self, *_: object) -> None:
        otel.detach(self._token)

    def respond(self, route: str, status: int) -> None:
        """End the span with the status of the response, unless it has ended. `route` is empty if none matched."""
        if self._has_ended:
            return
        self._has_ended = True
        span = self._span.span
        span.set_attribute("http.response.status_code", status)
        if route:
            span.set_attribute("http.route", route)
            span.update_name(f"{self._name} {route}")
        if status >= _SERVER_ERROR:
            span.set_attribute("error.type", str(status))
            span.set_status(StatusCode.ERROR)
        span.end()
