"""The work of one event, subscription or target is limited, and does not block others."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from rxhub.errors import Refused
from rxhub.server import Backplane, Limits, Running, Topics, User, Users, running
from rxhub.server.connection import ClientConnection
from rxhub.server.envelope import read
from rxhub.server.key_hash import Hash, hashed
from rxhub.server.loop_turns import LoopTurns
from rxhub.server.rate_limit import STEPS_PER_EVENT, TokenBuckets
from rxhub.server.router import Router
from rxhub.testing import Nats
from tests.server.test_router import Client
from tests.server.wire import Wire, answer, packet, wire
from tests.threads import until

LIMIT = Limits().work
# Beyond the limit: the step that exceeds it, and what is charged without being bounded.
MARGIN = 60_000
# What an event may take: the test of all subscriptions, of each user's alone, and the comparison with a target.
MOST = 3 * LIMIT + MARGIN
REPLY = "topic=ftrack.meta.reply"


def conditions(template: str, count: int = 256, joined: str = " and ") -> str:
    return joined.join(template.format(number) for number in range(count))


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    nothing = Topics(())
    users = Users(
        [User("guest", Hash(hashed("key")), publish=nothing, subscribe=nothing), User.with_key("artist", "key")]
    )
    with running(users=users, grace=1) as server:
        yield server


@contextmanager
def client(server: Running, user: str) -> Generator[Wire]:
    with wire(server, {"ftrack-user": user, "ftrack-api-key": "key"}) as connection:
        yield connection


def steps(server: Running) -> int:
    return server._events.router.meter.steps


def round_trip(artist: Wire, number: int) -> None:
    artist.send(packet("studio.round", number))
    got = [artist.receive(), artist.receive()]
    assert any(text.startswith("5:::") and f'"data": {number}' in text for text in got)


def test_a_target_is_not_compared_for_minutes_with_what_subscribers_say_of_themselves(server: Running) -> None:
    with client(server, "artist") as artist, client(server, "guest") as guest:
        artist.subscribe("topic=studio.round", id="artist")
        for number in range(6):
            assert guest.subscribe(REPLY, id=f"guest-{number}", a=[0] * 8_000) == {"success": True}
        for number in range(20):
            before = steps(server)
            guest.send(packet("ftrack.meta.reply", target=conditions("a!=x{}")))
            round_trip(artist, number)
            _, refused = answer(guest.receive())
            assert refused["success"] is False
            assert f"{LIMIT} steps of work" in refused["message"] and "id=" in refused["message"]
            assert steps(server) - before < MOST
        # Of an ordinary reply nothing of that is tested.
        before = steps(server)
        assert guest.do("ftrack.meta.reply", {"a": 1}, target="id=artist") == {"success": True}
        assert steps(server) - before < 1_000


def many(template: str, count: int, **metadata: Any) -> list[tuple[str, dict[str, Any]]]:
    return [(template.format(number), metadata) for number in range(count)]


ATTACKS: dict[str, tuple[list[tuple[str, dict[str, Any]]], dict[str, Any]]] = {
    "a target without an id": (many(REPLY, 10, a=[0] * 2_000), {"target": conditions("a!=x{}")}),
    "an id that many hold": (many(f"{REPLY} and {conditions('data.a!=x{}', 200)}", 1), {"target": "id=0"}),
    "lists in metadata, nested": (many(REPLY, 6, a=[[[0] * 20] * 20] * 10), {"target": conditions("a!=x{}")}),
    "texts in metadata": (many(REPLY, 6, a=["a" * 5_000] * 3), {"target": conditions("a=*" + "a" * 20 + "{}*", 200)}),
    "long literals": (many(REPLY, 6, a=["1" * 70] * 200), {"target": conditions(f"a!={'1' * 60}{{}}", 100)}),
    "a long numeral": (many(REPLY, 6, a=[0] * 8_000), {"target": f"a!={'1' * 4_000} or a={'2' * 4_000}"}),
    "conditions on the envelope": (many(f"{REPLY} and source.a!={{}}", 900), {"source": {"a": list(range(900))}}),
    "equalities whose field walks a list": (
        many(f"{REPLY} and data.x{{}}.y=1", 250),
        {"data": {f"x{n}": [{"y": 0}] * 100 for n in range(250)}},
    ),
    "conditions on data": (many(f"{REPLY} and data.a!={{}}", 900), {"data": {"a": ["b"] * 1_000}}),
    "searches in a long text": (many(f"{REPLY} and data.a=*{'a' * 50}b{{}}*", 900), {"data": {"a": "a" * 29_000}}),
    "prefixes of all lengths": (
        [(f"{REPLY} and data.a={'a' * (n + 1)}*", {}) for n in range(900)],
        {"data": {"a": ["a" * 900] * 900}},
    ),
    "ranges": (many(f"{REPLY} and data.a>{{}}", 900), {"data": {"a": [10_000] * 900}}),
    "data that is decoded": (many(f"{REPLY} and data.a=1", 1), {"data": [[]] * 200_000}),
    "numbers that are decoded": (many(f"{REPLY} and data.a=1", 1), {"data": {"a": [int("9" * 4_299)] * 200}}),
    "deep data": (many(REPLY, 1), {"data": json.loads(f"[{','.join(['[' * 50 + ']' * 50] * 5_000)}]")}),
    "long keys": (many(f"{REPLY} and data.a.{'b.' * 3_500}c!={{}}", 100), {"data": {"a": [0] * 900}}),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_event_takes_more_than_the_limit(attack: str) -> None:
    subscribed, event = ATTACKS[attack]
    router: Router[Client] = Router()
    guest = Client("guest", user="guest")
    for number, (subscription, metadata) in enumerate(subscribed):
        before = router.meter.steps
        router.subscribe(guest, {"id": str(number), **metadata}, subscription, Topics(()))
        assert router.meter.steps - before < LIMIT + MARGIN
    import sys

    sys.set_int_max_str_digits(5_000)
    try:
        text = json.dumps({"name": "ftrack.event", "args": [{"topic": "ftrack.meta.reply", **event}]})
    finally:
        sys.set_int_max_str_digits(4_300)
    event = {"target": "not id=nobody", **event} if "target" not in event else event
    for _ in range(3):
        before = router.meter.steps
        try:
            router.route(read(text), text)
        except Refused as error:
            assert "steps of work" in str(error)
        assert router.meter.steps - before < MOST


def test_what_is_long_to_read_is_refused_where_the_limits_on_its_length_are_raised() -> None:
    limits = Limits(expression=131_072, conditions=2_000)
    router: Router[Client] = Router(limits)
    long = conditions("data.a{}!=x", 2_000)
    with pytest.raises(Refused, match=f"{LIMIT} steps of work"):
        router.subscribe(Client("a"), {"id": "1"}, long)
    text = json.dumps({"name": "ftrack.event", "args": [{"topic": "a", "target": conditions("a!=1", 1_700)}]})
    with pytest.raises(Refused, match=f"{LIMIT} steps of work"):
        router.check(read(text))
    assert router.meter.steps < 3 * LIMIT
    assert len(router) == 0
    Router[Client](Limits(expression=131_072, conditions=2_000, work=10**6)).subscribe(Client("a"), {"id": "1"}, long)


def test_a_target_is_charged_when_it_is_read_and_cheap_when_it_is_known() -> None:
    router: Router[Client] = Router()

    def cost(target: str) -> int:
        text = json.dumps({"name": "ftrack.event", "args": [{"topic": "a", "target": target}]})
        before = router.meter.steps
        router.check(read(text))
        return router.meter.steps - before

    assert cost("a=1 and b=2") > 300 > cost("a=1 and b=2") == 0
    assert all(cost(f"a=1 and b={number}") > 300 for number in range(3, 1_100))


def test_a_reply_is_no_burden_of_those_whom_it_is_not_for() -> None:
    router: Router[Client] = Router()
    router.subscribe(Client("hub"), {"id": "hub"}, REPLY)
    for number in range(500):
        router.subscribe(Client("guest", user="guest"), {"id": f"{number}"}, f"{REPLY} and data.a!={number}")
    text = json.dumps(
        {"name": "ftrack.event", "args": [{"topic": "ftrack.meta.reply", "target": "id=hub", "data": [[]] * 90_000}]}
    )
    assert [peer.name for peer in router.route(read(text), text)] == ["hub"]


def test_ordinary_events_take_a_small_part_of_the_limit() -> None:
    router: Router[Client] = Router()
    kinds = (
        "topic=ftrack.update and source.user.username=user{0}",
        "topic=ftrack.update and data.entities.entityType=task and source.user.username=user{0}",
        "topic=ftrack.update and data.entities.keys=statusid",
        "topic=ftrack.action.launch and data.actionIdentifier=action{0}",
        "topic=ftrack.* and source.id!=hub{1}",
        "topic=ftrack.meta.reply",
    )
    for number in range(10_000):
        who = Client(str(number // 10), user=str(number // 100))
        router.subscribe(who, {"id": str(number)}, kinds[number % len(kinds)].format(number, number % 50))
    entity = {"entityType": "task", "entityId": "x" * 36, "keys": ["statusid"], "changes": {"statusid": {"old": "a"}}}
    event = {"topic": "ftrack.update", "source": {"id": "hub7", "user": {"username": "user1"}}}
    for entities in (1, 10, 100):
        text = json.dumps({"name": "ftrack.event", "args": [{**event, "data": {"entities": [entity] * entities}}]})
        before = router.meter.steps
        assert len(router.route(read(text), text)) > 900
        assert router.meter.steps - before < LIMIT / 2


def test_a_user_is_charged_for_subscriptions_targets_and_refused_events(server: Running) -> None:
    for topic, data, fields in (
        (
            "ftrack.meta.subscribe",
            {"subscriber": {"id": "s"}, "subscription": conditions(f"{REPLY} or a!={{}}", 100)},
            {},
        ),
        ("ftrack.meta.reply", None, {"target": conditions("a!=x{}")}),
    ):
        users = Users([User.with_key("guest", "key")])
        with running(users=users, limits=Limits(events=0.001, events_at_once=3), grace=1) as small:
            with client(small, "guest") as guest:
                guest.do(topic, data, **fields)
                until(lambda small=small: not small._events.rate("guest").is_ready)


def test_the_queue_of_everybody_is_charged_to_the_publisher() -> None:
    users = Users([User.with_key("guest", "key"), User.with_key("artist", "key")])
    with running(users=users, limits=Limits(events=0.001, events_at_once=60), grace=1) as server:
        with client(server, "artist") as reader, client(server, "guest") as guest:
            reader.subscribe("topic=large")
            before = steps(server)
            guest.do("large", "x" * 500_000)
            reader.event()
            assert steps(server) - before > 5_000


def in_server(server: Running, function: Callable[[], object]) -> None:
    """Run a function on the server's event loop."""
    (connection, *_) = server._events._connections
    assert isinstance(connection, ClientConnection) and connection._reader is not None
    connection._reader.get_loop().call_soon_threadsafe(function)


