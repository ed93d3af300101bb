"""Tracing on, but the trace of the event is not sampled, beside tracing off.

In the rows with a goal, the sampler has decided when the event was published. The others show what its decision costs,
and what a sampled trace costs without an exporter.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from functools import partial
from typing import Any

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased

from rxhub import Dispatcher, Event, EventHub
from rxhub.telemetry import instrument, uninstrument
from tests.benchmarks.bench_dispatch import callback, fields, subscription
from tests.benchmarks.bench_process import Processing
from tests.benchmarks.jetstream import jetstream
from tests.benchmarks.measure import Goal, Loop, Row, Sampler, at_most, compare, table

__all__ = ["run"]

_GOAL = at_most(1.15)
_PROCESS_ROUNDS = 15
_CONTEXT = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", "baggage": "shot=sh010"}


def _traced(sampler: Any) -> Any:
    return partial(instrument, TracerProvider(sampler=ParentBased(sampler), shutdown_on_exit=False))


_unsampled, _sampled = _traced(ALWAYS_OFF), _traced(ALWAYS_ON)


def dispatching(count: int, begin: Any, flags: str = "00", goal: Goal | None = _GOAL) -> Row:
    """A dispatch to `count` callbacks."""
    dispatcher = Dispatcher()
    for number in range(100):
        dispatcher.subscribe(subscription(number), callback)
    for _ in range(count - 1):
        dispatcher.subscribe(subscription(5), callback)
    event = Event(**fields(5))
    event.source = {**event.source, **_CONTEXT, "traceparent": _CONTEXT["traceparent"][:-2] + flags}
    return compare(
        f"dispatch to {count}, {'sampled' if goal is None else 'not sampled'}",
        Loop("dispatch(event)", setup="begin()", dispatch=dispatcher.dispatch, event=event, begin=begin),
        Loop("dispatch(event)", setup="begin()", dispatch=dispatcher.dispatch, event=event, begin=uninstrument),
        goal,
        peer_name="tracing off",
    )


def publishing(hub: EventHub, begin: Any, what: str) -> Row:
    """An event that a hub publishes and handles; the sampler decides for each."""
    statement = "publish(Event('studio.tool5.launch')); drain()"
    names: dict[str, Any] = {"publish": hub.publish, "drain": hub.drain, "Event": Event}
    return compare(
        f"publish and handle, {what}",
        Loop(statement, setup="begin()", begin=begin, **names),
        Loop(statement, setup="begin()", begin=uninstrument, **names),
        peer_name="tracing off",
    )


class _Traced:
    """A sampler of `hub.process` with tracing on or off."""

    def __init__(self, sampler: Sampler, begin: Any) -> None:
        self._sampler = sampler
        self._begin = begin

    def __call__(self) -> float:
        self._begin()
        try:
            return self._sampler()
        finally:
            uninstrument()


def processing(stack: ExitStack) -> Row:
    """An event of 1 KB, from the stream to its acknowledgement."""
    hub = stack.enter_context(EventHub(stack.enter_context(jetstream()), stream="process"))
    hub.connect()
    return compare(
        "hub.process, not sampled",
        _Traced(Processing(hub, "traced", source=_CONTEXT), _unsampled),
        _Traced(Processing(hub, "plain", source=_CONTEXT), uninstrument),
        _GOAL,
        peer_name="tracing off",
        rounds=_PROCESS_ROUNDS,
    )


def run() -> list[Row]:
    """Measure all rows."""
    logging.disable()
    try:
        with ExitStack() as stack:
            hub = stack.enter_context(EventHub())
            hub.subscribe("topic=studio.tool5.launch", callback)
            hub.drain()
            return [
                processing(stack),
                dispatching(1, _unsampled),
                dispatching(10, _unsampled),
                publishing(hub, _unsampled, "not sampled"),
                dispatching(1, _sampled, "01", None),
                publishing(hub, _sampled, "sampled"),
            ]
    finally:
        uninstrument()
        logging.disable(logging.NOTSET)


if __name__ == "__main__":
    print(table(run()))
