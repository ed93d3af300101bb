"""What tests of processing do again and again."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from rxhub import Event, EventHub
from rxhub.testing import Nats
from rxhub.transport.nats.storing import stored
from tests.threads import LIMIT, until

__all__ = ["Seen", "another", "delete_group", "is_idle", "publish", "store"]


def publish(hub: EventHub, topic: str, *values: Any, **fields: Any) -> None:
    """One event for each value; they are stored when this returns."""
    futures = [hub.publish(Event(topic, data={"value": value}, **fields)) for value in values]
    for future in futures:
        assert isinstance(future, Future)
        future.result(LIMIT)


def store(hub: EventHub, topic: str, data: bytes) -> None:
    """What another program has put where events are."""
    transport: Any = hub._link.transport
    transport.call(stored(transport.link, f"{transport.subjects.stream}.event.{topic}", data))


class Seen(list[Any]):
    """The values of the events that a handler got."""

    def __call__(self, event: Event) -> None:
        self.append(event.data["value"])

    def wait(self, count: int) -> list[Any]:
        until(lambda: len(self) >= count)
        return list(self)


def is_idle(hub: EventHub, group: str) -> bool:
    """Whether everything is acknowledged, as the server knows it."""
    transport: Any = hub._link.transport
    info = transport.call(transport.link.ask(f"CONSUMER.INFO.{transport.subjects.stream}.{group}"))
    return not info["num_pending"] and not info["num_ack_pending"]


def delete_group(hub: EventHub, group: str) -> None:
    """As `nats consumer rm` does."""
    transport: Any = hub._link.transport
    transport.call(transport.link.ask(f"CONSUMER.DELETE.{transport.subjects.stream}.{group}"))


@contextmanager
def another(nats: Nats) -> Iterator[EventHub]:
    """One more hub on the stream."""
    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as made:
        made.connect()
        yield made
