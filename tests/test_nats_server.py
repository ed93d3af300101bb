"""The cluster that tests of faults run on: it elects, survives a loss, and is whole again."""

from __future__ import annotations

import asyncio

import nats

from tests.nats_server import Cluster


def test_three_nodes_keep_a_stream_without_its_leader(cluster: Cluster) -> None:
    async def use(made: bool) -> int:
        servers = [node.url for node in cluster.nodes]
        client = await nats.connect(servers, user=cluster.user, password=cluster.password, connect_timeout=5)
        try:
            stream = client.jetstream(timeout=20)
            if not made:
                await stream.add_stream(name="kept", subjects=["kept.>"], num_replicas=3)
            return (await stream.publish("kept.event", b"text")).seq
        finally:
            await client.close()

    assert asyncio.run(use(made=False)) == 1
    leader = cluster.leader("kept")
    cluster.kill(leader)
    assert cluster.leader("kept") != leader
    assert asyncio.run(use(made=True)) == 2
    cluster.stop(cluster.leader("kept"))
    cluster.heal()
    assert asyncio.run(use(made=True)) == 3
