"""The background loop: one a process, made when it is first needed."""

from __future__ import annotations

import asyncio

from rxhub.transport.io_thread import cut, io_loop
from tests.threads import LIMIT, at_once, run_script


def test_everybody_gets_the_same_running_loop() -> None:
    loops = at_once(*[io_loop] * 8)
    assert len(set(loops)) == 1 and loops[0].is_running()

    async def where() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    assert asyncio.run_coroutine_threadsafe(where(), loops[0]).result(LIMIT) is loops[0]


def test_memory_starts_no_thread_and_a_server_none_before_connecting() -> None:
    assert run_script("""
import threading
from rxhub import Event, EventHub
hub = EventHub()
hub.publish(Event("a"), on_error="ignore"); hub.drain()
EventHub("http://localhost:1").subscribe("topic=a", print)
print(threading.active_count())
""").split() == ["1"]


def test_importing_rxhub_imports_nothing_of_the_network() -> None:
    assert run_script("""
import sys, rxhub
rxhub.EventHub().close()
network = {"websockets", "urllib.request", "http.client", "rxhub.transport.socketio"}
print(sorted(network & set(sys.modules)))
""").split() == ["[]"]


def test_a_child_process_has_a_loop_of_its_own() -> None:
    assert run_script("""
import os, signal
from asyncio import run_coroutine_threadsafe, sleep
import rxhub
from rxhub.transport.io_thread import io_loop
mine = io_loop()
child = os.fork()
if child == 0:
    signal.alarm(10)
    own = io_loop()
    assert own is not mine
    run_coroutine_threadsafe(sleep(0), own).result(5)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
run_coroutine_threadsafe(sleep(0), mine).result(5)
print("done")
""").split() == ["done"]


def test_no_thread_starts_while_the_interpreter_exits() -> None:
    assert run_script("""
import atexit
from rxhub import EventHub
from rxhub.errors import HubClosed
def late():
    try:
        EventHub("http://127.0.0.1:1").connect()
    except HubClosed as error:
        print(error)
atexit.register(lambda: None)
import rxhub.hub.lifetime
atexit.unregister(rxhub.hub.lifetime._close_all)
atexit.register(late)
atexit.register(rxhub.hub.lifetime._close_all)
""").startswith("Cannot connect: the interpreter is exiting")


def test_what_has_ended_can_be_cut_as_well() -> None:
    async def run() -> None:
        async def serve(reader: asyncio.StreamReader, other: asyncio.StreamWriter) -> None:
            while await reader.read(1_000_000):
                pass
            other.close()
            await other.wait_closed()
            came.set()

        came = asyncio.Event()
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"x" * 50_000_000)
        writer.close()  # with most of it still to be sent
        await asyncio.wait_for(came.wait(), LIMIT)
        cut(writer.transport)
        cut(writer.transport)
        server.close()

    asyncio.run(run())
