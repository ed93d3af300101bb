"""The one place that creates spans, with the API of OpenTelemetry.

Names, kinds and attributes follow the semantic conventions of OpenTelemetry, whose messaging part is in development:
`docs/messaging/messaging-spans.md` and `docs/http/http-spans.md` in
https://github.com/open-telemetry/semantic-conventions.

| span | kind | operation type | parent |
|---|---|---|---|
| `publish TOPIC` | producer | send | the current span; its context goes into the event |
| `deliver TOPIC` | consumer | process | the event |
| `call FUNCTION` | internal | | `deliver` |
| `process TOPIC` | consumer | process | the event |
| `replay` | client | receive | the current span |
| `METHOD ROUTE` | server | | the headers of the request |

The destination is the topic, so `messaging.system` is "rxhub" on every transport: the conventions of `nats` demand the
name of a subject or stream.

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
from opentelemetry.trace import SpanKind, Tracer, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from rxhub.event import Event
from rxhub.telemetry.log_fields import event_fields
from rxhub.telemetry.open_spans import OpenSpan, RequestSpan
from rxhub.telemetry.trace_carrier import FIELDS, carrier_of

__all__ = ["HandlerTrace", "Spans"]

_SYSTEM: Final = "rxhub"
# Last digit of the flags of a trace that is not sampled.
_EVEN: Final = frozenset("02468ace")

_METHODS: Final = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})

P = ParamSpec("P")
T = TypeVar("T")

# In the context of a handler: the event, the group and the attempt.
_HANDLED: Final = otel.create_key("rxhub-handled")
Handled: TypeAlias = tuple[Event, str | None, int | None]

_attach = otel.attach
_new = dict.__new__
_propagator = CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])


class Callee(Protocol):
    """What a span tells of a subscriber."""

    @property
    def id(self) -> str: ...
    @property
    def priority(self) -> float: ...
    @property
    def callback(self) -> Callable[..., Any]: ...
    @property
    def context(self) -> Variables: ...


class HandlerTrace(Protocol):
    """The trace of one event in its handlers.

    Attributes:
        records: whether `end_call` and `end` have an effect.
        trace_id: in hexadecimal digits; empty if nothing is recorded.
    """

    @property
    def records(self) -> bool: ...
    @property
    def trace_id(self) -> str: ...

    def call(self, callee: Callee, event: Event) -> Any:
        """End the previous call, and call a subscriber in a copy of its variables; the result."""
        ...

    def attach(self, variables: Variables) -> None:
        """Make the innermost open span the current one in `variables`."""
        ...

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in a copy of the present variables, with the innermost open span as the current one."""
        ...

    def branch(self) -> HandlerTrace:
        """The trace of a call that runs beside others."""
        ...

    def end_call(self, error: BaseException | None = None) -> None: ...
    def end(self, error: BaseException | None = None, stopped_by: str = "") -> None: ...


class _Unsampled(Context):
    """A context without a sampled span, which is the trace of an event as well: the hot path creates one object."""

    records = False
    trace_id = ""

    def call(self, callee: Callee, event: Event) -> Any:
        variables = callee.context.copy()
        variables.run(_attach, self)
        return variables.run(callee.callback, event)

    def attach(self, variables: Variables) -> None:
        variables.run(_attach, self)

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        variables = copy_context()
        variables.run(_attach, self)
        return variables.run(function, *args, **kwargs)

    def branch(self) -> HandlerTrace:
        return self

    def end_call(self, error: BaseException | None = None) -> None:
        pass

    def end(self, error: BaseException | None = None, stopped_by: str = "") -> None:
        pass


class _Undecoded(_Unsampled):
    """The context in the source of an event, decoded when it is first read.

    Subscribers that share their variables, as most do, also share the copy in which this context is the current one.
    `_unsampled` sets the attributes, because `__init__` would take longer than the rest.
    """

    __slots__ = ("_decoded", "handled", "shared", "source")

    handled: Handled
    source: dict[str, Any]
    # The variables of a subscriber and the copy. One tuple, because schedulers call subscribers in several threads.
    shared: tuple[Variables, Variables] | None
    _decoded: Context

    def call(self, callee: Callee, event: Event) -> Any:
        shared = self.shared
        if shared is None or shared[0] is not callee.context:
            original = callee.context
            variables = original.copy()
            variables.run(_attach, self)
            self.shared = shared = (original, variables)
        return shared[1].copy().run(callee.callback, event)

    @property
    def decoded(self) -> Context:
        try:
            return self._decoded
        except AttributeError:
            context = _propagator.extract(carrier_of(self.source), Context())
            self._decoded = otel.set_value(_HANDLED, self.handled, context)
            return self._decoded

    def get(self, key: str, default: Any = None, /) -> Any:
        return self.decoded.get(key, default)

    def copy(self) -> dict[str, object]:
        return self.decoded.copy()

    def __getitem__(self, key: str) -> object:
        return self.decoded[key]

    def __contains__(self, key: object) -> bool:
        return key in self.decoded

    def __iter__(self) -> Iterator[str]:
        return iter(self.decoded)

    def __len__(self) -> int:
        return len(self.decoded)

    def keys(self) -> Any:
        return self.decoded.keys()

    def values(self) -> Any:
        return self.decoded.values()

    def items(self) -> Any:
        return self.decoded.items()