def test_what_has_arrived_is_read_before_a_client_is_taken_for_silent() -> None:
    with running(heartbeat=0.5, heartbeat_timeout=4, grace=1) as server, wire(server) as client:
        assert client.do("a") == {"success": True}
        for _ in range(3):
            blocked = threading.Event()
            in_server(server, lambda blocked=blocked: (blocked.set(), time.sleep(5)))
            assert blocked.wait(20)
            client.send("2::")
            assert client.do("a") == {"success": True}
        assert server.stats["silent_clients"] == 0


def test_a_client_that_is_read_slowly_is_not_silent() -> None:
    limits = Limits(events=0.3, events_at_once=1)
    with running(limits=limits, heartbeat=0.5, heartbeat_timeout=2, grace=1) as server, wire(server) as client:
        for number in range(1, 4):
            client.send(packet("a", number=number))
        assert [answer(client.receive())[0] for _ in range(3)] == [1, 2, 3]
        assert server.stats["silent_clients"] == 0


def test_a_client_that_is_gone_is_found_all_the_same() -> None:
    with running(heartbeat=0.2, heartbeat_timeout=0.6, grace=1) as server, wire(server) as client:
        until(lambda: server.stats["silent_clients"] == 1)
        assert client


def test_subscriptions_of_those_who_left_go_little_by_little() -> None:
    router: Router[Client] = Router()
    a = Client("a")
    for number in range(700):
        router.subscribe(a, {"id": str(number)}, f"topic=a{number}")
    assert [router.remove_peer(a, 300) for _ in range(4)] == [300, 300, 100, 0]
    assert len(router) == 0 == router.remove_peer(a)


