"""The one place that creates spans, with the API of OpenTelemetry.

Names, kinds and attributes follow the semantic conventions of OpenTelemetry, whose messaging part is in development:
`docs/messaging/messaging-spans.md` and `docs/http/http-spans.md` in
https://github.com/open-telemetry/semantic-conventions.

| span | kind | operation type | parent |
|---|---|---|---|
| `publish TOPIC` | producer | send | the current span; its context goes into the event |
| `publish TOPIC`, forwarded with its context | client | send | the event |
| `deliver TOPIC` | consumer | process | the event |
| `call FUNCTION` | internal | | `deliver` |
| `process TOPIC` | consumer | process | the event |
| `replay` | client | receive | the current span |
| `METHOD ROUTE` | server | | the headers of the request |

Spans whose parent is the event also have a link to it, which the conventions ask for. The destination is the topic, so
`messaging.system` is "rxhub" on every transport.

If the trace of an event is not sampled, its handling creates no spans, as OpenTelemetry's default sampler
(`ParentBased`) would decide. The handlers still get the trace context and the baggage, decoded when they are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextvars import Context as Variables
from contextvars import copy_context
from typing import Any, Final, ParamSpec, Protocol, TypeAlias, TypeVar, cast

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace import Link, SpanContext, SpanKind, Tracer, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from rxhub.event import Event
from rxhub.telemetry.log_fields import event_fields
from rxhub.telemetry.open_spans import OpenSpan, RequestSpan
from rxhub.telemetry.trace_carrier import FIELDS, carrier_of

__all__ = ["HandlerTrace", "Spans"]

_SYSTEM: Final = "rxhub"
# The flags in `traceparent`, from their position, of a trace that is not sampled; 02 says that its id is random.
_FLAGS: Final = 52
_NOT_SAMPLED: Final = frozenset({"-00", "-02"})

_METHODS: Final = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})

P = ParamSpec("P")
T = TypeVar("T")

# In the context of a handler: the event, the group and the attempt.
_HANDLED: Final = otel.create_key("rxhub-handled")
Handled: TypeAlias = tuple[Event, str | None, int | None]

_propagator = CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])


def _setter() -> Callable[[Any], object]:
    """Sets the current context: the variable of OpenTelemetry if there is one, because `attach` takes twice as long."""
    variables, context = Variables(), Context()
    variables.run(otel.attach, context)
    return next((each.set for each, value in variables.items() if value is context), otel.attach)


_set_current = _setter()


class Callee(Protocol):
    """The attributes of a subscriber that its span records."""

    @property
    def id(self) -> str: ...
    @property
    def priority(self) -> float: ...
    @property
    def callback(self) -> Callable[..., Any]: ...
    @property
    def context(self) -> Variables: ...


class HandlerTrace:
    """The trace of one event in its handlers.

    Attributes:
        records: whether `end_call` and `end` have an effect.
        trace_id: in hexadecimal digits; empty if nothing is recorded.
    """

    __slots__ = ()
    records = False
    trace_id: str = ""

    def attach(self, variables: Variables) -> None:
        """Make the innermost open span the current one in `variables`."""
        raise NotImplementedError

    def enter(self, callee: Callee) -> Variables:
        """End the previous call, and begin that of a subscriber; a copy of its variables to call it in."""
        variables = callee.context.copy()
        self.attach(variables)
        return variables

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in a copy of the present variables, with the innermost open span as the current one."""
        variables = copy_context()
        self.attach(variables)
        return variables.run(function, *args, **kwargs)

    def branch(self) -> HandlerTrace:
        """The trace of a call that runs beside others."""
        return self

    def end_call(self, error: BaseException | None = None) -> None:
        """End the call that `enter` has begun."""

    def end(self, error: BaseException | None = None, stopped_by: str = "") -> None:
        """End the span of the event."""


