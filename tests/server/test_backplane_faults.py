"""What dies loses nothing that was acknowledged: servers, and the leader of the stream.

Everything is counted: what was acknowledged to its publisher is stored, once, and is delivered, once and in the order
of the stream.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event as Flag
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import nats as client_of_nats

from rxhub import Event, EventHub
from rxhub.server import Backplane, Running, UsersFile, running
from rxhub.testing import Nats
from tests.cli.terminal import COMMAND
from tests.nats_server import Cluster
from tests.proxy import Proxy
from tests.server.peers import PythonClient
from tests.server.wire import Wire, wire
from tests.threads import LIMIT, elsewhere, until

USER = "jane"
LAST = "last"
ELECTION = 3 * LIMIT


def stored(url: str, user: str, password: str, stream: str) -> list[str]:
    """The ids of all events of a stream, in order."""

    async def read() -> list[str]:
        servers = [f"nats://{host}" for host in url.removeprefix("nats://").split(",")]
        connection = await client_of_nats.connect(servers, user=user, password=password)
        try:
            streams = connection.jetstream()
            last = (await streams.stream_info(stream)).state.last_seq
            found: list[str] = []
            number = 0
            while number < last:
                # From the leader, and with the numbers left out that a new leader may leave out.
                each = await streams.get_msg(stream, number + 1, subject=f"{stream}.event.>", next=True)
                assert each.seq is not None
                number = each.seq
                found.append(json.loads(each.data or b"")["id"])
            return found
        finally:
            await connection.close()

    return asyncio.run(read())


@contextmanager
def node(nats: Nats, users: Path) -> Generator[tuple[Running, subprocess.Popen[str]]]:
    """`rxhub serve` in a separate process."""
    where = urlsplit(nats.url)
    environment = {**os.environ, "RXHUB_NATS": f"nats://{nats.user}:{nats.password}@{where.netloc}"}
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", "--users", str(users), "--stream", nats.stream],
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip().partition("=")[2]
            yield Running(url, USER, "", None), process  # type: ignore[arg-type]
        finally:
            process.kill()


def port_of(server: Running) -> int:
    port = urlsplit(server.url).port
    assert port is not None
    return port


class Publishing:
    """Publishes through a hub as fast as it is let, until told to stop, and knows what was acknowledged."""

    def __init__(self, hub: EventHub, topic: str, under_way: int = 50) -> None:
        self.acknowledged: list[str] = []
        self.refused: list[str] = []
        self.stop = Flag()
        self._hub = hub
        self._topic = topic
        self._under_way = under_way

    def __call__(self) -> None:
        waiting: list[tuple[str, Any]] = []
        while not self.stop.is_set() or waiting:
            while len(waiting) < self._under_way and not self.stop.is_set():
                id = uuid4().hex
                waiting.append((id, self._hub.publish(Event(self._topic, id=id))))
            id, accepted = waiting.pop(0)
            (self.refused if accepted.exception(LIMIT) else self.acknowledged).append(id)


def told(reader: Wire) -> list[str]:
    """The ids of all events up to the last one. Reads them at once, because slow clients are disconnected."""
    ids: list[str] = []
    while ids[-1:] != [LAST]:
        ids.append(reader.event()["id"])
    return ids


def in_order(seen: list[str], everything: list[str]) -> bool:
    place = {id: number for number, id in enumerate(everything)}
    places = [place[id] for id in seen]
    return places == sorted(places)


def test_a_server_that_is_killed_loses_nothing_that_was_acknowledged(nats: Nats, tmp_path: Path) -> None:
    users = tmp_path / "users.toml"
    key = UsersFile(users).add(USER)
    with ExitStack() as stack:
        (one, process), (other, _) = [stack.enter_context(node(nats, users)) for _ in range(2)]
        for each in (one, other):
            each.api_key = key
        reader = stack.enter_context(wire(other))
        reader.subscribe("topic=studio.*")
        reading = elsewhere(told, reader)
        # What a balancer does: clients know one address, behind which there is a server.
        balancer = stack.enter_context(Proxy(port_of(one)))
        hub = stack.enter_context(EventHub(balancer.url, USER, key))
        hub.connect()
        ftrack = PythonClient(Running(balancer.url, USER, key, None))  # type: ignore[arg-type]
        stack.callback(ftrack.close)
        ftrack.connect()
        ftrack.subscribe("topic=studio.*")
        publishing = Publishing(hub, "studio.work")
        with elsewhere(publishing):
            try:
                until(lambda: len(publishing.acknowledged) > 300 and len(ftrack.received) > 100)
                before = len(publishing.acknowledged)
                balancer._target = port_of(other)
                process.send_signal(signal.SIGKILL)
                at = len(ftrack.received)
                until(lambda: len(publishing.acknowledged) > before + 500)
                until(lambda: len(ftrack.received) > at + 100)
            finally:
                publishing.stop.set()
        hub.publish(Event("studio.work", id=LAST)).result(LIMIT)
        seen = reading.join()
        everything = stored(nats.url, nats.user, nats.password, nats.stream)
    assert not publishing.refused
    assert Counter(everything).most_common(1)[0][1] == 1
    assert set(publishing.acknowledged) <= set(everything)
    assert seen == everything
    assert in_order([event["id"] for event in ftrack.received], everything)


def test_the_death_of_the_leader_of_three_loses_nothing(cluster: Cluster) -> None:
    stream = f"kept-{uuid4().hex[:8]}"
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(
                running(backplane=Backplane(cluster.url, cluster.user, cluster.password, stream), grace=10)
            )
            for _ in range(2)
        ]
        hubs = [stack.enter_context(EventHub(each.url, each.api_user, each.api_key)) for each in nodes]
        readers = [stack.enter_context(wire(each)) for each in nodes]
        for hub, reader in zip(hubs, readers, strict=True):
            hub.connect()
            reader.subscribe("topic=studio.*")
        readings = [elsewhere(told, reader) for reader in readers]
        publishings = [Publishing(hub, f"studio.work{number}") for number, hub in enumerate(hubs)]
        with elsewhere(publishings[0]), elsewhere(publishings[1]):
            try:
                until(lambda: all(len(each.acknowledged) > 200 for each in publishings))
                leader = cluster.leader(stream)
                before = [len(each.acknowledged) for each in publishings]
                cluster.kill(leader)
                until(
                    lambda: all(
                        len(each.acknowledged) > count + 300 for each, count in zip(publishings, before, strict=True)
                    ),
                    ELECTION,
                )
            finally:
                for each in publishings:
                    each.stop.set()
        hubs[0].publish(Event("studio.work", id=LAST)).result(LIMIT)
        seen = [reading.join() for reading in readings]
        everything = stored(cluster.url, cluster.user, cluster.password, stream)
    acknowledged = {LAST} | {id for each in publishings for id in each.acknowledged}
    assert not any(each.refused for each in publishings)
    assert len(acknowledged) == len(everything) == len(set(everything))
    assert set(everything) == acknowledged
    assert seen == [everything, everything]


def test_a_node_that_is_held_up_is_given_up_and_nothing_is_lost(cluster: Cluster) -> None:
    stream = f"held-{uuid4().hex[:8]}"
    with running(backplane=Backplane(cluster.url, cluster.user, cluster.password, stream), grace=10) as server:
        with EventHub(server.url, server.api_user, server.api_key) as hub, wire(server) as reader:
            hub.connect()
            reader.subscribe("topic=studio.*")
            reading = elsewhere(told, reader)
            publishing = Publishing(hub, "studio.work")
            with elsewhere(publishing):
                try:
                    until(lambda: len(publishing.acknowledged) > 100)
                    before = len(publishing.acknowledged)
                    cluster.stop(cluster.leader(stream))
                    until(lambda: len(publishing.acknowledged) > before + 300, ELECTION)
                finally:
                    publishing.stop.set()
                    cluster.heal()
            hub.publish(Event("studio.work", id=LAST)).result(LIMIT)
            seen = reading.join()
            everything = stored(cluster.url, cluster.user, cluster.password, stream)
    assert not publishing.refused
    assert {LAST, *publishing.acknowledged} == set(everything) and len(everything) == len(set(everything))
    assert seen == everything


def test_what_a_store_holds_outlives_the_server_that_is_killed(tmp_path: Path) -> None:
    command = [*COMMAND, "serve", "--port", "0", "--store", str(tmp_path / "events")]
    ids: list[str] = []
    for _ in range(2):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                told = [process.stdout.readline().strip().partition("=")[2] for _ in range(4)]
                url, user, key = told[:3]
                where = urlsplit(told[3])
                with EventHub(url, user, key) as hub:
                    hub.connect()
                    for _ in range(50):
                        ids.append(uuid4().hex)
                        hub.publish(Event("studio.work", id=ids[-1])).result(LIMIT)
                assert where.username is not None and where.password is not None
                address = f"nats://{where.hostname}:{where.port}"
                assert stored(address, where.username, where.password, "events") == ids
            finally:
                process.kill()