class _Recorded:
    """A trace with a span for the event, and one for each call."""

    __slots__ = ("_call", "_outer", "_tracer", "trace_id")
    records = True

    def __init__(self, tracer: Tracer, outer: OpenSpan) -> None:
        self._tracer = tracer
        self._outer = outer
        self._call: OpenSpan | None = None
        self.trace_id = trace.format_trace_id(outer.span.get_span_context().trace_id)

    def call(self, callee: Callee, event: Event) -> Any:
        self.end_call()
        callback = callee.callback
        name = getattr(callback, "__qualname__", type(callback).__qualname__)
        attributes = {
            "code.function.name": f"{getattr(callback, '__module__', '')}.{name}",
            "rxhub.subscriber.id": callee.id,
            "rxhub.subscriber.priority": callee.priority,
        }
        parent = self._outer.context
        self._call = call = OpenSpan(self._tracer.start_span(f"call {name}", parent, attributes=attributes), parent)
        variables = callee.context.copy()
        call.attach(variables)
        return variables.run(callback, event)

    def attach(self, variables: Variables) -> None:
        (self._call or self._outer).attach(variables)

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        variables = copy_context()
        self.attach(variables)
        return variables.run(function, *args, **kwargs)

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
        if type(parent) is _Undecoded:
            # Published by a handler of an event that is not sampled.
            _set_carrier(event, source, carrier_of(parent.source))
            return None
        before = trace.get_current_span(parent).get_span_context()
        started: OpenSpan | None = None
        if before.trace_flags.sampled or not before.is_valid:
            attributes = _messaging(event, "publish", "send")
            attributes["messaging.client.id"] = client
            span = self._tracer.start_span(f"publish {event.get('topic')}", parent, SpanKind.PRODUCER, attributes)
            started = OpenSpan(span, parent)
        if "traceparent" not in known:
            carrier: dict[str, str] = {}
            _propagator.inject(carrier, parent if started is None else started.context)
            _set_carrier(event, source, carrier)
        return started if started is not None and started.span.is_recording() else None

    def deliver(self, event: Event) -> HandlerTrace:
        """An event is dispatched to its subscribers."""
        handled = (event, None, None)
        if (unsampled := _unsampled(handled)) is not None:
            return unsampled
        return self._handle(handled, "deliver", _messaging(event, "deliver", "process"))

    def process(self, event: Event, group: str, attempt: int) -> HandlerTrace:
        """The handler of a group is called."""
        handled = (event, group, attempt)
        if (unsampled := _unsampled(handled)) is not None:
            return unsampled
        attributes = _messaging(event, "process", "process")
        attributes |= {"messaging.consumer.group.name": group, "rxhub.attempt": attempt}
        return self._handle(handled, "process", attributes)

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

    def _handle(self, handled: Handled, operation: str, attributes: dict[str, Any]) -> HandlerTrace:
        event = handled[0]
        carrier = carrier_of(event.get("source"))
        parent = _propagator.extract(carrier, Context()) if carrier else Context()
        parent = otel.set_value(_HANDLED, handled, parent)
        before = trace.get_current_span(parent).get_span_context()
        if before.is_valid and not before.trace_flags.sampled:
            return _Unsampled(parent)
        span = self._tracer.start_span(f"{operation} {event.get('topic')}", parent, SpanKind.CONSUMER, attributes)
        opened = OpenSpan(span, parent)
        return _Recorded(self._tracer, opened) if span.is_recording() else _Unsampled(opened.context)


def _unsampled(handled: Handled) -> _Undecoded | None:
    """The context of an event whose trace is not sampled, found without decoding it; None if that is not certain."""
    source: Any = handled[0]._fields.get("source")  # pyright: ignore[reportPrivateUsage]
    if source.__class__ is dict:
        parent: Any = source.get("traceparent")
        if parent.__class__ is str and len(parent) == 55 and parent[54] in _EVEN and parent[:3] == "00-":
            found: _Undecoded = _new(_Undecoded)
            found.handled = handled
            found.source = source
            found.shared = None
            return found
    return None


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
