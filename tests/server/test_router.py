"""Routing, compared with a test of every subscription."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub.errors import EventError, Refused
from rxhub.event import Event
from rxhub.expression import Expression, parse
from rxhub.server.acl import Topics
from rxhub.server.envelope import read
from rxhub.server.limits import Limits
from rxhub.server.router import Router


@dataclass(frozen=True)
class Client:
    name: str
    user: str = "me"


A, B = Client("a"), Client("b")
STRANGER = Client("stranger", user="somebody else")


def routed(router: Router[Client], topic: str, data: Any = None, **fields: Any) -> list[str]:
    text = json.dumps({"name": "ftrack.event", "args": [{"topic": topic, "data": data, **fields}]})
    return [client.name for client in router.route(read(text), text)]


def router_of(*subscriptions: tuple[Client, str, str]) -> Router[Client]:
    router: Router[Client] = Router()
    for client, identifier, subscription in subscriptions:
        router.subscribe(client, {"id": identifier}, subscription)
    return router


conditions = st.sampled_from(
    [
        "topic=a",
        "topic=a*",
        "topic=b",
        "topic=*",
        "data.n=1",
        "data.n>=2",
        "data=*",
        "source.user=x",
        "other=5",
        "in_reply_to_event=null",
        "id=e",
        "target=''",
    ]
)
subscriptions = st.recursive(
    conditions,
    lambda inner: (
        st.builds("({} and {})".format, inner, inner)
        | st.builds("({} or {})".format, inner, inner)
        | st.builds("not {}".format, inner)
    ),
    max_leaves=5,
)
events = st.fixed_dictionaries(
    {"topic": st.sampled_from(["a", "ab", "b", "c"]), "id": st.sampled_from(["e", "f"])},
    optional={
        "data": st.sampled_from([{"n": 1}, {"n": 2}, {}, [{"n": 1}]]),
        "source": st.sampled_from([{"user": "x"}, {"user": "y"}]),
        "other": st.sampled_from([5, 6]),
    },
)
clients = st.builds(Client, st.sampled_from("abcd"))


@given(
    st.lists(st.tuples(clients, st.sampled_from("12345"), subscriptions), max_size=12),
    st.lists(st.tuples(clients, st.sampled_from("12345")), max_size=6),
    st.lists(clients, max_size=2),
    st.lists(events, min_size=1, max_size=5),
)
def test_a_client_gets_an_event_once_if_any_of_its_subscriptions_matches(added, removed, left, seen) -> None:
    router: Router[Client] = Router()
    plain: dict[tuple[Client, str], str] = {}
    for client, identifier, subscription in added:
        router.subscribe(client, {"id": identifier}, subscription)
        plain[client, identifier] = subscription
    for client, identifier in removed:
        router.unsubscribe(client, {"id": identifier})
        plain.pop((client, identifier), None)
    for client in left:
        router.remove_peer(client)
        plain = {key: value for key, value in plain.items() if key[0] != client}
    assert len(router) == len(plain)
    for event in seen:
        expected = {c.name for (c, _), text in plain.items() if parse(text).matches(Event.from_wire(event))}
        got = routed(router, event["topic"], **{key: value for key, value in event.items() if key != "topic"})
        assert sorted(got) == sorted(expected)
    for client, _ in list(plain):
        router.remove_peer(client)
    assert len(router) == 0
    common = router._common
    assert not any([router._subscriptions, router._by_id, common._decoding_uses, common._decoding_tokens])
    assert len(common._decoding) == 0


@given(
    st.lists(st.tuples(clients, st.sampled_from("12345"), st.sampled_from(["x", "y"])), max_size=10),
    st.sampled_from(
        [
            "id=1",
            "id='2'",
            "id=3 and app=x",
            "app=x",
            "id=*",
            "id!=1",
            "id=1 or id=2",
            "not app=x",
            "app=x and id=*1",
            "missing=1",
        ]
    ),
)
def test_a_target_is_tested_against_the_metadata_of_subscribers(added, target: str) -> None:
    router: Router[Client] = Router()
    plain: dict[tuple[Client, str], dict[str, str]] = {}
    for client, identifier, app in added:
        metadata = {"id": identifier, "app": app}
        router.subscribe(client, metadata, "topic=a")
        plain[client, identifier] = metadata
    expected = {client.name for (client, _), metadata in plain.items() if parse(target).matches(metadata)}
    assert set(routed(router, "a", target=target)) == expected
    assert routed(router, "b", target=target) == []


def test_subscribing_again_under_the_same_id_changes_nothing_or_replaces() -> None:
    router = router_of((A, "1", "topic=a"))
    router.subscribe(A, {"id": "1"}, "topic=a")
    assert (len(router), routed(router, "a")) == (1, ["a"])
    router.subscribe(A, {"id": "1"}, "topic=b")
    assert (len(router), routed(router, "a"), routed(router, "b")) == (1, [], ["a"])


def test_a_user_who_is_back_may_subscribe_before_the_old_connection_is_gone() -> None:
    router = router_of((A, "1", "topic=a"))
    router.subscribe(B, {"id": "1"}, "topic=a")
    assert routed(router, "a", target="id=1") == ["a", "b"]
    router.remove_peer(A)
    assert routed(router, "a", target="id=1") == ["b"]


def test_another_user_cannot_take_an_id_and_with_it_the_replies() -> None:
    router = router_of((A, "1", "topic=ftrack.meta.reply"))
    with pytest.raises(Refused, match="another user"):
        router.subscribe(STRANGER, {"id": "1"}, "topic=ftrack.meta.reply")
    router.remove_peer(A)
    router.subscribe(STRANGER, {"id": "1"}, "topic=ftrack.meta.reply")


@pytest.mark.parametrize("metadata", [{}, {"id": None}, {"id": ""}, {"id": 5}, {"id": ["1", "2"]}, {"id": {"a": "b"}}])
def test_an_id_is_one_text(metadata: dict[str, Any]) -> None:
    with pytest.raises(Refused, match='"id"'):
        Router().subscribe(A, metadata, "topic=a")
    with pytest.raises(Refused, match='"id"'):
        Router().unsubscribe(A, metadata)


def test_what_is_not_there_can_be_unsubscribed() -> None:
    router = router_of((A, "1", "topic=a"))
    router.unsubscribe(B, {"id": "1"})
    router.unsubscribe(A, {"id": "2"})
    router.remove_peer(B)
    assert routed(router, "a") == ["a"]


@pytest.mark.parametrize(
    ("subscription", "message"),
    [("topic=(", "Cannot read"), ("a=" + "b" * 100, "cannot be used"), ("a=1 or " * 20 + "a=1", "cannot be used")],
)
def test_a_subscription_has_limits_and_its_mistakes_are_explained(subscription: str, message: str) -> None:
    router: Router[Client] = Router(Limits(expression=90, conditions=10))
    with pytest.raises(Refused, match=message):
        router.subscribe(A, {"id": "1"}, subscription)
    assert len(router) == 0
    router.subscribe(A, {"id": "1"}, "topic=a")
    with pytest.raises(Refused, match="target"):
        routed(router, "a", target=subscription)


def test_a_connection_has_so_many_subscriptions() -> None:
    router: Router[Client] = Router(Limits(subscriptions=2))
    router.subscribe(A, {"id": "1"}, "topic=a")
    router.subscribe(A, {"id": "2"}, "topic=a")
    with pytest.raises(Refused, match=r"2 subscriptions .* raise Limits\.subscriptions "):
        router.subscribe(A, {"id": "3"}, "topic=a")
    router.subscribe(A, {"id": "2"}, "topic=b")  # in place of its own
    router.subscribe(B, {"id": "3"}, "topic=a")


def test_a_user_has_so_many_conditions_over_all_connections() -> None:
    router: Router[Client] = Router(Limits(conditions_per_user=4))
    router.subscribe(A, {"id": "1"}, "topic=a and data.n=1")
    router.subscribe(B, {"id": "2"}, "not (topic=a or data.n=1)")
    with pytest.raises(Refused, match="4 conditions"):
        router.subscribe(B, {"id": "3"}, "topic=a")
    with pytest.raises(Refused, match="4 conditions"):
        router.subscribe(B, {"id": "2"}, "topic=a or topic=b or topic=c")
    router.subscribe(STRANGER, {"id": "4"}, "topic=a")
    router.subscribe(B, {"id": "2"}, "topic=a")  # in place of its own
    router.subscribe(B, {"id": "3"}, "topic=a")
    router.unsubscribe(B, {"id": "3"})
    router.remove_peer(A)
    router.subscribe(B, {"id": "3"}, "topic=a or topic=b or topic=c")


def test_a_user_has_so_much_metadata_over_all_connections() -> None:
    router: Router[Client] = Router(Limits(metadata=600, metadata_per_user=1_000))
    with pytest.raises(Refused, match="600 bytes"):
        router.subscribe(A, {"id": "1", "x": "x" * 600}, "topic=a")
    router.subscribe(A, {"id": "1", "x": "x" * 500}, "topic=a")
    with pytest.raises(Refused, match="1000 bytes"):
        router.subscribe(B, {"id": "2", "x": "x" * 500}, "topic=a")
    router.subscribe(STRANGER, {"id": "2", "x": "x" * 500}, "topic=a")
    router.subscribe(A, {"id": "1", "x": "y" * 500}, "topic=a")
    router.remove_peer(A)
    router.subscribe(B, {"id": "3", "x": "x" * 500}, "topic=a")


def test_rules_narrow_what_a_subscription_gets_and_refuse_what_could_get_nothing() -> None:
    router: Router[Client] = Router()
    topics = Topics(["studio.*", "b"])
    router.subscribe(A, {"id": "1"}, "topic=*", topics)
    router.subscribe(A, {"id": "2"}, "data.n=1 or topic=secret", topics)
    assert [bool(routed(router, topic, {"n": 1})) for topic in ("studio.a", "b", "bb", "secret")] == [
        True,
        True,
        False,
        False,
    ]
    with pytest.raises(Refused, match="may not receive"):
        router.subscribe(A, {"id": "3"}, "topic=secret and data.n=1", topics)


def test_data_is_decoded_only_where_a_subscription_looks_into_it() -> None:
    text = '{"name":"ftrack.event","args":[{"topic":"%s","data":1e400}]}'  # which cannot be decoded
    router = router_of((A, "1", "topic=a or topic=b"), (B, "2", "topic=b and (data.n=1 or source.user=x)"))
    assert list(router.route(read(text % "a"), text % "a")) == [A]
    with pytest.raises(EventError):
        router.route(read(text % "b"), text % "b")
    router.remove_peer(B)
    assert list(router.route(read(text % "b"), text % "b")) == [A]


def test_an_event_is_not_looked_into_for_minutes() -> None:
    router = router_of((B, "2", "topic=*"))
    many = " and ".join(f"not data.x={number}" for number in range(200))
    router.subscribe(A, {"id": "1"}, f"topic=a and {many}")
    assert routed(router, "a", [{"x": -1}] * 40) == ["b", "a"]
    assert routed(router, "a", [{"x": -1}] * 20_000) == ["b"]
    assert router.meter.skipped == 1
    assert routed(router, "a", [{"x": -1}] * 40) == ["b", "a"]
    assert routed(router, "b", [{"x": -1}] * 20_000) == ["b"]
    router.subscribe(A, {"id": "1"}, "topic=a and data.x=5")  # which is looked up
    assert routed(router, "a", [{"x": 5}] * 5_000) == ["b", "a"]


def test_a_stream_that_numbers_its_events_anew_takes_the_beginnings_of_subscriptions_back() -> None:
    class Nobody:
        def add(self, id: object, expression: Expression, key: object = None) -> None: ...

        def remove(self, key: object) -> None: ...

    router: Router[Client] = Router(listener=Nobody())
    early, late, waiting = Client("early"), Client("late"), Client("waiting")
    router.subscribe(early, {"id": "1"}, "topic=a")(10)
    router.subscribe(late, {"id": "2"}, "topic=a")(50)
    admit = router.subscribe(waiting, {"id": "3"}, "topic=a")

    def met(sequence: int) -> list[str]:
        text = '{"name":"ftrack.event","args":[{"topic":"a"}]}'
        return [client.name for client in router.route(read(text), text, sequence)]

    assert met(50) == ["early"] and met(51) == ["early", "late"]
    router.rewind(30)
    assert met(10) == [] and met(11) == met(30) == ["early"] and met(31) == ["early", "late"]
    router.rewind(0)
    assert met(1) == ["early", "late"]
    admit(5)
    assert met(5) == ["early", "late"] and met(6) == ["early", "late", "waiting"]
