"""`POST /api/explain`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from rxhub.server import Limits, Running, Topics, User, Users, running
from rxhub.server.key_hash import Hash, hashed
from tests.server.wire import wire
from tests.web.api import api, is_problem

USER = "jane", "key"
JANE = {"ftrack-user": "jane", "ftrack-api-key": "key"}
EVENT = {"topic": "studio.publish", "data": {"status": "final", "versions": [1, 2]}}


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(
        users=Users([User("jane", Hash(hashed("key")), subscribe=Topics(["studio.*"]))]),
        limits=Limits(events=1e9),
        grace=1,
    ) as server:
        yield server


def explain(server: Running, **body: Any) -> httpx.Response:
    return api(server, "POST", "/explain", body)


def test_a_subscription_is_shown_as_a_tree(server: Running) -> None:
    assert explain(server, subscription="topic=a and (data.n > 1 or not data.m=*)").json() == {
        "tree": {
            "kind": "all",
            "text": "all of",
            "children": [
                {"kind": "condition", "text": "topic=a", "children": []},
                {
                    "kind": "any",
                    "text": "any of",
                    "children": [
                        {"kind": "condition", "text": "data.n > 1", "children": []},
                        {
                            "kind": "not",
                            "text": "not",
                            "children": [{"kind": "condition", "text": "data.m=*", "children": []}],
                        },
                    ],
                },
            ],
        },
        "warning": "",
    }
    assert "did you mean 'topic'" in explain(server, subscription="topc=a").json()["warning"]


def test_an_event_is_explained_with_the_values_found(server: Running) -> None:
    found = explain(server, subscription="topic=studio.* and data.versions=3", event=EVENT).json()
    assert found["matched"] is False
    topic, versions = found["tree"]["children"]
    assert (topic["matched"], topic["values"]) == (True, ["studio.publish"])
    assert (versions["matched"], versions["values"], versions["decisive"]) == (False, [1, 2], True)
    assert explain(server, subscription="", event={}).json()["matched"] is True
    assert explain(server, subscription="in_reply_to_event=x", event={"inReplyToEvent": "x"}).json()["matched"] is True


def test_an_invalid_subscription_has_a_position_and_a_hint(server: Running) -> None:
    response = explain(server, subscription="topic==studio")
    assert is_problem(response, 422)
    told = response.json()
    assert told["position"] == 6 and told["expected"] and "one sign" in told["hint"]


def test_the_subscription_of_a_client_is_explained_with_its_rules(server: Running) -> None:
    with wire(server, JANE) as jane, wire(server) as other:
        jane.subscribe("data.n=1 and data.token=abc", "mine")
        other.subscribe("topic=a", "other")
        theirs, own = api(server, "GET", "/subscribers").json()["subscribers"]
        if theirs["user"] == "jane":
            theirs, own = own, theirs
        found = explain(server, client=own["id"], subscriber="mine", event={"topic": "a", "data": {"n": 1}})
        assert found.json()["matched"] is False and "abc" not in found.text
        rule, subscription = found.json()["tree"]["children"]
        assert "studio.*" in str(rule) and rule["matched"] is False
        assert subscription["children"][0]["matched"] is True
        assert is_problem(explain(server, client=own["id"], subscriber="other"), 404)
        assert is_problem(explain(server, client=99_999, subscriber="mine"), 404)
        assert api(server, "POST", "/explain", {"client": own["id"], "subscriber": "mine"}, *USER).is_success
        body = {"client": theirs["id"], "subscriber": "other"}
        assert explain(server, **body).is_success
        assert is_problem(api(server, "POST", "/explain", body, *USER), 404)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b'{"subscription": NaN}', 400),
        (b'{"subscription": "\xff"}', 400),
        (rb'{"subscription": "\ud800"}', 400),
        (b"[" * 100_000, 422),
        (b'{"subscription": "", "event": ' + b'{"a":' * 100_000, 400),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"subscription": 1}', 422),
        (b'{"subscription": "", "event": []}', 422),
        (b'{"subscription": "", "client": 1, "subscriber": "a"}', 422),
        (b'{"client": 1}', 422),
        (b'{"subscription": "", "more": 1}', 422),
        (b'{"subscription": "' + b"a=1 or " * 5_000 + b'a=1"}', 422),
        (b'{"subscription": "' + b"(" * 8_000 + b'"}', 422),
        (b" " * 2_000_000, 413),
    ],
)
def test_other_bodies_are_problems(server: Running, content: bytes, status: int) -> None:
    response = api(server, "POST", "/explain", content=content, headers={"content-type": "application/json"})
    assert is_problem(response, status)


def test_other_media_types_are_problems(server: Running) -> None:
    assert is_problem(api(server, "POST", "/explain", content=b"{}"), 415)


def test_the_work_is_limited(server: Running) -> None:
    event = {"data": {"list": list(range(20_000))}}
    response = explain(
        server, subscription=" and ".join(f"data.list!={n}" for n in range(100_000, 100_100)), event=event
    )
    assert is_problem(response, 422)
    assert "limit `work`" in response.json()["detail"]


def test_the_rate_is_limited() -> None:
    with running(limits=Limits(events=1, events_at_once=5), grace=1) as server:
        statuses = [explain(server, subscription="").status_code for _ in range(10)]
    assert statuses[:5] == [200] * 5
    assert statuses[-1] == 429