class _Unsampled(HandlerTrace, Mapping[str, object]):
    """A trace that is not recorded, and OpenTelemetry's context of it, which is decoded when it is first read.

    `handle` sets the attributes, because `__init__` would take longer than the rest.
    """

    event: Event
    group: str | None = None
    attempt: int | None = None
    source: Any = None
    decoded: Context | None = None

    def attach(self, variables: Variables) -> None:
        variables.run(_set_current, self)

    def enter(self, callee: Callee) -> Variables:
        variables = callee.context.copy()
        variables.run(_set_current, self)
        return variables

    @property
    def _context(self) -> Context:
        if self.decoded is None:
            self.decoded = _extract(self.source, (self.event, self.group, self.attempt))
        return self.decoded

    def copy(self) -> dict[str, object]:
        return dict(self._context)

    def __getitem__(self, key: str) -> object:
        return self._context[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._context)

    def __len__(self) -> int:
        return len(self._context)


class _Recorded(HandlerTrace):
    """A trace with a span for the event, and one for each call."""

    __slots__ = ("_call", "_outer", "_tracer", "trace_id")
    records = True
    trace_id: str

    def __init__(self, tracer: Tracer, outer: OpenSpan) -> None:
        self._tracer = tracer
        self._outer = outer
        self._call: OpenSpan | None = None
        self.trace_id = trace.format_trace_id(outer.span.get_span_context().trace_id)

    def attach(self, variables: Variables) -> None:
        (self._call or self._outer).attach(variables)

    def enter(self, callee: Callee) -> Variables:
        self.end_call()
        callback = callee.callback
        name = getattr(callback, "__qualname__", type(callback).__qualname__)
        attributes = {
            "code.function.name": f"{getattr(callback, '__module__', '')}.{name}",
            "rxhub.subscriber.id": callee.id,
            "rxhub.subscriber.priority": callee.priority,
        }
        parent = self._outer.context
        self._call = OpenSpan(self._tracer.start_span(f"call {name}", parent, attributes=attributes), parent)
        return super().enter(callee)

    def branch(self) -> HandlerTrace:
        return _Recorded(self._tracer, self._outer)

    def end_call(self, error: BaseException | None = None) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.end(error)

    def end(self, error: BaseException | None = None, stopped_by: str = "") -> None:
        if stopped_by:
            self._outer.span.set_attribute("rxhub.stopped_by", stopped_by)
        self._outer.end(error)


