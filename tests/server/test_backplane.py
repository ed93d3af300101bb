"""Several servers on one stream behave like one server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from threading import Event as Flag
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reactivex import operators as ops
from starlette.applications import Starlette
from starlette.routing import Mount

from rxhub import Event, EventHub
from rxhub.embedded import store
from rxhub.errors import HubConnectionError
from rxhub.expression import parse
from rxhub.server import Backplane, Limits, Running, Topics, User, Users, application, running
from rxhub.server import backplane as module
from rxhub.server.envelope import Envelope
from rxhub.server.key_hash import Hash, hashed
from rxhub.server.loop_turns import LoopTurns
from rxhub.server.router import Router
from rxhub.server.uvicorn_protocols import WebSocket
from rxhub.testing import Nats
from tests.proxy import Proxy
from tests.server.wire import Wire, answer, packet, request, wire
from tests.serving import serving
from tests.threads import LIMIT, elsewhere, until

KEY = "of-all-servers"


def plane(nats: Nats) -> Backplane:
    return Backplane(nats.url, nats.user, nats.password, nats.stream)


@contextmanager
def servers(nats: Nats, count: int = 2, **options: Any) -> Generator[list[Running]]:
    with ExitStack() as stack:
        yield [stack.enter_context(running(api_key=KEY, backplane=plane(nats), **options)) for _ in range(count)]


def stored(nats: Nats) -> list[dict[str, Any]]:
    """All events of the stream."""

    async def read() -> list[dict[str, Any]]:
        import nats as client

        connection = await client.connect(nats.url, user=nats.user, password=nats.password)
        try:
            stream = connection.jetstream()
            last = (await stream.stream_info(nats.stream)).state.last_seq
            return [json.loads((await stream.get_msg(nats.stream, n + 1)).data or b"") for n in range(last)]
        finally:
            await connection.close()

    return asyncio.run(read())


def publish_many(client: Wire, topic: str, count: int) -> None:
    """Publish many events at once. All must be accepted, and acknowledged in order."""
    for number in range(count):
        client.send(packet(topic, number, number))
    for number in range(count):
        assert answer(client.receive()) == (number, {"success": True})


def test_an_event_reaches_the_clients_of_all_servers_once_and_as_it_came(nats: Nats) -> None:
    with servers(nats, 3) as nodes, ExitStack() as stack:
        clients = [stack.enter_context(wire(node)) for node in nodes]
        for number, client in enumerate(clients):
            assert client.subscribe("topic=studio.*", f"a{number}") == {"success": True}
            assert client.subscribe("topic=studio.note", f"b{number}") == {"success": True}
        event = '{ "topic" : "studio.note","id":"4f1c", "data":{"ü":1.50,"n":[1,2]},"further":true}'
        clients[0].send(f'5:1+::{{"name":"ftrack.event","args":[{event}]}}')
        # Acknowledged when it is stored; it may have come back before.
        first = [clients[0].receive(), clients[0].receive()]
        for told in sorted(first)[:1] + [client.receive() for client in clients[1:]]:
            assert told == f'5:::{{"name":"ftrack.event","args":[{event}]}}'
        assert answer(sorted(first)[1]) == (1, {"success": True})
        for client in clients:
            client.send(packet("studio.last", None, None))
            client.send(packet("studio.last", None, None))
        assert [[client.event()["topic"] for _ in range(6)] for client in clients] == [["studio.last"] * 6] * 3


def test_all_clients_see_one_order(nats: Nats) -> None:
    count = 200
    with servers(nats) as nodes, ExitStack() as stack:
        readers = [stack.enter_context(wire(node)) for node in [*nodes, *nodes]]
        writers = [stack.enter_context(wire(node)) for node in [*nodes, *nodes]]
        for number, reader in enumerate(readers):
            reader.subscribe("topic=studio.*", f"r{number}")
        with ExitStack() as threads:
            for number, writer in enumerate(writers):
                threads.enter_context(elsewhere(publish_many, writer, f"studio.w{number}", count))
            seen = [
                [(event["topic"], event["data"]) for event in (reader.event() for _ in range(count * len(writers)))]
                for reader in readers
            ]
    assert all(each == seen[0] for each in seen)
    for number in range(len(writers)):
        assert [data for topic, data in seen[0] if topic == f"studio.w{number}"] == list(range(count))


def test_what_a_client_publishes_behind_its_subscription_comes_back_to_it(nats: Nats) -> None:
    with servers(nats, 1) as (node,), wire(node) as client:
        for number in range(20):
            topic = f"studio.t{number}"
            client.send(
                packet("ftrack.meta.subscribe", {"subscriber": {"id": topic}, "subscription": f"topic={topic}"}, 1)
            )
            client.send(packet(topic, number, 2))
            told = [client.receive() for _ in range(3)]
            assert answer(told.pop(0)) == (1, {"success": True})
            assert {text[:3] for text in told} == {"5::", "6::"}


def test_an_acknowledged_subscription_gets_every_later_event_and_no_earlier_one(nats: Nats) -> None:
    done = Flag()
    acknowledged = [-1]

    def publish(client: Wire) -> int:
        number = 0
        while not done.is_set():
            assert client.do("studio.tick", number) == {"success": True}
            acknowledged[0] = number
            number += 1
        client.do("studio.tick", "end")
        return number

    with servers(nats) as nodes, wire(nodes[0]) as writer, ExitStack() as stack:
        with elsewhere(publish, writer) as publishing:
            spans: list[tuple[Wire, int, int]] = []
            for number in range(25):
                reader = stack.enter_context(wire(nodes[number % 2]))
                before = acknowledged[0]
                # Each asks for something that nobody has asked for, so that the server has to read more.
                reader.send(
                    packet(
                        "ftrack.meta.subscribe",
                        {"subscriber": {"id": f"r{number}"}, "subscription": f"topic=studio.tick or topic=x{number}.*"},
                    )
                )
                told = []
                while not told or not told[-1].startswith("6:"):
                    told.append(reader.receive())
                early = [json.loads(text[4:])["args"][0]["data"] for text in told[:-1]]
                assert all(n > before for n in early)
                spans.append((reader, acknowledged[0], early[0] if early else -1))
            done.set()
        last = publishing.join()
        for reader, then, first in spans:
            got: list[Any] = []
            while not got or got[-1] != "end":
                got.append(reader.event()["data"])
            if first >= 0:
                got.insert(0, first)
            # From some event on, which is no later than the one after the last that was stored before the answer.
            assert got[0] == "end" or got[0] <= then + 2
            assert got[-2::-1] == list(range(last - 1, last - len(got), -1))


def test_a_subscription_brings_no_history(nats: Nats) -> None:
    with servers(nats) as nodes, wire(nodes[0]) as writer, wire(nodes[1]) as reader:
        publish_many(writer, "studio.past", 50)
        reader.subscribe("topic=studio.*")
        writer.do("studio.present")
        assert reader.event()["topic"] == "studio.present"


def test_replies_and_targets_find_their_client_on_any_server(nats: Nats) -> None:
    with servers(nats) as nodes, ExitStack() as stack:
        one, other, third = [stack.enter_context(wire(node)) for node in [*nodes, nodes[1]]]
        for name, client in (("one", one), ("other", other), ("third", third)):
            client.subscribe("topic=ftrack.meta.reply", name)
            client.subscribe("topic=studio.*", f"{name}-2", role=name)
        assert one.do("ftrack.meta.reply", "a", target="id=other") == {"success": True}
        assert one.do("studio.x", "b", target="role=other") == {"success": True}
        assert other.event()["data"] == "a"
        assert other.event()["data"] == "b"
        assert other.do("ftrack.meta.reply", "c", target="id=one and topic=ftrack.*") == {"success": True}
        other.do("ftrack.meta.reply", "d", target='id="one"')
        assert one.event()["data"] == "d"
        third.send(packet("studio.end", None, None))
        for client in (one, other, third):
            assert client.event()["topic"] == "studio.end"
        assert "cannot be used" in str(other.do("studio.x", target="id="))


def test_hubs_ask_each_other_over_servers_and_directly_at_the_stream(nats: Nats) -> None:
    with servers(nats) as (a, b), ExitStack() as stack:
        hubs = [
            EventHub(a.url, a.api_user, KEY),
            EventHub(b.url, b.api_user, KEY),
            EventHub(nats.url, nats.user, nats.password, stream=nats.stream),
        ]
        for number, hub in enumerate(hubs):
            stack.enter_context(hub)
            hub.connect()
            hub.subscribe(f"topic=ask.{number}", lambda event, number=number: [number, event["data"]])
            stack.enter_context(hub.start())
        for hub in hubs:
            hub.publish(Event("after.subscribing")).result(10)
        for asking in range(3):
            for asked in range(3):
                reply = hubs[asking].request(Event(f"ask.{asked}", data=asking), timeout=10).pipe(ops.first()).run()
                assert reply.data == [asked, asking]


def test_rules_hold(nats: Nats) -> None:
    jane = User("jane", Hash(hashed(KEY)), publish=Topics(["studio.*"]), subscribe=Topics(["studio.*"]))
    with servers(nats, users=Users([jane])) as nodes, ExitStack() as stack:
        as_jane = {"ftrack-user": "jane", "ftrack-api-key": KEY}
        one, anybody = stack.enter_context(wire(nodes[0], as_jane)), stack.enter_context(wire(nodes[1]))
        assert one.do("other.x")["success"] is False
        assert one.subscribe("topic=*") == {"success": True}
        anybody.do("other.x")
        anybody.do("studio.x")
        assert one.event()["topic"] == "studio.x"
        assert [event["topic"] for event in stored(nats)] == ["other.x", "studio.x"]


def test_an_id_belongs_to_one_user_on_all_servers(nats: Nats) -> None:
    jane = User("jane", Hash(hashed(KEY)))
    as_jane = {"ftrack-user": "jane", "ftrack-api-key": KEY}
    with servers(nats, users=Users([jane])) as nodes, ExitStack() as stack:
        hers = stack.enter_context(wire(nodes[0], as_jane))
        again = stack.enter_context(wire(nodes[1], as_jane))
        stranger = stack.enter_context(wire(nodes[1]))
        assert hers.subscribe("topic=ftrack.meta.reply", "hub") == {"success": True}
        assert again.subscribe("topic=ftrack.meta.reply", "hub") == {"success": True}
        assert "another user" in str(stranger.subscribe("topic=*", "hub"))
        assert nodes[1].stats["subscriptions"] == 1
        # Nor when nobody holds it any more where it is asked for.
        again.do("ftrack.meta.unsubscribe", {"subscriber": {"id": "hub"}})
        assert "another user" in str(stranger.subscribe("topic=*", "hub"))
        stranger.subscribe("topic=studio.*", "other")
        assert stranger.do("ftrack.meta.reply", "a", target="id=hub") == {"success": True}
        assert hers.event()["data"] == "a"
        hers.send(packet("studio.end", None, None))
        assert stranger.event()["topic"] == "studio.end"


def test_of_two_users_who_want_an_id_at_once_one_gets_it(nats: Nats) -> None:
    jane = User("jane", Hash(hashed(KEY)))
    as_jane = {"ftrack-user": "jane", "ftrack-api-key": KEY}
    with servers(nats, users=Users([jane])) as nodes, ExitStack() as stack:
        both = [stack.enter_context(wire(nodes[0], as_jane)), stack.enter_context(wire(nodes[1]))]
        for number in range(20):
            asked = packet("ftrack.meta.subscribe", {"subscriber": {"id": f"h{number}"}, "subscription": "topic=x"})
            for client in both:
                client.send(asked)
            assert sorted(answer(client.receive())[1]["success"] for client in both) == [False, True]


def test_answers_keep_the_order_of_the_packets(nats: Nats) -> None:
    with servers(nats, 1) as (node,), wire(node) as client:
        asked = [
            packet("studio.a", 1, 1),
            packet("studio.b", 1, 2, target="id="),
            packet("ftrack.meta.subscribe", {"subscriber": {"id": "x"}, "subscription": "topic=never"}, 3),
            packet("studio.c", 1, None),
            packet("ftrack.meta.unsubscribe", {"subscriber": {"id": "x"}}, 4),
            '5:5+::{"name":"ftrack.event","args":[]}',
            packet("studio.d", 1, 6),
        ]
        for each in asked:
            client.send(each)
        answers = [answer(client.receive()) for _ in range(6)]
        assert [(number, told["success"]) for number, told in answers] == [
            (1, True),
            (2, False),
            (3, True),
            (4, True),
            (5, False),
            (6, True),
        ]
    assert [event["topic"] for event in stored(nats)] == ["studio.a", "studio.c", "studio.d"]


def test_a_client_that_goes_away_before_it_is_answered_has_published(nats: Nats) -> None:
    with servers(nats, 1) as (node,):
        with wire(node) as client:
            for number in range(100):
                client.send(packet("studio.a", number, number))
        until(lambda: node.stats["connections"] == 0 and node.stats["backplane_waiting"] == 0)
        assert [event["data"] for event in stored(nats)] == list(range(int(node.stats["events_received"])))


def test_two_copies_of_an_event_are_one_whichever_servers_they_come_by(nats: Nats) -> None:
    with servers(nats) as nodes, ExitStack() as stack:
        one, other = [stack.enter_context(wire(node)) for node in nodes]
        one.subscribe("topic=studio.*")
        for client in (other, one, other):
            client.send(packet("studio.a", 1, 7, id="4f1c"))
            if client is other:
                assert answer(client.receive()) == (7, {"success": True})
        other.do("studio.b", 2)
        told = [one.receive() for _ in range(3)]
        assert sum(text.startswith("5:") for text in told) == 2
    assert [event["topic"] for event in stored(nats)] == ["studio.a", "studio.b"]


def test_what_clients_could_not_read_is_passed_over_and_counted(nats: Nats) -> None:
    bad = [
        b"\xff",
        b"[]",
        b'{"topic": 7}',
        b'{"topic": "studio.x", "data": ' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"topic": "studio.x", "target": "id="}',
        b'{"topic": "studio.x"}]} {"a": [{',
        b'{"topic": "studio.x", "data": ' + b"9" * 5000 + b"}",
    ]

    async def put() -> None:
        import nats as client

        connection = await client.connect(nats.url, user=nats.user, password=nats.password)
        try:
            for each in bad:
                await connection.jetstream().publish(f"{nats.stream}.event.studio.x", each)
        finally:
            await connection.close()

    with servers(nats, 1) as (node,), wire(node) as client:
        client.subscribe("topic=studio.*")
        asyncio.run(put())
        client.send(packet("studio.end", None, None))
        assert client.event()["topic"] == "studio.end"
        assert node.stats["events_unreadable"] == len(bad)


def test_an_event_that_the_stream_does_not_take_is_refused_with_its_reason(tmp_path: Path) -> None:
    with store(tmp_path) as private:
        nats = Nats(private.url, private.user, private.password, "studio")
        with servers(nats, 1, limits=Limits(message=4 * 1024 * 1024)) as (node,), wire(node) as client:
            text = "€" * 3_000_000
            client.send(f'5:1+::{{"name":"ftrack.event","args":[{{"topic":"studio.a","data":"{text}"}}]}}')
            told = answer(client.receive())[1]
            assert told["success"] is False and "max_payload" in json.dumps(told)
            assert client.do("studio.b", "x") == {"success": True}
            assert client.do("x" * 5_000)["success"] is False


def test_health_and_statistics_tell_of_it(nats: Nats) -> None:
    with servers(nats, 1) as (node,), wire(node) as client:
        client.subscribe("topic=studio.*")
        client.send(packet("studio.a"))
        assert {client.receive()[0], client.receive()[0]} == {"5", "6"}
        status, body, _ = request(node, "/health")
        assert (status, json.loads(body)) == (200, {"status": "ok", "backplane": "connected"})
        stats = node.stats
        assert (stats["backplane_connected"], stats["backplane_stored"], stats["backplane_read"]) == (1, 1, 1)
        headers = {"ftrack-user": node.api_user, "ftrack-api-key": KEY}
        metrics = request(node, "/metrics", headers)[1]
        assert "\nrxhub_server_backplane_stored_total 1.0\n" in metrics
        assert "\nrxhub_server_backplane_connected 1.0\n" in metrics
    with running() as alone:
        assert json.loads(request(alone, "/health")[1]) == {"status": "ok"}
        assert not [name for name in alone.stats if name.startswith("backplane")]


@contextmanager
def behind_a_proxy(nats: Nats, **options: Any) -> Generator[tuple[Running, Proxy]]:
    """A server whose connection to NATS fails on demand."""
    port = urlsplit(nats.url).port
    assert port is not None
    with Proxy(port) as proxy:
        url = f"nats://127.0.0.1:{proxy.port}"
        plane = Backplane(url, nats.user, nats.password, nats.stream)
        with running(api_key=KEY, backplane=plane, grace=1, **options) as node:
            yield node, proxy


def test_while_nats_is_away_events_wait_and_each_is_stored_once(nats: Nats) -> None:
    with (
        behind_a_proxy(nats) as (node, proxy),
        wire(node) as client,
        running(api_key=KEY, backplane=plane(nats)) as well,
    ):
        with wire(well) as reader:
            reader.subscribe("topic=studio.*")
            number = 0
            for break_it in (proxy.reset, lambda: proxy.reset_after(3_000), proxy.reset):
                for _ in range(100):
                    client.send(packet("studio.a", number, number, id=uuid4().hex))
                    number += 1
                break_it()
            assert [answer(client.receive())[0] for _ in range(number)] == list(range(number))
            assert [reader.event()["data"] for _ in range(number)] == list(range(number))
        until(lambda: node.stats["backplane_reconnections"] >= 1)
    assert [event["data"] for event in stored(nats)] == list(range(number))


def test_a_server_without_nats_says_so_and_refuses_what_finds_no_room(
    nats: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_OUTBOX_EVENTS", 10)
    with behind_a_proxy(nats) as (node, proxy), wire(node) as client:
        proxy.black_hole = True
        proxy.reset()
        until(lambda: request(node, "/health")[0] == 503)
        assert node.stats["backplane_connected"] == 0
        for number in range(12):
            client.send(packet("studio.a", number, number))
        client.send("2::")
        until(lambda: node.stats["backplane_refused"] == 2)
        proxy.black_hole = False
        told = [answer(client.receive()) for _ in range(12)]
        assert [each["success"] for _, each in told] == [True] * 10 + [False] * 2
        assert "was not stored" in json.dumps(told[-1])
        until(lambda: request(node, "/health")[0] == 200)
        assert client.do("studio.a", 12) == {"success": True}
    assert [event["data"] for event in stored(nats)] == [*range(10), 12]


def test_who_subscribes_while_nats_is_away_is_told_when_it_holds(nats: Nats) -> None:
    with behind_a_proxy(nats) as (node, proxy), wire(node) as client, wire(node) as other:
        proxy.black_hole = True
        proxy.reset()
        until(lambda: node.stats["backplane_connected"] == 0)
        for number in range(5):
            client.send(
                packet("ftrack.meta.subscribe", {"subscriber": {"id": "x"}, "subscription": f"topic=a{number}"}, number)
            )
        # What is known at once waits behind it; and everybody else is served.
        client.send(packet("ftrack.meta.unsubscribe", {"subscriber": {"id": "y"}}, 5))
        assert other.do("ftrack.meta.unsubscribe", {"subscriber": {"id": "y"}}) == {"success": True}
        with pytest.raises(TimeoutError):
            client.receive(0.1)
        assert node.stats["subscriptions"] == 0
        proxy.black_hole = False
        assert [answer(client.receive()) for _ in range(6)] == [(number, {"success": True}) for number in range(6)]
        assert node.stats["subscriptions"] == 1
        other.do("a4")
        assert client.event()["topic"] == "a4"


def test_after_an_outage_clients_get_what_was_stored_meanwhile(nats: Nats) -> None:
    with behind_a_proxy(nats) as (node, proxy), servers(nats, 1) as (well,):
        with wire(node) as reader, wire(well) as writer:
            reader.subscribe("topic=studio.*")
            proxy.black_hole = True
            proxy.reset()
            until(lambda: node.stats["backplane_connected"] == 0)
            publish_many(writer, "studio.a", 300)
            proxy.black_hole = False
            assert [reader.event()["data"] for _ in range(300)] == list(range(300))


def test_what_many_have_missed_does_not_overflow_the_queues_of_those_who_read(nats: Nats) -> None:
    count = 2_500
    with behind_a_proxy(nats, limits=Limits(queue=1_500)) as (node, proxy), servers(nats, 1) as (well,):
        with wire(node) as reader, wire(well) as writer:
            reader.subscribe("topic=studio.*")
            proxy.black_hole = True
            proxy.reset()
            until(lambda: node.stats["backplane_connected"] == 0)
            for number in range(count):
                writer.send(packet("studio.a", [number, "x" * 7_000], None))
            until(lambda: well.stats["backplane_stored"] == count)
            proxy.black_hole = False
            until(lambda: node.stats["messages_waiting"] > 375)
            assert [reader.event()["data"][0] for _ in range(count)] == list(range(count))


def test_who_does_not_read_is_not_waited_for_longer_than_a_while(nats: Nats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CONGESTION_WAIT_S", 0.1)
    monkeypatch.setattr(module, "_LAGGING_EVENTS", 64)
    count = 3_000

    async def read() -> None:
        taken: list[int] = []
        everything = asyncio.Event()

        class Congested:
            router: Router[Any] = Router()
            streaming = LoopTurns(1_000)

            def route_stored(self, sequence: int, stored: bytes) -> None:
                taken.append(sequence)
                if len(taken) == count:
                    everything.set()

            def is_congested(self) -> bool:
                return True

        backplane = plane(nats)
        await backplane.start(Congested(), 1_000)
        try:
            backplane.filters.add("x", parse("topic=studio.*"))
            await asyncio.wrap_future(backplane.activate("x", "jane", lambda last: None))
            for number in range(count):
                text = f'{{"topic":"studio.a","id":"{number}"}}'
                backplane.publish(Envelope("studio.a", str(number)), text)
            async with asyncio.timeout(LIMIT):
                await everything.wait()
        finally:
            await backplane.close()

    asyncio.run(read())


def test_at_the_end_everybody_is_answered_and_everything_stored(nats: Nats) -> None:
    count = 400
    with ExitStack() as stack:
        with servers(nats, 1, grace=10) as (node,):
            client = stack.enter_context(wire(node))
            for number in range(count):
                client.send(packet("studio.a", number, number))
            until(lambda: node.stats["events_received"] == count)
        assert [answer(client.receive()) for _ in range(count)] == [(n, {"success": True}) for n in range(count)]
    assert len(stored(nats)) == count


def test_the_end_does_not_wait_longer_than_it_may(nats: Nats) -> None:
    with ExitStack() as stack:
        with behind_a_proxy(nats) as (node, proxy):
            client = stack.enter_context(wire(node))
            proxy.black_hole = True
            client.send(packet("studio.a"))
            until(lambda: node.stats["backplane_waiting"] == 1)


def test_a_server_that_cannot_reach_nats_does_not_start() -> None:
    with pytest.raises(HubConnectionError, match=r"Cannot connect to NATS at nats://127\.0\.0\.1:1"):
        with running(backplane=Backplane("nats://127.0.0.1:1")):
            pass


def test_a_server_with_the_wrong_password_does_not_start(nats: Nats) -> None:
    with pytest.raises(HubConnectionError, match="Check that the password of"):
        with running(backplane=Backplane(nats.url, nats.user, "wrong")):
            pass


def test_each_server_needs_a_backplane_of_its_own(nats: Nats) -> None:
    one = plane(nats)
    with running(backplane=one):
        with pytest.raises(HubConnectionError, match="already belongs to another server"):
            with running(backplane=one):
                pass
    with running(backplane=one) as again:
        assert again.stats["backplane_connected"] == 1


@pytest.mark.parametrize("stream", ["", "a.b", "a b", "studio-dead", "ü"])
def test_a_stream_that_cannot_be_is_refused(stream: str) -> None:
    with pytest.raises(ValueError, match="stream"):
        Backplane("nats://localhost", stream=stream)


def test_an_application_joins_with_its_lifespan(nats: Nats) -> None:
    app = application(Users([User.with_key("jane", KEY)]), backplane=plane(nats))

    async def live() -> None:
        async with app.router.lifespan_context(app):
            assert [route.path for route in app.routes]

    asyncio.run(live())


@contextmanager
def mounted(backplane: Backplane) -> Generator[Running]:
    """A server in an application that runs no lifespan of the server's, until its own ends."""
    inner = application(Users([User.with_key("jane", KEY)]), backplane=backplane)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        yield
        async with inner.router.lifespan_context(inner):
            pass

    with serving(Starlette(routes=[Mount("/", inner)], lifespan=lifespan), ws=WebSocket) as url:
        yield Running(url, "jane", KEY, None)  # type: ignore[arg-type]


