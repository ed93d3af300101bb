"""The transport of a hub on a stream: its connection, its threads, and what the server sees of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from rxhub import Event, EventHub
from rxhub.errors import HubConnectionError
from rxhub.testing import Nats
from rxhub.transport.nats import connection as line_module
from rxhub.transport.nats.client import NatsTransport
from tests.proxy import Proxy
from tests.threads import LIMIT, at_once, until
from tests.transport.nats.hubs import admin, hasty, hub, make, noted, proxy, published, refusal
from tests.transport.nats.servers import Admin, started

__all__ = ["admin", "hasty", "hub", "make", "proxy"]


def test_a_transport_by_itself(nats: Nats) -> None:
    hub = EventHub(nats.url, nats.user, nats.password, stream=nats.stream)
    transport = hub._link.transport
    assert isinstance(transport, NatsTransport)
    with pytest.raises(HubConnectionError, match="not connected"):
        _ = transport.link
    hub.connect()
    assert transport.call(transport.link.js_request("INFO"), LIMIT)["streams"] >= 1
    with pytest.raises(HubConnectionError, match="did not answer within"):
        transport.call(asyncio.sleep(LIMIT), 0.05)

    async def inside() -> None:
        transport.call(transport.link.js_request("INFO"))

    with pytest.raises(HubConnectionError, match="I/O thread"):
        transport.call(inside(), LIMIT)
    hub.close()


def test_a_callback_in_the_network_s_thread_cannot_wait_for_it(hub: EventHub, make: Callable[..., EventHub]) -> None:
    told: list[BaseException] = []
    other = make()

    def connect(_: object) -> None:
        try:
            other.connect()
        except HubConnectionError as error:
            told.append(error)

    sent = hub.publish(Event("a"))
    assert sent is not None
    sent.add_done_callback(connect)
    until(lambda: told or sent.done())
    published(hub, 1)
    assert all("I/O thread" in str(error) for error in told)


def test_nothing_is_left_on_the_network_s_loop(make: Callable[..., EventHub]) -> None:
    loop = make()._link.transport.loop
    before = len(asyncio.all_tasks(loop))
    for _ in range(3):
        hub = make()
        hub.connect()
        noted(hub)
        published(hub, 1)
        hub.reconnect()
        hub.close()
    until(lambda: len(asyncio.all_tasks(loop)) <= before)


def test_interest_and_loss_of_it_from_many_threads(hub: EventHub) -> None:
    def come_and_go(number: int) -> None:
        for n in range(200):
            identifier = hub.subscribe(f"topic=t{number}.u{n % 7}", print)
            if n % 3:
                hub.unsubscribe(identifier)

    at_once(*[lambda number=number: come_and_go(number) for number in range(6)])
    got = noted(hub)
    published(hub, 1)
    until(lambda: got == [1])


def test_threads_that_connect_at_once_make_one_connection(hub: EventHub, make: Callable[..., EventHub]) -> None:
    other = make()
    refused: list[str] = []

    def connect() -> None:
        try:
            other.connect()
        except HubConnectionError as error:
            refused.append(str(error))

    at_once(*[connect] * 8)
    assert other.connected and set(refused) <= {"Already connected."}
    got = noted(other)
    other.start()
    published(hub, 1)
    until(lambda: got == [1])


def test_a_life_that_is_over_at_once_does_not_give_up_what_the_last_still_sends(
    make: Callable[..., EventHub], proxy: Proxy
) -> None:
    hub = make(proxy)
    hub.connect()
    transport: Any = hub._link.transport
    proxy.black_hole = True
    sent = hub.publish(Event("a"))
    first = transport.close(LIMIT)
    transport.open(hub._link)
    second = transport.close(0.0)
    with pytest.raises(TimeoutError):
        second.result(0.2)
    proxy.black_hole = False
    assert first.result(LIMIT) is second.result(LIMIT) is sent.result(LIMIT) is None


def test_fifty_subscriptions_one_by_one_are_few_consumers(
    hub: EventHub, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    ask = line_module.NatsConnection.js_request

    async def counted(line: Any, api: str, body: Any = None, timeout: float = 5.0) -> dict[str, Any]:
        if api.startswith("CONSUMER.CREATE"):
            made.append(api)
        return await ask(line, api, body, timeout)

    monkeypatch.setattr(line_module.NatsConnection, "js_request", counted)
    got = [noted(hub, f"topic=kind{n}") for n in range(50)]
    for n in range(50):
        hub.publish(Event(f"kind{n}", data={"n": n}))
    until(lambda: got == [[n] for n in range(50)])
    # How many depends on how busy the machine is; without waiting for the next one there would be fifty.
    assert len(made) <= 25


def silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever connects is let in, and then never answered by JetStream."""
    monkeypatch.setattr("rxhub.transport.nats.session._JETSTREAM_TIMEOUT_S", 0.5)
    ask = line_module.NatsConnection.js_request

    async def never(line: Any, api: str, body: Any = None, timeout: float = 5.0) -> dict[str, Any]:
        answer = await ask(line, api, body, 0.2)
        if answer.get("config") and line.client.stats["out_msgs"] > 2:
            raise HubConnectionError("nobody answers")
        return answer

    monkeypatch.setattr(line_module.NatsConnection, "js_request", never)


def test_a_jetstream_that_is_there_and_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    silence(monkeypatch)
    with started({"jetstream": {}}) as server, EventHub(server.url, stream="a") as hub:
        assert "JetStream does not answer" in refusal(hub)
        monkeypatch.undo()
        hub.connect()


def test_what_is_stored_between_two_connections_comes_though_connecting_has_failed_in_between(
    hub: EventHub, make: Callable[..., EventHub], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make()
    other.connect()
    other.start()
    got = noted(other)
    published(hub, 1)
    until(lambda: got == [1])
    other.disconnect(unsubscribe=False, reconnect=True)
    published(hub, 2)
    with monkeypatch.context() as patch:
        silence(patch)
        assert "JetStream does not answer" in refusal(other)
        published(hub, 3)
    other.connect()
    published(hub, 4)
    until(lambda: len(got) >= 4)
    assert got == [1, 2, 3, 4]
