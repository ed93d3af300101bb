"""`/api/streams`, `/api/groups` and `/api/dead-letters`, on a real NATS server."""

from __future__ import annotations

import itertools
from collections.abc import Generator
from typing import Any

import pytest

from rxhub import Event, EventHub
from rxhub.server import Backplane, Limits, Running, Topics, User, Users, running
from rxhub.server.key_hash import Hash, hashed
from rxhub.testing import Nats
from tests.threads import until
from tests.transport.nats.processing.working import Seen
from tests.web.api import api, is_problem

USER = "jane", "key"


@pytest.fixture
def server(nats: Nats, hub: EventHub) -> Generator[Running]:
    users = Users([User("jane", Hash(hashed("key")), subscribe=Topics(["job.*"]))])
    backplane = Backplane(nats.url, nats.user, nats.password, nats.stream)
    with running(users=users, limits=Limits(events=1e9), grace=1, backplane=backplane) as server:
        yield server


def fail(event: Event) -> None:
    raise ValueError(f"{event.data['value']}")


def bury(hub: EventHub, group: str, topic: str, *values: Any) -> None:
    """Let the events of a topic fail in a group."""
    with hub.process(f"topic={topic}", fail, group=group, retries=0) as processing:
        for value in values:
            hub.publish(Event(topic, data={"value": value})).result(10)
        until(lambda: processing.counts.dead == len(values))


def letters(server: Running, query: str = "", *user: str) -> list[Any]:
    found = api(server, "GET", f"/dead-letters{query}", None, *user).json()["dead_letters"]
    return [letter["event"]["data"]["value"] for letter in found]


def test_streams_and_groups_are_listed(server: Running, hub: EventHub, nats: Nats) -> None:
    bury(hub, "renders", "job.render", 1, 2)
    for user in ((), USER):
        states = api(server, "GET", "/streams", None, *user).json()["streams"]
        (state,) = [each for each in states if each["name"] == nats.stream]
        assert user != USER or len(states) == 1
        assert (state["messages"], state["dead"], state["first_sequence"], state["last_sequence"]) == (2, 2, 1, 2)
        assert state["first"] < state["last"] and state["bytes"] > 0
        expected = {"name": "renders", "waiting": 0, "pending": 0, "repeated": 0}
        expected |= {"is_paused": False, "oldest": None, "rate": None}
        varying = {name: state["groups"][0][name] for name in ("limit", "is_active")}
        assert state["groups"] == [expected | varying]
        groups = api(server, "GET", "/groups", None, *user).json()["groups"]
        assert [each for each in groups if each["stream"] == nats.stream] == [
            {"stream": nats.stream, **state["groups"][0]}
        ]


def test_dead_letters_are_listed_in_pages(server: Running, hub: EventHub) -> None:
    assert api(server, "GET", "/dead-letters").json() == {"dead_letters": [], "next": None}
    bury(hub, "g", "job.a", 1, 2)
    bury(hub, "h", "secret", 3)
    bury(hub, "g", "job.a", 4)
    assert letters(server) == [1, 2, 3, 4]
    assert letters(server, "?group=g") == [1, 2, 4]
    assert letters(server, "", *USER) == [1, 2, 4]
    first = api(server, "GET", "/dead-letters?limit=2&group=g").json()
    assert [each["id"] for each in first["dead_letters"]] == [1, 2] and first["next"] == 2
    assert letters(server, "?limit=2&group=g&after=2") == [4]
    letter = api(server, "GET", "/dead-letters/1").json()
    assert (letter["reason"], letter["attempts"], letter["topic"]) == ("ValueError: 1", 1, "job.a")
    assert "in fail" in letter["traceback"]
    assert letters(server, "?since=3") == [3, 4] and letters(server, "?since=1h&group=g") == [1, 2, 4]
    assert letters(server, "?since=2999-01-01T00:00%2B01:00") == []
    assert is_problem(api(server, "GET", "/dead-letters?since=soon"), 400)
    assert is_problem(api(server, "GET", "/dead-letters/9"), 404)
    assert is_problem(api(server, "GET", "/dead-letters/3", None, *USER), 404)


def test_a_page_of_large_dead_letters_is_short(server: Running, hub: EventHub) -> None:
    bury(hub, "g", "job.a", *["x" * 400_000] * 5)
    page = api(server, "GET", "/dead-letters").json()
    assert len(page["dead_letters"]) == 3 and page["next"] == 3
    assert len(letters(server, "?after=3")) == 2


def test_dead_letters_are_retried_one_many_or_all(server: Running, hub: EventHub) -> None:
    bury(hub, "g", "job.a", *range(6))
    bury(hub, "h", "job.b", "h")
    seen = Seen()
    with hub.process("topic=job.a", seen, group="g"):
        assert api(server, "POST", "/dead-letters/2/retry").status_code == 204
        assert seen.wait(1) == [1]
        assert is_problem(api(server, "POST", "/dead-letters/2/retry"), 404)
        found = api(server, "POST", "/dead-letters/retry?ids=1,2,3").json()
        assert found == {"retried": 2, "missing": [2], "more": False}
        found = api(server, "POST", "/dead-letters/retry?all=true&group=g").json()
        assert found == {"retried": 3, "missing": [], "more": False}
        assert sorted(seen.wait(6)) == list(range(6))
    assert letters(server) == ["h"]