def test_an_application_that_is_mounted_joins_at_the_first_request(nats: Nats) -> None:
    with mounted(plane(nats)) as node, servers(nats, 1) as (well,):
        assert json.loads(request(node, "/health")[1]) == {"status": "ok", "backplane": "connected"}
        with wire(node) as client, wire(well) as other:
            client.subscribe("topic=studio.*")
            other.do("studio.a")
            assert client.event()["topic"] == "studio.a"


def test_an_application_whose_nats_is_away_lets_nobody_in_until_it_is_there(nats: Nats) -> None:
    headers = {"ftrack-user": "jane", "ftrack-api-key": KEY}
    port = urlsplit(nats.url).port
    assert port is not None
    with Proxy(port) as proxy:
        there, proxy._target = proxy._target, 1
        url = f"nats://127.0.0.1:{proxy.port}"
        with mounted(Backplane(url, nats.user, nats.password, nats.stream)) as node:
            status, _, told = request(node, "/socket.io/1/", headers)
            assert (status, told["retry-after"]) == (503, "5")
            assert request(node, "/health")[0] == 503
            proxy._target = there
            assert request(node, "/socket.io/1/", headers)[0] == 200


actions = st.lists(
    st.one_of(
        st.tuples(
            st.just("subscribe"),
            st.integers(0, 2),
            st.sampled_from(["x", "y"]),
            st.sampled_from(
                [
                    "topic=a.b",
                    "topic=a.*",
                    "topic=*",
                    "topic=a.c or topic=b",
                    "data=1",
                    "not topic=a.b",
                    "topic=ftrack.meta.reply",
                ]
            ),
        ),
        st.tuples(st.just("unsubscribe"), st.integers(0, 2), st.sampled_from(["x", "y"]), st.just("")),
        st.tuples(
            st.just("publish"),
            st.integers(0, 2),
            st.sampled_from(["a.b", "a.c", "b", "a", "ftrack.meta.reply"]),
            st.sampled_from(["", "id=x0", "id=y1", "role=x"]),
        ),
    ),
    max_size=12,
)


