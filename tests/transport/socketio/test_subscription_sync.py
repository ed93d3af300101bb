"""What the server has still to be told of our subscribers."""

from __future__ import annotations

from typing import Any
from weakref import finalize

from hypothesis import given
from hypothesis import strategies as st

from rxhub.transport.socketio.subscription_sync import (
    SUBSCRIBE,
    UNSUBSCRIBE,
    ServerSubscription,
    SubscriptionChange,
    SubscriptionSync,
)
from tests.threads import eager_collection, elsewhere


def told(interests: SubscriptionSync, most: int = 1000) -> list[SubscriptionChange]:
    notices: list[SubscriptionChange] = []
    while len(notices) < most and (notice := interests.take()) is not None:
        notices.append(notice)
    return notices


def test_what_changed_is_told_once() -> None:
    interests = SubscriptionSync()
    interests.add("x", ServerSubscription("topic=a", '{"id":"x"}'))
    [notice] = told(interests)
    assert (notice.id, notice.topic) == ("x", SUBSCRIBE)
    assert notice.data["subscription"] == "topic=a" and bytes(notice.data["subscriber"]) == b'{"id":"x"}'
    assert told(interests) == [] and not interests.waiting

    interests.remove("x")
    [notice] = told(interests)
    assert notice.topic == UNSUBSCRIBE and list(notice.data) == ["subscriber"]
    interests.remove("unknown")
    assert told(interests) == [] and len(interests) == 0


def test_it_is_settled_when_all_that_was_told_is_answered() -> None:
    interests = SubscriptionSync()
    assert interests.settled
    interests.add("x", ServerSubscription("topic=a", "{}"))
    assert not interests.settled
    told(interests)
    assert not interests.settled
    interests.answered()
    assert interests.settled

    interests.remove("x")
    interests.add("x", ServerSubscription("topic=b", "{}"))
    assert len(told(interests)) == 2
    interests.answered()
    assert not interests.settled
    interests.renew()
    told(interests)
    interests.answered()
    assert interests.settled


def test_who_came_and_went_unnoticed_is_not_mentioned() -> None:
    interests = SubscriptionSync()
    for number in range(1000):
        interests.add(str(number), ServerSubscription("topic=a", "{}"))
        interests.remove(str(number))
    assert told(interests) == []


def test_a_new_subscription_under_an_old_id_replaces_it() -> None:
    interests = SubscriptionSync()
    interests.add("x", ServerSubscription("topic=a", "{}"))
    told(interests)
    interests.remove("x")
    interests.add("x", ServerSubscription("topic=b", "{}"))
    assert [(n.topic, n.data.get("subscription")) for n in told(interests)] == [
        (UNSUBSCRIBE, None),
        (SUBSCRIBE, "topic=b"),
    ]


def test_a_server_that_knows_nobody_is_told_of_all() -> None:
    interests = SubscriptionSync()
    for name in "xyz":
        interests.add(name, ServerSubscription("topic=a", "{}"))
    told(interests)
    interests.remove("y")
    interests.renew()
    assert [(n.id, n.topic) for n in told(interests)] == [("x", SUBSCRIBE), ("z", SUBSCRIBE)]


steps = st.lists(st.tuples(st.sampled_from(["add", "remove", "tell", "renew"]), st.sampled_from("xyz")), max_size=40)


@given(steps)
def test_in_the_end_the_server_knows_who_is_there(steps: list[tuple[str, str]]) -> None:
    interests, there = SubscriptionSync(), dict[str, str]()
    server: dict[str, Any] = {}

    def tell(most: int) -> None:
        for notice in told(interests, most):
            if notice.topic == SUBSCRIBE:
                assert notice.id not in server
                server[notice.id] = notice.data["subscription"]
            else:
                del server[notice.id]

    for number, (step, name) in enumerate(steps):
        if step == "add":
            there[name] = f"topic={number}"
            interests.add(name, ServerSubscription(there[name], "{}"))
        elif step == "remove":
            there.pop(name, None)
            interests.remove(name)
        elif step == "tell":
            tell(1)
        else:
            server.clear()
            interests.renew()
        assert len(interests._changed) <= 3
    tell(1000)
    assert server == there


def test_subscribers_that_are_collected_while_others_are_added() -> None:
    class Owner:
        def __init__(self, id: str) -> None:
            self.me = self
            finalize(self, interests.remove, id)

    interests = SubscriptionSync()

    def come_and_go() -> None:
        with eager_collection():
            for number in range(300):
                interests.add(str(number), ServerSubscription("topic=a", "{}"))
                Owner(str(number))
                told(interests, 1)

    elsewhere(come_and_go).join()
    told(interests)
    assert len(interests) == 0 and not interests.waiting
