"""`hub.subscriptions_synced` and `hub.state` tell whether events come, and why they do not."""

from __future__ import annotations

from collections.abc import Callable

from rxhub import Event, EventHub
from rxhub.testing import Nats
from rxhub.transport.nats.streams import stream_config
from tests.threads import LIMIT, until
from tests.transport.nats.hubs import hub, make  # noqa: F401 - fixtures
from tests.transport.nats.processing.working import ask


def test_a_hub_that_gets_no_consumer_says_so_until_it_gets_one(make: Callable[..., EventHub], nats: Nats) -> None:  # noqa: F811
    admin = make()
    admin.connect()
    stream = f"{nats.stream}-limited"
    ask(admin, f"STREAM.CREATE.{stream}", stream_config(stream) | {"max_consumers": 1})
    seen: list[str] = []
    first, second = (EventHub(nats.url, nats.user, nats.password, stream=stream) for _ in range(2))
    with second:
        with first:
            first.subscribe("topic=a", print)
            first.connect()
            until(lambda: first.subscriptions_synced)
            states: list[str] = []
            second.state.subscribe(lambda state: states.append(str(state)))
            second.subscribe("topic=a", lambda event: seen.append(event.data))
            second.connect()
            until(lambda: "maximum consumers" in str(second._link.state.reason))
            assert second.connected and not second.subscriptions_synced
            second.drain()
            assert "its subscribers get no events at present" in states[-1]
            # It can publish meanwhile.
            future = second.publish(Event("a", data="while nothing is read"))
            assert future is not None
            future.result(LIMIT)
        until(lambda: second.subscriptions_synced)
        until(lambda: not second._link.state.reason)

        def comes() -> bool:
            second.drain()
            return seen == ["while nothing is read"]

        until(comes)
    ask(admin, f"STREAM.DELETE.{stream}")
