"""What a hub leaves on the program's loop: asyncio never reports that an exception was never retrieved."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import pytest

from rxhub import Event, EventHub
from rxhub.errors import HubConnectionError, NoReply, NotHandled, RxHubError
from tests.threads import LIMIT
from tests.transport.socketio.server import Server


async def leave_with_an_unsent_event(server: Server) -> None:
    server.unanswered = {"a"}
    async with EventHub(server.url, "me", "key") as hub:
        hub.publish(Event("a"))
        hub.publish(Event("a"), on_reply=print)


async def leave_while_the_server_is_gone(server: Server) -> None:
    async with EventHub(server.url, "me", "key") as hub:
        hub.publish(Event("a"))
        server.drop()


async def leave_by_an_error(server: Server) -> None:
    with suppress(ZeroDivisionError):
        async with EventHub(server.url, "me", "key") as hub:
            hub.publish(Event("a"))
            raise ZeroDivisionError


async def fail_to_enter(server: Server) -> None:
    server.status = HTTPStatus.UNAUTHORIZED
    with suppress(HubConnectionError):
        async with EventHub(server.url, "me", "key"):
            pass


async def cancel_entering(server: Server) -> None:
    entering = asyncio.create_task(EventHub(server.url, "me", "key").__aenter__())
    await asyncio.sleep(0)
    entering.cancel()
    with suppress(asyncio.CancelledError):
        await entering


async def ask_in_vain(server: Server) -> None:
    async with EventHub(server.url, "me", "key") as hub:
        with suppress(NoReply):
            await hub.ask(Event("a"), timeout=0.01)


async def ask_what_is_refused(server: Server) -> None:
    server.refused = {"a"}
    async with EventHub(server.url, "me", "key") as hub:
        with suppress(RxHubError):
            await hub.ask(Event("a"), timeout=LIMIT)


async def ask_and_be_cancelled(server: Server) -> None:
    async with EventHub(server.url, "me", "key") as hub:
        asking = [asyncio.create_task(hub.ask(Event("a"))) for _ in range(3)]
        await asyncio.sleep(0)
        for each in asking:
            each.cancel()
        await asyncio.wait(asking)


async def close_while_asking(server: Server) -> None:
    async with EventHub(server.url, "me", "key") as hub:
        asking = [asyncio.create_task(hub.ask(Event("a"))) for _ in range(3)]
        await asyncio.sleep(0)
    await asyncio.wait(asking)
    for each in asking:
        assert isinstance(each.exception(), (RxHubError, NotHandled))


async def close_while_publishing(server: Server) -> None:
    server.unanswered = {"a"}
    hub = EventHub(server.url, "me", "key")
    await hub.aconnect()
    publishing = asyncio.create_task(hub.apublish(Event("a")))
    await asyncio.sleep(0)
    publishing.cancel()
    await asyncio.wait([publishing])
    await asyncio.to_thread(hub.close, 0.01)


async def close_while_connecting(server: Server) -> None:
    hub = EventHub(server.url, "me", "key")
    connecting = asyncio.create_task(hub.aconnect())
    await asyncio.sleep(0)
    hub.close()
    with suppress(HubConnectionError):
        await connecting
    # The server must not end while it accepts the handshake that the hub has given up: it would leave it open.
    while any(thread.name == "rxhub-handshake" for thread in threading.enumerate()):
        await asyncio.sleep(0.01)


async def close_while_iterating(server: Server) -> None:
    async with EventHub(server.url, "me", "key") as hub:
        events = hub.stream("topic=a")
        waiting: asyncio.Task[Any] = asyncio.ensure_future(events.__anext__())
        awaited = asyncio.ensure_future(hub.on("topic=a"))
        await asyncio.sleep(0)
    for each in (waiting, awaited):
        with suppress(RxHubError, StopAsyncIteration, Exception):
            await asyncio.wait_for(each, LIMIT)


async def fail_in_callbacks(server: Server) -> None:
    async with EventHub() as hub:

        async def fail(event: Event) -> None:
            raise ValueError(event.topic)

        hub.on("topic=a")(fail)
        await hub.apublish(Event("a"))
        with suppress(NoReply):
            await hub.ask(Event("a"), timeout=0.05)


@pytest.mark.filterwarnings("ignore::rxhub.errors.NotHandledWarning")
@pytest.mark.parametrize(
    "scenario",
    [
        leave_with_an_unsent_event,
        leave_while_the_server_is_gone,
        leave_by_an_error,
        fail_to_enter,
        cancel_entering,
        ask_in_vain,
        ask_what_is_refused,
        ask_and_be_cancelled,
        close_while_asking,
        close_while_publishing,
        close_while_connecting,
        close_while_iterating,
        fail_in_callbacks,
    ],
)
def test_asyncio_reports_nothing(
    scenario: Callable[[Server], Awaitable[None]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("rxhub.hub.lifetime.CLOSE_TIMEOUT_S", 0.3)
    reported: list[Any] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
        with Server() as server:
            await asyncio.wait_for(scenario(server), 2 * LIMIT)
        for _ in range(3):
            await asyncio.sleep(0)
            gc.collect()

    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        asyncio.run(main())
        gc.collect()
    told = [record.getMessage() for record in caplog.records if record.name == "asyncio"]
    assert reported == [] and told == [] and "never" not in caplog.text
