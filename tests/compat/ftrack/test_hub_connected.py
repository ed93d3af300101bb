"""With a server: ftrack's hub and rxhub's reach each other, and overridden methods are called."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
import time
from typing import Any

import pytest

import rxhub
from rxhub.errors import EventError, HubClosed
from rxhub.server import Running, User, Users, running
from rxhub.transport.connection_state import Phase
from tests.compat.ftrack.judged import BOTH, OURS, THEIRS
from tests.compat.ftrack.studio import KEY, USER
from tests.threads import LIMIT, elsewhere, until

Event = OURS.Event


def connected(side: Any, server: Running, kind: Any = None) -> Any:
    hub = (kind or side.EventHub)(server.url, server.api_user, server.api_key)
    hub.connect()
    return hub


@pytest.mark.parametrize(("asker", "replier"), [(OURS, THEIRS), (THEIRS, OURS), (OURS, OURS)])
def test_an_event_and_its_reply_travel_between_the_two_kinds(
    server: Running, wait_until: Any, asker: Any, replier: Any
) -> None:
    asking, replying = connected(asker, server), connected(replier, server)
    data = {"name": "é, नि: a:b", "n": [1, None, {"inReplyToEvent": "mine"}]}
    replies: list[Any] = []
    asked: list[Any] = []
    # ftrack's own client rewrites that key everywhere.
    comes = data if replier is OURS else {**data, "n": [1, None, {"in_reply_to_event": "mine"}]}
    replying.subscribe("topic=ask and data.name=*", lambda event: asked.append(event["data"]) or {"ok": True})
    wait_until(replying, lambda: replying._packet_callbacks == {})
    asking.publish(asker.Event("ask", data=data), on_reply=replies.append)
    wait_until(replying, lambda: asked == [comes])
    wait_until(asking, lambda: replies)
    assert replies[0]["data"] == {"ok": True} and replies[0]["target"] == f"id={asking.id}"
    for hub in (asking, replying):
        hub.disconnect()


def test_the_subscriber_to_replies_is_the_first_once_connected(server: Running) -> None:
    hub = OURS.EventHub(server.url, server.api_user, server.api_key)
    hub.subscribe("topic=a", print)
    hub.connect()
    first = hub._subscribers[0]
    assert first.metadata == {"id": hub.id} and str(first.subscription) == "topic=ftrack.meta.reply"
    with pytest.raises(OURS.exception.EventHubConnectionError, match=r"Already connected\."):
        hub.connect()
    hub.disconnect()
    assert hub._subscribers == [] and hub._intentional_disconnect is True
    assert hub._connection_initialised is False and hub._connection is None and hub.connected is False


def test_a_cancelled_attempt_to_connect_a_connected_hub_leaves_it_connected(server: Running) -> None:
    begun, go_on = threading.Event(), threading.Event()

    class Late(OURS.EventHub):
        def connect(self) -> None:
            if self.connected:
                begun.set()
                assert go_on.wait(LIMIT)
            super().connect()

    async def attempt() -> None:
        connecting = asyncio.create_task(hub.aconnect())
        assert await asyncio.to_thread(begun.wait, LIMIT)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting

    hub = connected(OURS, server, Late)
    asyncio.run(attempt())
    go_on.set()
    until(lambda: all(thread.name != "rxhub-connect" for thread in threading.enumerate()))
    assert hub.connected
    hub.close()


def test_a_subscription_goes_to_the_server_as_it_was_written(server: Running) -> None:
    sent: list[Any] = []

    class Spy(OURS.EventHub):
        def _send_packet(self, code: Any, data: str = "", callback: Any = None) -> None:
            sent.append(self._decode(data)["args"][0])
            super()._send_packet(code, data=data, callback=callback)

    hub = connected(OURS, server, Spy)
    text = "topic=track*  and ( data.n >=5 or source.user.username='x' )"
    identifier = hub.subscribe(text, print, {"team": "red"})
    hub.unsubscribe(identifier)
    hub.close()
    _reply, subscribe, unsubscribe = sent
    assert subscribe["topic"] == "ftrack.meta.subscribe"
    assert subscribe["data"] == {"subscription": text, "subscriber": {"team": "red", "id": identifier}}
    assert unsubscribe["topic"] == "ftrack.meta.unsubscribe"
    assert unsubscribe["data"] == {"subscriber": {"team": "red", "id": identifier}}


def test_overridden_methods_are_called_as_in_ftrack(server: Running, wait_until: Any) -> None:
    def kind_of(side: Any, calls: list[Any]) -> Any:
        class Pipeline(side.EventHub):
            def _get_socket_io_session(self) -> Any:
                session = super()._get_socket_io_session()
                calls.append(("session", len(session), "websocket" in session.supportedTransports))
                return session

            def _handle_packet(self, code: str, packet_identifier: Any, path: Any, data: Any) -> None:
                name = self._code_name_mapping[code]
                if name != "heartbeat":
                    calls.append(("packet", name))
                return super()._handle_packet(code, packet_identifier, path, data)

            def _send_packet(self, code: Any, data: str = "", callback: Any = None) -> Any:
                if self._code_name_mapping[code] != "heartbeat":
                    calls.append(("send", self._code_name_mapping[code], callback is not None))
                return super()._send_packet(code, data=data, callback=callback)

            def _prepare_event(self, event: Any) -> None:
                calls.append(("prepare", event["topic"]))
                super()._prepare_event(event)

            def _prepare_reply_event(self, event: Any, source_event: Any, source: Any = None) -> None:
                calls.append(("prepare reply", source is not None))
                super()._prepare_reply_event(event, source_event, source=source)

            def _encode(self, data: Any) -> str:
                calls.append(("encode", type(data).__name__))
                return super()._encode(data)

            def _handle(self, event: Any, synchronous: bool = False) -> Any:
                calls.append(("handle", event["topic"], synchronous))
                return super()._handle(event, synchronous=synchronous)

        return Pipeline

    ran: list[list[Any]] = []
    for side in BOTH:
        calls: list[Any] = []
        hub = connected(side, server, kind_of(side, calls))
        hub.subscribe("topic=a", lambda event: 1)
        replies: list[Any] = []
        hub.publish(side.Event("a"), on_reply=replies.append)
        wait_until(hub, lambda: replies)
        hub.publish(side.Event("a"), synchronous=True)
        wait_until(hub, lambda: hub._packet_callbacks == {})
        ran.append(list(calls))
        hub.disconnect()
    theirs, ours = ran
    # What runs in the thread that reads and what runs in ours interleave as they like.
    for step in ("session", "packet", "send", "prepare reply", "encode", "handle"):
        assert [call for call in ours if call[0] == step] == [call for call in theirs if call[0] == step]
    assert sorted(call for call in ours if call[0] == "prepare") == sorted(
        call for call in theirs if call[0] == "prepare"
    )


def test_heartbeats_pass_through_handle_packet_and_send_packet(server: Running) -> None:
    beats = threading.Semaphore(0)
    answered = threading.Semaphore(0)

    class Storer(OURS.EventHub):
        def _handle_packet(self, code: str, packet_identifier: Any, path: Any, data: Any) -> Any:
            if self._code_name_mapping[code] == "heartbeat":
                beats.release()
                return self._send_packet(self._code_name_mapping["heartbeat"])
            return super()._handle_packet(code, packet_identifier, path, data)

        def _send_packet(self, code: Any, data: str = "", callback: Any = None) -> Any:
            if code == "2":
                answered.release()
            return super()._send_packet(code, data, callback)

    hub = connected(OURS, server, Storer)
    for _ in range(3):
        assert beats.acquire(timeout=10) and answered.acquire(timeout=10)
    assert hub.connected
    hub.close()


def test_a_processor_that_skips_events_and_waits_for_jobs_of_its_own_runs(server: Running) -> None:
    handled: list[Any] = []
    jobs = [("one", 1), ("two", 2)]

    class Processor(OURS.EventHub):
        def load(self) -> bool:
            if not jobs:
                return False
            name, number = jobs.pop(0)
            self._event_queue.put((Event("job", data={"name": name}), number))
            return True

        def wait(self, duration: float | None = None) -> None:
            while True:
                job = None
                try:
                    item = self._event_queue.get(timeout=0.1)
                    event, job = item if isinstance(item, tuple) else (item, None)
                except queue.Empty:
                    if not self.load():
                        return
                    continue
                self._handle(event)
                if job is not None:
                    handled.append(job)

        def _handle_packet(self, code: str, packet_identifier: Any, path: Any, data: Any) -> Any:
            if self._code_name_mapping[code] == "event":
                return None
            return super()._handle_packet(code, packet_identifier, path, data)

    hub = connected(OURS, server, Processor)
    names: list[str] = []
    hub.subscribe("topic=job", lambda event: names.append(event["data"]["name"]))
    hub.publish(Event("job", data={"name": "from the server"}))
    hub.wait()
    assert (names, handled) == (["one", "two"], [1, 2])
    hub.close()


def test_what_is_published_while_connecting_goes_out_then(server: Running, wait_until: Any) -> None:
    hub = OURS.EventHub(server.url, server.api_user, server.api_key)
    replies: list[Any] = []
    hub.subscribe("topic=test", lambda event: event["data"]["n"])
    hub.init_connection()
    for number in (1, 2, 3):
        assert (
            hub.publish(Event("test", data={"n": number}), on_reply=lambda reply: replies.append(reply["data"])) is True
        )
    assert hub._event_send_queue.qsize() == 3
    hub.connect()
    wait_until(hub, lambda: len(replies) == 3)
    assert replies == [1, 2, 3] and hub._event_send_queue.qsize() == 0
    wait_until(hub, lambda: hub.unsent == 0)
    hub.close()


def test_waiting_ends_when_another_thread_disconnects(hub: Any) -> None:
    with elsewhere(hub.wait):
        until(lambda: hub.is_running)
        hub.disconnect(unsubscribe=False)


def test_a_callback_may_wait_itself(hub: Any, wait_until: Any) -> None:
    replies: list[Any] = []

    def asking(event: Any) -> None:
        hub.publish(Event("inner"), on_reply=lambda reply: replies.append(reply["data"]))
        end = time.monotonic() + 10
        while not replies and time.monotonic() < end:
            hub.wait(0.05)

    hub.subscribe("topic=outer", asking)
    hub.subscribe("topic=inner", lambda event: "an answer")
    hub.publish(Event("outer"))
    wait_until(hub, lambda: replies)
    assert replies == ["an answer"]


def test_the_server_goes_and_comes_back_and_nothing_that_was_published_is_lost(wait_until: Any) -> None:
    states: list[Any] = []
    seen: list[int] = []
    users = Users([User.with_key(USER, KEY)])
    with running(users=users) as server:
        port = int(server.url.rpartition(":")[2])
        hub = OURS.EventHub(server.url, USER, KEY)
        hub.connect()
        hub._auto_reconnect_delay = 0.1
        hub.state.subscribe(lambda state: states.append(state.phase))
        hub.subscribe("topic=n", lambda event: seen.append(event["data"]["n"]))
        hub.publish(Event("n", data={"n": 0}))
        wait_until(hub, lambda: seen == [0])
    wait_until(hub, lambda: not hub.connected)
    for number in (1, 2, 3):
        assert hub.publish(Event("n", data={"n": number})) is True
    with running(port=port, users=users):
        wait_until(hub, lambda: seen == [0, 1, 2, 3], 20)
        assert hub.connected
        hub.close()
    assert states[0] is Phase.CONNECTED and Phase.DISCONNECTED in states and Phase.CONNECTING in states


def test_reconnecting_gives_up_in_ftrack_s_words_and_never_touches_the_logging_of_others() -> None:
    hub = OURS.EventHub("http://127.0.0.1:9", "me", "key")
    with pytest.raises(OURS.exception.EventHubConnectionError) as caught:
        hub.reconnect(attempts=2, delay=0.01)
    assert str(caught.value) == "Failed to reconnect to event server at http://127.0.0.1:9 after 2 attempts."
    hub.close()
    with pytest.raises(HubClosed):
        hub.connect()


def test_a_wrong_key_is_told(server: Running) -> None:
    hub = OURS.EventHub(server.url, server.api_user, "not-the-key")
    with pytest.raises(OURS.exception.EventHubConnectionError) as caught:
        hub.connect()
    assert 'with error: "Received unexpected status code 401.' in str(caught.value)
    assert "not-the-key" not in str(caught.value)


def test_a_server_without_websockets_is_refused(server: Running) -> None:
    class Without(OURS.EventHub):
        def _get_socket_io_session(self) -> Any:
            return super()._get_socket_io_session()._replace(supportedTransports=[])

    with pytest.raises(OURS.exception.EventHubConnectionError, match="Server does not support websocket sessions"):
        connected(OURS, server, Without)


def test_what_cannot_be_sent_is_logged_and_the_hub_goes_on(
    hub: Any, wait_until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Any] = []
    hub.subscribe("topic=a", seen.append)
    for bad in (object(), float("nan"), "\ud800"):
        hub.publish(Event("a", data={"bad": bad}))
    hub.publish(Event("a", data={"good": 1}))
    wait_until(hub, lambda: seen and hub.unsent == 0)
    assert seen[0]["data"] == {"good": 1}
    assert [record.message[:19] for record in caplog.records] == ["Error sending event"] * 3


def test_a_thousand_publishes_with_on_reply_leave_a_bounded_number_of_callbacks(hub: Any, wait_until: Any) -> None:
    for _ in range(1000):
        hub.publish(Event("nobody replies"), on_reply=print)
    wait_until(hub, lambda: hub.unsent == 0)
    assert hub._packet_callbacks == {} and len(hub._publisher.replies) <= 10_000


async def _ask(hub: Any) -> Any:
    return await hub.ask(Event("question"))


def test_rxhub_s_own_ways_work_on_it(hub: Any, wait_until: Any) -> None:
    seen: list[Any] = []
    hub.on("topic=question").subscribe(seen.append)
    hub.subscribe("topic=question", lambda event: 42)
    with hub.start():
        assert asyncio.run(_ask(hub))["data"] == 42
        with pytest.raises(EventError):
            asyncio.run(hub.apublish(Event("a", data={"x": object()})))
    assert isinstance(hub, rxhub.EventHub) and len(seen) == 1


def test_coroutine_callbacks_are_awaited(hub: Any, wait_until: Any) -> None:
    async def answer(event: Any) -> str:
        return "later"

    replies: list[Any] = []
    hub.subscribe("topic=a", answer)
    hub.publish(Event("a"), on_reply=lambda reply: replies.append(reply["data"]))
    wait_until(hub, lambda: replies)
    assert replies == ["later"]


def test_disconnecting_ends_a_reconnection_that_is_under_way() -> None:
    dialled = threading.Semaphore(0)

    class Counting(OURS.EventHub):
        def _get_socket_io_session(self) -> Any:
            dialled.release()
            return super()._get_socket_io_session()

    with running() as server:
        hub = connected(OURS, server, Counting)
        assert dialled.acquire(timeout=10)
        hub._auto_reconnect_delay = 0.01
    # It tries, and tries again.
    assert dialled.acquire(timeout=20) and dialled.acquire(timeout=20)
    processor = hub._processor_thread
    with pytest.raises(OURS.exception.EventHubConnectionError, match="Not currently connected"):
        hub.disconnect()
    processor.join(20)
    assert not processor.is_alive() and not hub.connected
    hub.close()


def test_a_forked_child_leaves_the_parent_s_connection_alone(hub: Any, wait_until: Any) -> None:
    hub.subscribe("topic=a", lambda event: "still here")
    child = os.fork()
    if not child:
        os._exit(0 if not hub.connected and hub.unsent == 0 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    replies: list[Any] = []
    hub.publish(Event("a"), on_reply=replies.append)
    wait_until(hub, lambda: replies)
    assert hub.connected


def test_the_server_forgets_who_leaves_by_whichever_way(server: Running, wait_until: Any) -> None:
    hub = connected(OURS, server)
    wait_until(hub, lambda: hub._packet_callbacks == {} and server.stats["connections"] == 1)
    before = server.stats["subscriptions"]
    with hub.subscription("topic=a", print) as identifier:
        pipeline = hub.on("topic=b").subscribe(print)
        hub.subscribe("topic=c", print)
        wait_until(hub, lambda: server.stats["subscriptions"] == before + 3)
        assert hub.get_subscriber_by_identifier(identifier) is not None
    pipeline.dispose()
    hub._subscribers.pop()
    wait_until(hub, lambda: server.stats["subscriptions"] == before)
    hub.close()
