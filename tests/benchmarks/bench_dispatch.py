"""One event through a dispatcher, beside ftrack's hub and beside the bare parts."""

from __future__ import annotations

import gc
import logging
import tracemalloc
from collections.abc import Callable
from typing import Any

from ftrack_api.event.base import Event as FtrackEvent
from ftrack_api.event.hub import EventHub as FtrackHub

from rxhub import Dispatcher, Event
from rxhub.expression import Index
from tests.benchmarks.measure import Loop, Row, at_most, bytes_within, compare, faster, table


def subscription(number: int) -> str:
    """What a studio's plugin asks for: its own topic, and its own user."""
    return f"topic=studio.tool{number}.launch and source.user.username=artist{number % 50}@studio.example"


def fields(number: int) -> dict[str, Any]:
    """An event that `subscription(number)` alone matches."""
    return {
        "topic": f"studio.tool{number}.launch",
        "data": {"selection": [{"entityId": str(number), "entityType": "task"}], "values": {"frames": number}},
        "source": {"id": "s", "user": {"username": f"artist{number % 50}@studio.example"}, "host": "ws-001"},
    }


def callback(event: object) -> None:
    """Nothing: only the way to it is timed."""


def against_ftrack(count: int, goal: float) -> Row:
    """The same subscriptions and events through both; events are taken in turn."""
    dispatcher = Dispatcher()
    # Connecting is not needed for handling; the address is never used.
    peer = FtrackHub("http://localhost", "user", "key")
    for number in range(count):
        dispatcher.subscribe(subscription(number), callback)
        # subscribe() would look for an equal id among all others each time.
        peer._subscribers.append(_ftrack_subscriber(subscription(number)))
    chosen = [number * count // 10 for number in range(10)]
    ours = [Event(**fields(number)) for number in chosen]
    theirs = [FtrackEvent(**fields(number)) for number in chosen]
    return compare(
        f"dispatch, {count:,} subscribers, one matches",
        Loop("for event in events: dispatch(event)", per=10, dispatch=dispatcher.dispatch, events=ours),
        Loop("for event in events: handle(event)", per=10, handle=peer._handle, events=theirs),
        faster(goal),
        peer_name="ftrack",
        rounds=50 if count < 1000 else 15,
    )


def _ftrack_subscriber(text: str) -> Any:
    from ftrack_api.event.subscriber import Subscriber

    return Subscriber(text, callback, {"id": text}, 100)


def against_the_parts() -> Row:
    """What dispatch adds to finding the subscriber and calling it: order, stop, isolation, outcome, delivery."""
    dispatcher = Dispatcher()
    index: Index[Callable[[object], None]] = Index()
    for number in range(100):
        dispatcher.subscribe(subscription(number), callback)
        index.add(subscription(number), callback)
    event = Event(**fields(5))
    return compare(
        "dispatch to one callback, Delivery and Outcome included",
        Loop("dispatch(event)", dispatch=dispatcher.dispatch, event=event),
        Loop("for found in match(event): found(event)", match=index.match, event=event),
        at_most(2.5),
        peer_name="index match + bare call",
    )


def memory(count: int = 100_000) -> Row:
    """Bytes a subscriber, all that it needs included: id, metadata, index entry, and the text itself."""
    dispatcher = Dispatcher()
    gc.collect()
    tracemalloc.start()
    for number in range(count):
        dispatcher.subscribe(subscription(number), callback)
    size = tracemalloc.get_traced_memory()[0] / count
    tracemalloc.stop()
    return Row(f"memory a subscriber, {count:,} of them", size, goal=bytes_within(1_500), unit="B")


def run() -> list[Row]:
    """Measure all rows."""
    logging.disable()
    try:
        return [
            against_ftrack(10, 20),
            against_ftrack(100, 150),
            against_ftrack(10_000, 5_000),
            against_the_parts(),
            memory(),
        ]
    finally:
        logging.disable(logging.NOTSET)


if __name__ == "__main__":
    print(table(run()))
