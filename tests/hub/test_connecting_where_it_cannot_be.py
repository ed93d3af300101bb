"""Connecting from a coroutine, in `async with`, after a fork, and where asyncio cannot run."""

from __future__ import annotations

import asyncio
import socket
import threading
import warnings
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import pytest
from reactivex import Observable
from reactivex import operators as ops

from rxhub import Event, EventHub
from rxhub.compat.ftrack.hub import EventHub as FtrackHub
from rxhub.errors import (
    AlreadyHandled,
    BlockingCallWarning,
    HubConnectionError,
    NotConnectedWarning,
    WrongLoop,
)
from rxhub.testing import Nats
from tests.threads import LIMIT, run_script
from tests.transport.socketio.server import Server

NOWHERE = "http://127.0.0.1:9"


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


def test_async_with_connects_and_handles(nats: Nats) -> None:
    async def run() -> None:
        async with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as hub:
            assert hub.connected
            hub.on("topic=a")(lambda event: {"n": event.data["n"] + 1})
            assert (await hub.ask(Event("a", data={"n": 1}), timeout=LIMIT)).data == {"n": 2}

    asyncio.run(run())


CONNECT: dict[str, Callable[[EventHub], Any]] = {
    "connect": lambda hub: asyncio.sleep(0, hub.connect()),
    "in a thread": lambda hub: asyncio.to_thread(hub.connect),
    "aconnect": lambda hub: hub.aconnect(),
}


@pytest.mark.parametrize("make", [EventHub, FtrackHub])
@pytest.mark.parametrize("connect", CONNECT.values(), ids=CONNECT.keys())
def test_the_first_connect_within_async_with_changes_nothing(make: Any, connect: Any) -> None:
    async def run(url: str) -> None:
        async with make(url, "me", "key") as hub:
            assert hub.connected
            await connect(hub)
            with pytest.raises(HubConnectionError, match="Already connected"):
                await connect(hub)
            assert hub.connected

    with Server() as server:
        asyncio.run(run(server.url))
        assert len(server.upgrades) == 1


def test_async_with_leaves_a_connected_hub_as_it_is() -> None:
    async def run(hub: EventHub) -> None:
        async with hub:
            assert hub.connected
            with pytest.raises(HubConnectionError, match="Already connected"):
                await hub.aconnect()

    with Server() as server:
        hub = EventHub(server.url, "me", "key")
        hub.connect()
        asyncio.run(run(hub))
        assert len(server.upgrades) == 1


@pytest.mark.parametrize("make", [EventHub, FtrackHub])
def test_async_with_that_cannot_connect_raises_and_can_be_tried_again(make: Any) -> None:
    async def run(server: Server) -> None:
        hub = make(server.url, "me", "key")
        before = asyncio.all_tasks()
        server.status = HTTPStatus.UNAUTHORIZED
        for _ in range(2):
            with pytest.raises(HubConnectionError, match="401"):
                async with hub:
                    pytest.fail("it was entered")
            assert not hub.is_running and not hub.connected and asyncio.all_tasks() == before
        server.status = HTTPStatus.OK
        async with hub:
            await hub.apublish(Event("a"))
        assert not hub.connected

    with Server() as server:
        asyncio.run(run(server))
        assert server.topics() == ["a"]


@pytest.mark.parametrize("make", [EventHub, FtrackHub])
def test_async_with_that_is_cancelled_while_it_connects_leaves_nothing_running(make: Any) -> None:
    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            hub = make(f"http://127.0.0.1:{silent.getsockname()[1]}", "me", "key")
            before = asyncio.all_tasks()
            entering = asyncio.create_task(hub.__aenter__())
            came, _ = await asyncio.to_thread(silent.accept)  # it connects, and is not answered
            entering.cancel()
            with pytest.raises(asyncio.CancelledError):
                await entering
            assert not hub.is_running and asyncio.all_tasks() == before
            came.close()
        hub.close()

    asyncio.run(asyncio.wait_for(run(), LIMIT))


def test_async_with_on_a_hub_that_is_handled_does_not_connect_it() -> None:
    async def run(url: str) -> None:
        hub = EventHub(url, "me", "key")
        hub.init_connection()
        with hub, hub.start():
            with pytest.raises(AlreadyHandled):
                await hub.__aenter__()

    with Server() as server:
        asyncio.run(run(server.url))
        assert server.requests == []


# Warnings


def start(hub: EventHub) -> None:
    hub.start().dispose()


def run(hub: EventHub) -> None:
    async def cancelled() -> None:
        async with asyncio.timeout(0):
            await hub.run()

    with pytest.raises(TimeoutError):
        asyncio.run(cancelled())


def serve(hub: EventHub) -> None:
    threading.Timer(0.1, hub.close).start()
    hub.serve_forever()


CONTEXTS = [start, run, serve]


@pytest.mark.parametrize("handle", CONTEXTS)
@pytest.mark.parametrize("make", [EventHub, FtrackHub])
def test_handling_a_hub_that_is_not_connected_warns_at_the_line_of_the_program(make: Any, handle: Any) -> None:
    with make(NOWHERE, "me", "key") as hub:
        with pytest.warns(NotConnectedWarning, match=r"not connected\. Call connect\(\) first\.") as told:
            handle(hub)
        assert [each.filename for each in told] == [__file__]