def test_a_crowd_that_leaves_takes_everything_with_it() -> None:
    with running(grace=1) as server:
        with wire(server) as stays:
            stays.subscribe("topic=a", id="stays")
            with wire(server) as one, wire(server) as other:
                for number in range(400):
                    one.subscribe(f"topic=b{number}", id=f"one-{number}")
                    other.subscribe(f"topic=b{number}", id=f"other-{number}")
            until(lambda: server.stats["subscriptions"] == 1)
            assert stays.do("b1") == {"success": True}


def test_users_take_turns_however_many_connections_each_has() -> None:
    order: list[str] = []

    async def main() -> None:
        turns = LoopTurns(1_000)

        async def work(user: str) -> None:
            await turns.wait(user)
            order.append(user)
            turns.spend(5_000)

        turns.spend(5_000)
        assert not turns.is_free
        async with asyncio.TaskGroup() as group:
            for _ in range(50):
                group.create_task(work("crowd"))
            group.create_task(work("single"))

    asyncio.run(main())
    assert order.index("single") <= 3 and len(order) == 51


def test_whoever_gives_up_waiting_holds_up_nobody() -> None:
    async def main() -> None:
        turns = LoopTurns(1_000)
        turns.spend(5_000)
        waiting = [asyncio.ensure_future(turns.wait("a")) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        waiting[1].cancel()
        await waiting[2]
        while not turns.is_free:
            await asyncio.sleep(0)

    asyncio.run(main())


def test_small_pieces_of_known_size_share_a_round() -> None:
    async def main() -> list[int]:
        turns, loop, rounds = LoopTurns(1_000), asyncio.get_running_loop(), [0]
        turns.spend(5_000)
        seen: list[int] = []

        def count() -> None:
            rounds[0] += 1
            loop.call_soon(count)

        async def work() -> None:
            await turns.wait("", 200)
            seen.append(rounds[0])
            turns.spend(200)

        count()
        async with asyncio.TaskGroup() as group:
            for _ in range(50):
                group.create_task(work())
        return seen

    seen = asyncio.run(main())
    assert max(map(seen.count, set(seen))) <= 6  # five of 200 steps, and what began meanwhile
    assert len(set(seen)) >= 9


EXPENSIVE = f"topic=studio.publish and {conditions('data.versions.id!=x{}', 250)}"
VERSIONS = {"versions": [{"id": number, "path": "/x"} for number in range(300)]}


@contextmanager
def studio(plane: Backplane | None = None) -> Generator[tuple[Running, dict[str, Wire]]]:
    """A server with clients of several users: two of bob."""
    users = Users([User.with_key(name, "key") for name in ("bob", "eve", "ann")])
    with running(users=users, backplane=plane, grace=1) as server, ExitStack() as stack:
        names = ("bob", "bob2", "eve", "ann")
        yield server, {name: stack.enter_context(client(server, name.rstrip("2"))) for name in names}


def receives_what_bob_publishes(clients: dict[str, Wire], number: int) -> None:
    assert clients["bob"].do("studio.publish", {**VERSIONS, "number": number}) == {"success": True}
    for name in ("bob2", "ann"):
        assert f'"number": {number}' in clients[name].receive()


def test_an_expensive_subscription_of_one_user_takes_no_event_from_another() -> None:
    with studio() as (server, clients):
        clients["bob2"].subscribe("topic=studio.publish", id="bob2")
        clients["ann"].subscribe("topic=studio.* and data.versions.id=7", id="ann")
        receives_what_bob_publishes(clients, 0)
        for number in range(5):
            clients["eve"].subscribe(f"{EXPENSIVE} and data.z!={number}", id=f"eve{number}")
        for number in range(1, 4):
            before = steps(server)
            receives_what_bob_publishes(clients, number)
            assert steps(server) - before < MOST
        assert server.stats["events_refused"] == 0
        assert server.stats["subscriptions_passed_over"] >= 3
        # What costs less still gets there.
        assert clients["bob"].do("studio.publish", {"versions": [{"id": 1}], "z": "a"}) == {"success": True}
        assert '"id": 1' in clients["eve"].receive()


def test_an_expensive_subscription_takes_no_event_of_the_stream_from_another(nats: Nats) -> None:
    with studio(Backplane(nats.url, nats.user, nats.password, nats.stream)) as (server, clients):
        clients["bob2"].subscribe("topic=studio.publish", id="bob2")
        clients["ann"].subscribe("topic=studio.publish and data.versions.id=7", id="ann")
        for number in range(3):
            clients["eve"].subscribe(f"{EXPENSIVE} and data.z!={number}", id=f"eve{number}")
        for number in range(3):
            receives_what_bob_publishes(clients, number)
        assert server.stats["events_unreadable"] == 0
        until(lambda: server.stats["subscriptions_passed_over"] >= 3)


def test_subscriptions_that_are_tested_alone_are_removed_like_others() -> None:
    router: Router[Client] = Router()
    bob, eve = Client("bob", user="bob"), Client("eve", user="eve")
    router.subscribe(bob, {"id": "bob"}, "topic=studio.publish")
    text = json.dumps({"name": "ftrack.event", "args": [{"topic": "studio.publish", "data": VERSIONS}]})
    for number in range(3):
        router.subscribe(eve, {"id": f"{number}"}, f"{EXPENSIVE} and data.z!={number}")
    assert [peer.name for peer in router.route(read(text), text)] == ["bob"]
    assert len(router) == 4
    # Now the others are not tested a second time.
    before = router.meter.steps
    assert [peer.name for peer in router.route(read(text), text)] == ["bob"]
    assert router.meter.steps - before < LIMIT + MARGIN
    router.unsubscribe(eve, {"id": "0"})
    router.subscribe(eve, {"id": "1"}, "topic=studio.publish and data.versions.id=7")
    assert len(router) == 3
    assert {peer.name for peer in router.route(read(text), text)} == {"bob", "eve"}
    router.remove_peer(eve)
    assert len(router) == 1
    passed_over = router.meter.skipped
    assert [peer.name for peer in router.route(read(text), text)] == ["bob"]
    assert router.meter.skipped == passed_over


def test_a_user_whose_subscriptions_are_passed_over_is_named_once_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    router: Router[Client] = Router()
    router.subscribe(Client("eve", user="eve"), {"id": "eve"}, EXPENSIVE)
    text = json.dumps({"name": "ftrack.event", "args": [{"topic": "studio.publish", "data": VERSIONS}]})
    for _ in range(3):
        assert not router.route(read(text), text)
    (record,) = [record for record in caplog.records if record.name == "rxhub.server"]
    assert "'eve'" in record.getMessage() and f"work={LIMIT}" in record.getMessage()


def test_a_target_in_the_stream_that_takes_too_much_of_a_user_skips_the_subscribers_of_this_user(nats: Nats) -> None:
    plane = Backplane(nats.url, nats.user, nats.password, nats.stream)
    with running(backplane=plane, grace=1) as server, wire(server) as client:
        for number in range(6):
            client.subscribe("topic=a", id=str(number), a=[0] * 8_000)
        client.send(packet("a", target=conditions("a!=x{}")))
        assert answer(client.receive())[1] == {"success": True}  # it is stored
        client.send(packet("a", 1, number=2))
        until(lambda: server.stats["subscriptions_passed_over"] == 6)
        got = [client.receive(), client.receive()]
        assert any(text.startswith("5:::") for text in got)


UNINDEXABLE = {
    "unequal": "topic=studio.publish and data.a!={}",
    "unequal, any topic": "source.a!={}",
    "contained": "topic=*ab{}*",
    "ranges": "topic=studio.publish and data.a>{}",
    "negated": "topic=studio.publish and not (data.a={0} and data.b={0})",
    "equal": "topic=studio.publish",
    "many fields": "data.k{0}={0}",
}


@pytest.mark.parametrize("kind", UNINDEXABLE)
def test_what_publishers_pay_does_not_depend_on_how_much_others_subscribe_to(kind: str) -> None:
    router: Router[Client] = Router()
    router.subscribe(Client("ann", user="ann"), {"id": "ann"}, "topic=studio.publish")
    for number in range(6_000):
        eve = Client(f"eve{number // 1_000}", user="eve")
        router.subscribe(eve, {"id": f"{number}"}, UNINDEXABLE[kind].format(number))
    text = json.dumps(
        {"name": "ftrack.event", "args": [{"topic": "studio.publish", "data": {"a": "z", "b": 1}, "source": {"a": 1}}]}
    )
    for _ in range(4):
        before, of_others = router.meter.steps, router.meter.steps_of_others
        assert "ann" in [peer.name for peer in router.route(read(text), text, publisher="bob")]
        steps = router.meter.steps - before
        assert steps < LIMIT + MARGIN
        assert steps - (router.meter.steps_of_others - of_others) < 3 * STEPS_PER_EVENT
    # A target is compared with what the metadata of others allows.
    text = text.replace('"topic"', '"target": "a!=1 or not id=nobody", "topic"')
    before, of_others = router.meter.steps, router.meter.steps_of_others
    assert "ann" in [peer.name for peer in router.route(read(text), text, publisher="bob")]
    assert router.meter.steps - before < 2 * LIMIT
    assert router.meter.steps - before - (router.meter.steps_of_others - of_others) < 5 * STEPS_PER_EVENT


def test_subscriptions_beyond_the_quota_are_found_and_removed_like_others() -> None:
    router: Router[Client] = Router()
    hubs = [Client(f"hub{number}", user="studio") for number in range(3_000)]
    for number, hub in enumerate(hubs):
        router.subscribe(hub, {"id": hub.name}, f"topic=studio.publish and data.id=v{number % 1_000}")
    text = json.dumps({"name": "ftrack.event", "args": [{"topic": "studio.publish", "data": {"id": "v7"}}]})

    def met() -> set[str]:
        return {peer.name for peer in router.route(read(text), text, publisher="bob")}

    assert met() == {"hub7", "hub1007", "hub2007"}
    router.remove_peer(hubs[1_007])
    router.subscribe(hubs[2_007], {"id": "hub2007"}, "topic=studio.publish and data.id=v8")
    router.subscribe(hubs[8], {"id": "hub8"}, "topic=studio.* and data.id=v7")
    assert met() == {"hub7", "hub8"}
    assert len(router) == 2_999
    for hub in hubs:
        router.remove_peer(hub)
    assert len(router) == 0 and met() == set()
    assert router.meter.skipped == 0


def test_metadata_of_one_user_takes_no_targeted_event_from_another() -> None:
    router: Router[Client] = Router()
    ann, eve = Client("ann", user="ann"), Client("eve", user="eve")
    router.subscribe(ann, {"id": "ann", "applicationId": "nuke"}, "topic=studio.*")
    for number in range(400):
        router.subscribe(eve, {"id": f"{number}", "applicationId": [0] * 8_000}, "topic=studio.*")
    text = json.dumps({"name": "ftrack.event", "args": [{"topic": "studio.publish", "target": "applicationId=nuke"}]})
    assert [peer.name for peer in router.route(read(text), text, publisher="bob")] == ["ann"]
    assert router.meter.skipped == 400
    nobody = text.replace("nuke", "maya")
    assert list(router.route(read(nobody), nobody, publisher="bob")) == []
    with pytest.raises(Refused, match=f"{LIMIT} steps of work"):
        router.route(read(text), text, publisher="eve")


def test_who_subscribed_pays_for_what_exceeds_the_quota() -> None:
    rates = TokenBuckets(0.001, 40)
    router: Router[Client] = Router(rates=rates)
    ann, eve = Client("ann", user="ann"), Client("eve", user="eve")
    router.subscribe(ann, {"id": "ann"}, "topic=studio.publish")
    for number in range(4_000):
        hers = Client(f"eve{number // 1_000}", user="eve")
        router.subscribe(hers, {"id": f"{number}"}, f"topic=studio.publish and data.a!={number}")
    router.subscribe(eve, {"id": "reply"}, "topic=studio.rare")
    text = json.dumps({"name": "ftrack.event", "args": [{"topic": "studio.publish", "data": {"a": "z"}}]})
    while rates["eve"].is_ready:
        assert len(router.route(read(text), text, publisher="bob")) == 5
    before = router.meter.steps
    assert "ann" in [peer.name for peer in router.route(read(text), text, publisher="bob")]
    assert router.meter.steps - before < 3 * STEPS_PER_EVENT
    assert rates["bob"].is_ready and rates["ann"].is_ready
    # What a topic finds costs next to nothing, and her own events are hers to pay for.
    rare = text.replace("studio.publish", "studio.rare")
    assert [peer.name for peer in router.route(read(rare), rare, publisher="bob")] == ["eve"]
    before = router.meter.steps
    router.route(read(text), text, publisher="eve")
    assert router.meter.steps - before > 3 * STEPS_PER_EVENT


def test_a_publisher_is_not_read_more_slowly_for_what_others_subscribe_to() -> None:
    users = Users([User.with_key(name, "key") for name in ("bob", "eve")])
    with running(users=users, limits=Limits(events=0.001, events_at_once=200), grace=1) as server:
        with client(server, "bob") as bob, client(server, "eve") as eve:
            for number in range(150):
                assert eve.subscribe(f"source.a!={number}", id=f"{number}") == {"success": True}
            for number in range(100):
                assert bob.do("studio.publish", number, source={"a": "z"}) == {"success": True}
            assert server.stats["events_refused"] == 0
            assert server._events.rate("bob").is_ready
