"""`/api/subscribers` and `/api/receivers`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from rxhub.server import Limits, Running, Topics, User, Users, running
from rxhub.server.key_hash import Hash, hashed
from tests.server.wire import packet, wire
from tests.threads import until
from tests.web.api import api, is_problem

JANE = {"ftrack-user": "jane", "ftrack-api-key": "key"}
USER = "jane", "key"
RULES = Topics(["studio.*"])


@pytest.fixture
def server() -> Iterator[Running]:
    users = Users([User("jane", Hash(hashed("key")), subscribe=RULES)])
    with running(users=users, limits=Limits(events=1e9), grace=1) as server:
        yield server


def listed(server: Running, query: str = "", *user: str) -> list[dict[str, Any]]:
    return api(server, "GET", f"/subscribers{query}", None, *user).json()["subscribers"]


def test_clients_are_listed_with_their_subscriptions(server: Running) -> None:
    with wire(server) as one:
        one.subscribe("topic=studio.* and data.password=hunter2", "a", token="hidden", host="ws1")
        one.subscribe("topic=log", "b")
        one.send(packet("log", {}))
        one.event()
        until(lambda: listed(server)[0]["sent"] == 1)
        (found,) = listed(server)
        connected = found.pop("connected")
        assert connected.startswith("20") and connected.endswith("Z")
        assert found == {
            "id": 1,
            "user": server.api_user,
            "address": "127.0.0.1",
            "protocol": "websocket",
            "waiting": 0,
            "sent": 1,
            "dropped": 0,
            "subscriptions": [
                {"subscriber": "a", "subscription": 'topic=studio.* and data.password="***"'},
                {"subscriber": "b", "subscription": "topic=log"},
            ],
            "subscription_count": 2,
        }
        shown = api(server, "GET", "/subscribers/1").json()
        assert shown["subscriptions"][0]["metadata"] == {"id": "a", "token": "***", "host": "ws1"}
    until(lambda: listed(server) == [])
    assert is_problem(api(server, "GET", "/subscribers/1"), 404)


def test_users_who_are_not_administrators_see_their_own_clients(server: Running) -> None:
    with wire(server), wire(server, JANE):
        assert {client["user"] for client in listed(server)} == {server.api_user, "jane"}
        assert [client["user"] for client in listed(server, "?user=jane")] == ["jane"]
        (own,) = listed(server, "", *USER)
        assert own["user"] == "jane"
        assert listed(server, f"?user={server.api_user}", *USER) == []
        (other,) = listed(server, f"?user={server.api_user}")
        assert is_problem(api(server, "GET", f"/subscribers/{other['id']}", None, *USER), 404)
        assert is_problem(api(server, "DELETE", f"/subscribers/{own['id']}", None, *USER), 403)


def test_long_lists_have_pages(server: Running) -> None:
    with wire(server), wire(server), wire(server) as last:
        for number in range(25):
            last.subscribe(f"topic=a{number}", f"{number}")
        first = api(server, "GET", "/subscribers?limit=2").json()
        assert [client["id"] for client in first["subscribers"]] == [1, 2] and first["next"] == 2
        second = api(server, "GET", f"/subscribers?limit=2&after={first['next']}").json()
        (client,) = second["subscribers"]
        assert second["next"] is None and client["subscription_count"] == 25
        assert len(client["subscriptions"]) == 20
        assert len(api(server, "GET", f"/subscribers/{client['id']}").json()["subscriptions"]) == 25


def test_large_metadata_has_limits(server: Running) -> None:
    with wire(server) as client:
        for number in range(100):
            client.subscribe("topic=a", f"{number}", much="x" * 15_000)
        shown = api(server, "GET", "/subscribers/1").json()
        assert shown["subscription_count"] == 100 > len(shown["subscriptions"]) > 50


@pytest.mark.parametrize("id", ["9" * 5_000, "0", "-1", "x", "1.0", "¹", "99"])
def test_other_numbers_are_problems(server: Running, id: str) -> None:
    assert is_problem(api(server, "GET", f"/subscribers/{id}"), 404)


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "after=-1", "after=x", "after=" + "9" * 30, "more=1"])
def test_other_parameters_are_problems(server: Running, query: str) -> None:
    assert is_problem(api(server, "GET", f"/subscribers?{query}"), 400)


def test_an_administrator_disconnects_a_client(server: Running) -> None:
    with wire(server) as client, wire(server) as other:
        assert api(server, "DELETE", "/subscribers/1").status_code == 204
        with pytest.raises(ConnectionClosed):
            client.receive()
        other.do("still.connected")
        assert [client["id"] for client in listed(server)] == [2]
        assert is_problem(api(server, "DELETE", "/subscribers/1"), 404)


def receivers(server: Running, event: Any, *user: str) -> list[tuple[int, str]]:
    found = api(server, "POST", "/receivers", event, *user).json()
    assert found["total"] == len(found["receivers"])
    return [(each["client"], each["subscriber"]) for each in found["receivers"]]


def test_the_receivers_of_an_event_are_listed_in_order(server: Running) -> None:
    with wire(server) as one, wire(server, JANE) as jane, wire(server) as three:
        three.subscribe("topic=studio.*", "first")
        jane.subscribe("", "second")
        one.subscribe("topic=studio.publish and data.n > 1", "third")
        one.subscribe("topic=log", "other")
        expected = [(3, "first"), (2, "second"), (1, "third")]
        assert receivers(server, {"topic": "studio.publish", "data": {"n": 2}}) == expected
        assert receivers(server, {"topic": "studio.publish", "data": {"n": 1}}) == expected[:2]
        assert receivers(server, {"topic": "studio.publish", "data": {"n": 2}}, *USER) == [(2, "second")]
        assert receivers(server, {"topic": "log"}) == [(1, "other")]
        assert receivers(server, {"topic": "studio.x", "target": "id=second"}) == [(2, "second")]
        # Nothing was delivered.
        for client in (one, jane, three):
            client.do("nothing")


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"{}", 400),
        (b"[]", 400),
        (b'{"topic": 1}', 400),
        (b'{"topic": "a"}]},{"x":[', 400),
        (b'{"topic": "a", "data": NaN}', 400),
        (b'{"topic": "\xff"}', 400),
        (b'{"topic": "a", "target": "=="}', 400),
        (b'{"topic": "a", "data": ' + b"[" * 100 + b"]" * 100 + b"}", 400),
    ],
)
def test_other_events_are_problems(server: Running, content: bytes, status: int) -> None:
    response = api(server, "POST", "/receivers", content=content, headers={"content-type": "application/json"})
    assert is_problem(response, status)
