"""Functions that several tests of processing use."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from rxhub import Event, EventHub
from rxhub.testing import Nats
from rxhub.transport.nats.subjects import consumer_name
from tests.threads import LIMIT, until

__all__ = ["Seen", "another", "ask", "config", "is_idle", "publish", "store", "write"]


def publish(hub: EventHub, topic: str, *values: Any, **fields: Any) -> None:
    """Publish and store one event for each value."""
    futures = [hub.publish(Event(topic, data={"value": value}, **fields)) for value in values]
    for future in futures:
        assert isinstance(future, Future)
        future.result(LIMIT)


def store(hub: EventHub, topic: str, data: bytes) -> None:
    """Store a message as another program does."""
    transport: Any = hub._link.transport
    transport.call(transport.link.publish_and_wait(f"{transport.subjects.stream}.event.{topic}", data))


class Seen(list[Any]):
    """The values of the events that a handler got."""

    def __call__(self, event: Event) -> None:
        self.append(event.data["value"])

    def wait(self, count: int) -> list[Any]:
        until(lambda: len(self) >= count)
        return list(self)


def is_idle(hub: EventHub, group: str) -> bool:
    """Whether the server has delivered everything and received all acknowledgements."""
    info = ask(hub, f"CONSUMER.INFO.{{stream}}.{group}")
    return not info["num_pending"] and not info["num_ack_pending"]


def ask(hub: EventHub, api: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """The answer of JetStream to a request; `{stream}` is replaced by the hub's stream."""
    transport: Any = hub._link.transport
    return transport.call(transport.link.js_request(api.format(stream=transport.subjects.stream), body))


def config(hub: EventHub, group: str) -> dict[str, Any]:
    """The configuration of the group's consumer."""
    return ask(hub, f"CONSUMER.INFO.{{stream}}.{consumer_name(group)}")["config"]


def write(hub: EventHub, config: dict[str, Any], action: str) -> None:
    """Create or update the consumer of the group g, as another program does."""
    transport: Any = hub._link.transport
    stream = transport.subjects.stream
    ask(hub, "CONSUMER.CREATE.{stream}.g", {"stream_name": stream, "config": config, "action": action})


@contextmanager
def another(nats: Nats) -> Iterator[EventHub]:
    """Another hub on the stream."""
    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as made:
        made.connect()
        yield made