def play(nodes: list[Running], program: list[tuple[str, int, str, str]]) -> list[list[Any]]:
    """The events that each of three clients receives."""
    with ExitStack() as stack:
        clients = [stack.enter_context(wire(node)) for node in nodes]
        got: list[list[Any]] = [[] for _ in clients]

        def do(client: int, topic: str, data: Any, **fields: Any) -> None:
            clients[client].send(packet(topic, data, 1, **fields))
            while not (text := clients[client].receive()).startswith("6:"):
                got[client].append(json.loads(text[4:])["args"][0])
            assert answer(text)[1] == {"success": True}

        for number, (action, client, name, text) in enumerate(program):
            subscriber = {"id": f"{name}{client}", "role": name}
            match action:
                case "subscribe":
                    do(client, "ftrack.meta.subscribe", {"subscriber": subscriber, "subscription": text})
                case "unsubscribe":
                    do(client, "ftrack.meta.unsubscribe", {"subscriber": subscriber})
                case _:
                    do(client, name, number % 3, id=f"{number}-{uuid4().hex}", target=text)
            # Each knows where the others are before the next one acts.
            for each in range(3):
                do(each, "ftrack.meta.subscribe", {"subscriber": {"id": f"end{each}"}, "subscription": "topic=end"})
            do(client, "end", number, id=uuid4().hex)
            for each in range(3):
                while not any(event["topic"] == "end" and event["data"] == number for event in got[each]):
                    got[each].append(clients[each].event())
        return [
            [(event["topic"], event["data"], event["target"]) for event in each if event["topic"] != "end"]
            for each in got
        ]


def test_two_servers_behave_as_one_alone(nats: Nats) -> None:
    with servers(nats) as (one, other), running(api_key=KEY) as alone:

        @settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
        @given(actions)
        def behave_alike(program: list[tuple[str, int, str, str]]) -> None:
            assert play([one, other, one], program) == play([alone] * 3, program)

        behave_alike()