class Spans:
    """Starts the spans of a process."""

    def __init__(self, tracer_provider: TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer("rxhub", tracer_provider=tracer_provider)

    def publish(self, event: MutableMapping[str, Any], client: str, is_forwarded: bool = False) -> OpenSpan | None:
        """An event is published: start a span, and write its context into the event.

        Args:
            event: gets a new `source`, since other hubs may share the old one. A forwarded event keeps its context.
            client: the id of the hub.
            is_forwarded: whether it comes from another hub.

        Returns:
            The span; None if the trace is not sampled.
        """
        source: object = event.get("source")
        known = carrier_of(source) if is_forwarded else {}
        parent = _propagator.extract(known, Context()) if known else otel.get_current()
        current = cast("object", parent)
        if isinstance(current, _Unsampled) and current.source is not None:
            # Published by a handler of an event that is not sampled.
            _set_carrier(event, source, carrier_of(current.source))
            return None
        before = trace.get_current_span(parent).get_span_context()
        started: OpenSpan | None = None
        if before.trace_flags.sampled or not before.is_valid:
            attributes = _messaging(event, "publish", "send")
            attributes["messaging.client.id"] = client
            kind, links = (SpanKind.CLIENT, _links(before)) if "traceparent" in known else (SpanKind.PRODUCER, None)
            span = self._tracer.start_span(f"publish {event.get('topic')}", parent, kind, attributes, links)
            started = OpenSpan(span, parent)
        if "traceparent" not in known:
            carrier: dict[str, str] = {}
            _propagator.inject(carrier, parent if started is None else started.context)
            _set_carrier(event, source, carrier)
        return started if started is not None and started.span.is_recording() else None

    def handle(self, event: Event, group: str | None = None, attempt: int | None = None) -> HandlerTrace:
        """An event is dispatched to its subscribers, or to the handler of a group."""
        source: Any = None
        # The common path, which creates one object.
        unsampled = _Unsampled()
        try:
            source = event._fields["source"]  # pyright: ignore[reportPrivateUsage]
            if source["traceparent"][_FLAGS:] in _NOT_SAMPLED:
                unsampled.event = event
                unsampled.source = source
                if group is not None:
                    unsampled.group = group
                    unsampled.attempt = attempt
                return unsampled
        except (KeyError, TypeError):
            pass  # no valid context
        parent = _extract(source, (event, group, attempt))
        before = trace.get_current_span(parent).get_span_context()
        if before.is_valid and not before.trace_flags.sampled:
            unsampled.decoded = parent
            return unsampled
        operation = "deliver" if group is None else "process"
        attributes = _messaging(event, operation, "process")
        if group is not None:
            attributes |= {"messaging.consumer.group.name": group, "rxhub.attempt": attempt}
        name = f"{operation} {event.get('topic')}"
        span = self._tracer.start_span(name, parent, SpanKind.CONSUMER, attributes, _links(before))
        opened = OpenSpan(span, parent)
        if span.is_recording():
            return _Recorded(self._tracer, opened)
        unsampled.decoded = opened.context
        return unsampled

    def replay(self, subscription: str) -> OpenSpan:
        """Stored events are read. `messaging.batch.message_count` is set at the end."""
        attributes = {
            "messaging.system": _SYSTEM,
            "messaging.operation.name": "replay",
            "messaging.operation.type": "receive",
            "messaging.destination.subscription.name": subscription,
        }
        parent = otel.get_current()
        span = self._tracer.start_span("replay", parent, SpanKind.CLIENT, attributes)
        return OpenSpan(span, parent)

    def request(self, method: str, scheme: str, path: str, headers: Mapping[str, str]) -> RequestSpan:
        """A request is received."""
        method = method if method in _METHODS else "_OTHER"
        attributes = {"http.request.method": method, "url.scheme": scheme, "url.path": path}
        parent = _propagator.extract(carrier_of(headers), Context())
        name = "HTTP" if method == "_OTHER" else method
        return RequestSpan(self._tracer.start_span(name, parent, SpanKind.SERVER, attributes), parent, name)

    def current_carrier(self) -> dict[str, str]:
        """The fields for an event that is published in the current context."""
        carrier: dict[str, str] = {}
        _propagator.inject(carrier)
        return carrier

    def handled_fields(self) -> dict[str, Any] | None:
        """The attributes of log records about the event that is handled in the current context; None without one."""
        handled: Any = otel.get_value(_HANDLED)
        if handled is None:
            return None
        span = trace.get_current_span().get_span_context()
        return event_fields(*handled, trace_id=trace.format_trace_id(span.trace_id) if span.is_valid else "")


def _extract(source: object, handled: Handled) -> Context:
    """The context in the source of an event, for its handlers."""
    carrier = carrier_of(source)
    return otel.set_value(_HANDLED, handled, _propagator.extract(carrier, Context()) if carrier else Context())


def _links(created: SpanContext) -> list[Link]:
    """The link of a message to the context in which it was created."""
    return [Link(created)] if created.is_valid else []


def _messaging(event: Mapping[str, Any], operation: str, kind: str) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "messaging.system": _SYSTEM,
        "messaging.operation.name": operation,
        "messaging.operation.type": kind,
        "messaging.destination.name": str(event.get("topic")),
        "messaging.message.id": str(event.get("id")),
    }
    if (answered := event.get("in_reply_to_event")) is not None:
        attributes["messaging.message.conversation_id"] = str(answered)
    return attributes


def _set_carrier(event: MutableMapping[str, Any], source: object, carrier: Mapping[str, str]) -> None:
    """Replace the fields in the source of an event."""
    fields: Mapping[str, Any] = cast("Mapping[str, Any]", source) if isinstance(source, Mapping) else {}
    event["source"] = {**{name: value for name, value in fields.items() if name not in FIELDS}, **carrier}
