"""Our client against our server, both whole."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from rxhub import Event, EventHub
from rxhub.errors import HubConnectionError
from rxhub.server import User, Users, running
from tests.proxy import Proxy
from tests.threads import LIMIT, until

pytestmark = pytest.mark.usefixtures("back_soon")

USERS = Users([User.with_key("me", "key")])


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running(users=USERS) as server:
        yield server.url


def settled(*hubs: EventHub) -> None:
    for hub in hubs:
        hub.publish(Event("settled")).result(LIMIT)


def test_a_wrong_key(url: str) -> None:
    with EventHub(url, "me", "wrong") as hub, pytest.raises(HubConnectionError, match="HTTP status 401.*api_key"):
        hub.connect()


def test_a_conversation(url: str) -> None:
    with EventHub(url, "me", "key") as one, EventHub(url, "me", "key") as other, one.start(), other.start():
        one.connect(), other.connect()
        got: list[Any] = []
        identifier = other.subscribe("topic=studio.* and data.n>1", lambda event: got.append(event.data["n"]) or "ä:☃")
        settled(other)
        for n in range(4):
            one.publish(Event("studio.a", data={"n": n})).result(LIMIT)
        until(lambda: got == [2, 3])
        assert asyncio.run(one.ask(Event("studio.b", data={"n": 4}), timeout=LIMIT)).data == "ä:☃"
        one.publish(Event("studio.a", data={"n": 5}, target=f"id={identifier}")).result(LIMIT)
        one.publish(Event("studio.a", data={"n": 6}, target="id=nobody")).result(LIMIT)
        until(lambda: got == [2, 3, 4, 5])
        other.unsubscribe(identifier)
        settled(other)
        one.publish(Event("studio.a", data={"n": 7})).result(LIMIT)
        settled(other)
        assert got == [2, 3, 4, 5]


def test_resets_double_nothing_and_lose_nothing(url: str) -> None:
    with (
        Proxy(int(url.rpartition(":")[2])) as proxy,
        EventHub(proxy.url, "me", "key") as publisher,
        EventHub(url, "me", "key") as receiver,
        receiver.start(),
    ):
        got: list[int] = []
        receiver.subscribe("topic=a", lambda event: got.append(event.data["n"]))
        receiver.connect(), publisher.connect()
        settled(receiver)
        sent: list[Any] = []
        for after in (1, 5_000, 20_000):
            until(lambda: publisher.connected)
            proxy.reset_after(after)
            sent += [publisher.publish(Event("a", data={"n": len(sent) + n})) for n in range(300)]
            until(lambda: not proxy.armed)
        for future in sent:
            assert future.result(LIMIT) is None
        settled(receiver)
        until(lambda: len(got) >= 900)
        assert got == list(range(900))


def test_a_server_that_is_started_again() -> None:
    with running(users=USERS, grace=0.5) as server:
        port = int(server.url.rpartition(":")[2])
        hub = EventHub(server.url, "me", "key")
        got: list[int] = []
        hub.subscribe("topic=a", lambda event: got.append(event.data))
        handling = hub.start()
        hub.connect()
        settled(hub)
    until(lambda: not hub.connected)
    sent = hub.publish(Event("a", data=1))
    with running(users=USERS, port=port):
        assert sent is not None and sent.result(LIMIT) is None
        until(lambda: got == [1])
        handling.dispose()
        hub.close()