@pytest.mark.parametrize("handle", CONTEXTS)
def test_handling_a_hub_that_is_or_will_be_connected_warns_of_nothing(handle: Any) -> None:
    with warnings.catch_warnings(), Server() as server:
        warnings.simplefilter("error")
        for prepare in (EventHub.connect, EventHub.init_connection):
            with EventHub(server.url, "me", "key") as hub:
                prepare(hub)
                handle(hub)
        with EventHub() as hub:
            handle(hub)


def test_connecting_and_waiting_in_a_running_loop_warn_and_name_what_to_await() -> None:
    async def run(url: str) -> None:
        with EventHub(url, "me", "key") as hub:
            with pytest.warns(BlockingCallWarning, match=r"hub\.connect\(\) blocks.*await hub\.aconnect\(\)") as told:
                hub.connect()
            assert hub.connected and [each.filename for each in told] == [__file__]
            with pytest.warns(BlockingCallWarning, match=r"hub\.wait\(\) blocks.*await hub\.run\(\)") as told:
                hub.wait(0)
            assert [each.filename for each in told] == [__file__]
        with EventHub() as hub:
            hub.connect()  # does not block
            threading.Timer(0.1, hub.close).start()
            with pytest.warns(BlockingCallWarning, match=r"await hub\.aserve_forever\(\)"):
                hub.serve_forever()

    with Server() as server:
        asyncio.run(run(server.url))


def test_in_notebooks_blocking_calls_warn_of_nothing() -> None:
    assert run_script("""
import asyncio, warnings
from IPython.core.interactiveshell import InteractiveShell
from rxhub import EventHub
from tests.transport.socketio.server import Server
warnings.simplefilter("error")
shell = InteractiveShell.instance()
async def cell(url):
    hub = EventHub(url, "me", "key")
    hub.connect()
    hub.wait(0)
    hub.close()
with Server() as server: asyncio.run(cell(server.url))
print("quiet")
""").split() == ["quiet"]


# Where asyncio does not run


def test_without_asyncio_it_says_what_to_do() -> None:
    with EventHub() as hub, pytest.raises(WrongLoop, match=r"hub\.run\(\) needs asyncio.*hub\.start\(\)"):
        hub.run().send(None)


async def _awaited(observable: Observable[Any]) -> Any:
    return await observable


AWAITED: dict[str, Callable[[EventHub], Any]] = {
    "hub.aconnect()": lambda hub: hub.aconnect(),
    "hub.ask()": lambda hub: hub.ask(Event("a")),
    "hub.apublish()": lambda hub: hub.apublish(Event("a")),
    "hub.run()": lambda hub: hub.run(),
    "hub.aserve_forever()": lambda hub: hub.aserve_forever(),
    "hub.stream()": lambda hub: hub.stream("topic=a").__anext__(),
    "await on an observable": lambda hub: _awaited(hub.on("topic=a").pipe(ops.map(str))),
    "async with hub": lambda hub: hub.__aenter__(),
}


@pytest.mark.parametrize("what", AWAITED)
def test_under_trio_the_error_names_trio_and_what_to_do(what: str) -> None:
    import trio

    async def main() -> None:
        with EventHub() as hub, hub.start() if what in ("hub.ask()", "hub.stream()") else EventHub():
            with pytest.raises(WrongLoop) as raised:
                await AWAITED[what](hub)
            message = str(raised.value)
            assert message.startswith(f"{what} needs asyncio, but trio runs")
            assert "hub.start()" in message

    trio.run(main)


GREENLETS = {
    "gevent": "from gevent import monkey; monkey.patch_all()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
}


@pytest.mark.parametrize("library", GREENLETS)
@pytest.mark.parametrize("url", [NOWHERE, "nats://127.0.0.1:9"])
def test_under_greenlets_connecting_says_that_it_is_not_supported(library: str, url: str) -> None:
    said = run_script(f"""
import warnings
warnings.simplefilter("ignore")
{GREENLETS[library]}
from rxhub import Event, EventHub
from rxhub.errors import HubConnectionError
try: EventHub({url!r}).connect()
except HubConnectionError as error: print(error)
hub, seen = EventHub(), []
hub.subscribe("topic=a", seen.append)
with hub.start(): hub.publish(Event("a")).result(5)
""")
    assert said.startswith(f"{library} has patched") and "does not support" in said and "memory://" in said


@pytest.mark.parametrize("library", GREENLETS)
def test_under_greenlets_processing_leaves_no_coroutine_behind(library: str) -> None:
    said = run_script(f"""
import gc, sys
{GREENLETS[library]}
import warnings
told = []
warnings.showwarning = lambda message, *_: told.append(str(message))
warnings.simplefilter("always")
from rxhub import EventHub
from rxhub.errors import HubConnectionError
try: EventHub("nats://127.0.0.1:9").process("topic=a", print, group="g")
except HubConnectionError as error: print(error)
gc.collect()
assert not [text for text in told if "never awaited" in text], told
""")
    assert said.startswith(f"{library} has patched")


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
