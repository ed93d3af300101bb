"""Connecting from a coroutine, after a fork, and where asyncio cannot run."""

from __future__ import annotations

import asyncio

import pytest

from rxhub import EventHub
from rxhub.errors import HubConnectionError, WrongLoop
from rxhub.testing import Nats
from tests.threads import run_script


def test_aconnect_connects_while_the_loop_goes_on(nats: Nats) -> None:
    async def run() -> None:
        with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as hub:
            await hub.aconnect()
            assert hub.connected
            with pytest.raises(HubConnectionError, match="Already"):
                await hub.aconnect()
        with EventHub("nats://127.0.0.1:1") as hub:
            with pytest.raises(HubConnectionError):
                await hub.aconnect()

    asyncio.run(run())


def test_without_asyncio_it_says_what_to_do() -> None:
    with EventHub() as hub, pytest.raises(WrongLoop, match=r"hub\.run\(\) needs asyncio.*hub\.start\(\)"):
        hub.run().send(None)


def test_memory_is_connected_in_a_child_process_and_a_server_names_the_remedy() -> None:
    assert run_script("""
import os, signal
from rxhub import Event, EventHub
from rxhub.errors import HubConnectionError
hub, remote = EventHub(), EventHub("http://127.0.0.1:1")
child = os.fork()
if child == 0:
    signal.alarm(20)
    seen = []
    hub.subscribe("topic=a", seen.append)
    with hub.start(): hub.publish(Event("a")).result(5)
    try: remote.publish(Event("a"))
    except HubConnectionError as error: assert "forked" in str(error) and "connect()" in str(error), error
    else: os._exit(2)
    os._exit(0)
print(os.waitpid(child, 0)[1])
""").split() == ["0"]