def test_dead_letters_are_dropped_one_many_or_all(server: Running, hub: EventHub) -> None:
    bury(hub, "g", "job.a", *range(5))
    bury(hub, "h", "job.b", "h")
    assert api(server, "DELETE", "/dead-letters/1").status_code == 204
    assert is_problem(api(server, "DELETE", "/dead-letters/1"), 404)
    assert api(server, "DELETE", "/dead-letters?ids=1,2").json() == {"dropped": 1, "missing": [1]}
    assert api(server, "DELETE", "/dead-letters?all=true&group=g").json() == {"dropped": 3, "missing": []}
    assert letters(server) == ["h"]
    assert api(server, "DELETE", "/dead-letters?all=true").json() == {"dropped": 1, "missing": []}
    assert letters(server) == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/dead-letters/1"),
        ("DELETE", "/dead-letters?all=true"),
        ("POST", "/dead-letters/1/retry"),
        ("POST", "/dead-letters/retry?all=true"),
    ],
)
def test_only_administrators_change_dead_letters(server: Running, hub: EventHub, method: str, path: str) -> None:
    bury(hub, "g", "job.a", 1)
    assert is_problem(api(server, method, path, None, *USER), 403)
    assert letters(server) == [1]


@pytest.mark.parametrize(
    "query",
    ["", "?all=false", "?ids=", "?ids=0", "?ids=a", "?ids=1&all=true", "?ids=1&group=g", "?group=g", "?all=true&x=1"],
)
def test_other_selections_are_problems(server: Running, query: str) -> None:
    assert is_problem(api(server, "DELETE", f"/dead-letters{query}"), 400)
    assert is_problem(api(server, "POST", f"/dead-letters/retry{query}"), 400)


def test_a_server_without_a_store_says_so() -> None:
    with running(grace=1) as server:
        for method, path in (
            ("GET", "/streams"),
            ("GET", "/groups"),
            ("GET", "/dead-letters"),
            ("GET", "/dead-letters/1"),
            ("DELETE", "/dead-letters/1"),
            ("POST", "/dead-letters/1/retry"),
        ):
            response = api(server, method, path)
            assert is_problem(response, 404)
            assert "--store" in response.json()["detail"]


def test_a_histogram_counts_the_events_over_time(server: Running, hub: EventHub) -> None:
    assert api(server, "GET", "/histogram").json()["bins"] == []
    for number in range(20):
        hub.publish(Event("job.a", data={"value": number})).result(10)
    bins = api(server, "GET", "/histogram?bins=7").json()["bins"]
    assert len(bins) == 7 and sum(each["events"] for each in bins) == 20
    assert bins[0]["events"] and bins[-1]["events"]
    assert all(a["until"] == b["since"] for a, b in itertools.pairwise(bins))
    assert is_problem(api(server, "GET", "/histogram?bins=201"), 400)


def test_a_range_is_replayed_into_a_group(server: Running, hub: EventHub) -> None:
    for number in range(6):
        hub.publish(Event("job.a", data={"value": number})).result(10)
    middle = api(server, "GET", "/histogram?bins=1").json()["bins"][0]
    seen = Seen()
    with hub.process("topic=other", seen, group="renders"):
        body = {"subscription": "data.value > 2", "since": middle["since"], "until": middle["until"]}
        response = api(server, "POST", "/groups/renders/replay", body)
        assert response.json() == {"replayed": 3, "next": None}
        assert sorted(seen.wait(3)) == [3, 4, 5]
        body = {"since": middle["until"]}
        assert api(server, "POST", "/groups/renders/replay", body).json() == {"replayed": 0, "next": None}


@pytest.mark.parametrize(
    ("group", "body", "status"),
    [
        ("missing", {}, 404),
        ("renders", {"since": "yesterday"}, 422),
        ("renders", {"since": "2026-01-01T00:00:00"}, 422),
        ("renders", {"sequence": 2**63}, 422),
        ("renders", {"subscription": "a=1 &&"}, 422),
        ("renders", {"other": 1}, 422),
    ],
)
def test_an_invalid_replay_is_a_problem(
    server: Running, hub: EventHub, group: str, body: dict[str, Any], status: int
) -> None:
    with hub.process("topic=other", Seen(), group="renders"):
        assert is_problem(api(server, "POST", f"/groups/{group}/replay", body), status)


def test_only_administrators_replay_into_groups(server: Running) -> None:
    assert is_problem(api(server, "POST", "/groups/renders/replay", {}, *USER), 403)
