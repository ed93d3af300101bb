"""Iterate over the events of an observable, and print them as JSON lines."""

from __future__ import annotations

import queue
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from time import monotonic
from typing import NamedTuple

from reactivex import Observable
from reactivex import operators as ops
from reactivex.notification import Notification, OnError, OnNext

from rxhub import Event, EventHub
from rxhub.cli.output import print_error, print_json
from rxhub.hub.replay import Replay
from rxhub.transport.connection_state import ConnectionState, Phase

__all__ = ["ReceivedEvent", "iterate_events", "print_events", "with_positions"]

_QUEUE_SIZE = 1_000
_POLL_INTERVAL_S = 0.25


class ReceivedEvent(NamedTuple):
    """An event, when it was stored or (without a stream) arrived, and its number in the stream."""

    time: datetime
    event: Event
    sequence: int | None = None


def with_positions(replay: Replay) -> Observable[ReceivedEvent]:
    """Return the events of a replay with their positions in the stream."""

    def received(event: Event) -> ReceivedEvent:
        progress = replay.progress
        return ReceivedEvent(progress.time or datetime.now(UTC), event, progress.sequence)

    return replay.pipe(ops.map(received))


def iterate_events(
    hub: EventHub, source: Observable[ReceivedEvent], count: int | None = None, timeout: float | None = None
) -> Iterator[ReceivedEvent | None]:
    """Yield the events of a source, and None four times a second while there are none; raise the error of the source.

    The hub handles the source. Handling blocks while a full queue waits for the consumer of this iterator. It ends
    after `count` events or `timeout` seconds.
    """
    received: queue.Queue[Notification[ReceivedEvent]] = queue.Queue(_QUEUE_SIZE)

    def put(item: Notification[ReceivedEvent]) -> None:
        # Blocks while the queue is full, but not after the hub has ended.
        while hub.connected or not received.full():
            try:
                return received.put(item, timeout=_POLL_INTERVAL_S)
            except queue.Full:
                if not hub.is_running:
                    return None
        return None

    source.pipe(ops.materialize()).subscribe(put)
    end = None if timeout is None else monotonic() + timeout
    seen = 0
    while count is None or seen < count:
        wait = _POLL_INTERVAL_S if end is None else min(_POLL_INTERVAL_S, end - monotonic())
        if wait <= 0:
            return
        try:
            match received.get(timeout=wait):
                case OnNext(value=event):
                    seen += 1
                    yield event
                case OnError(exception=error):
                    raise error
                case _:
                    return
        except queue.Empty:
            yield None


def print_events(hub: EventHub, events: Iterable[ReceivedEvent | None], with_position: bool = False) -> int:
    """Print events as JSON lines, and lost connections of the hub on stderr; return the number of events.

    `with_position` adds the field `position` with the sequence and the time.
    """

    def report(state: ConnectionState) -> None:
        if state.phase is Phase.DISCONNECTED and state.reason:
            print_error(f"{state.reason}; reconnecting")

    hub.state.subscribe(report)
    count = 0
    for received in events:
        if received is not None:
            count += 1
            fields = received.event.to_wire()
            if with_position:
                time = received.time.astimezone(UTC).isoformat(timespec="microseconds")
                fields["position"] = {"sequence": received.sequence, "time": time}
            print_json(fields)
    return count
