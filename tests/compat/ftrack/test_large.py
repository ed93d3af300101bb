"""Events that are too large to send are refused, and log records shorten events."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

import rxhub.errors
from rxhub.compat.ftrack.packets import _handle
from rxhub.server import Running
from tests.compat.ftrack.judged import OURS
from tests.threads import until
from tests.transport.socketio.server import Server

Event = OURS.Event
LARGE = "x" * (4 * 1024 * 1024)
MESSAGE = r"The event 'large' has 4194\d{3} characters; at most 4194204 can be sent\. .* send its address"


def test_it_is_refused_at_once_and_the_connection_stays(hub: Any, wait_until: Any) -> None:
    line, seen = hub._connection, []
    hub.subscribe("topic=small", lambda event: seen.append(event["data"]))
    with pytest.raises(OURS.exception.EventHubError, match=MESSAGE) as raised:
        hub.publish(Event("large", data={"text": LARGE}), on_reply=print)
    assert isinstance(raised.value, rxhub.errors.EventError)
    assert len(str(raised.value)) < 300 and len(hub._publisher.replies) == 0
    assert hub.publish(Event("large", data={"text": LARGE}), on_error="ignore") is None
    hub.publish(Event("small", data={"n": 1}))
    wait_until(hub, lambda: seen and hub.unsent == 0)
    assert hub._connection is line and line.connected


def test_one_that_waits_for_the_connection_is_refused_too(server: Running, wait_until: Any) -> None:
    hub = OURS.EventHub(server.url, server.api_user, server.api_key)
    hub.init_connection()
    with pytest.raises(OURS.exception.EventSizeError, match=MESSAGE):
        hub.publish(Event("large", data={"text": LARGE}))
    assert hub.unsent == 0
    grows = Event("large", data={"text": ""})
    assert hub.publish(grows) is True
    grows["data"]["text"] = LARGE
    hub.connect()
    wait_until(hub, lambda: hub.unsent == 0)
    assert hub.connected
    hub.close()


def test_the_largest_that_is_allowed_arrives() -> None:
    with Server() as server:
        hub = OURS.EventHub(server.url, "me", "key")
        hub.connect()
        hub.publish(Event("large", data={"text": LARGE[:-1000]}))
        until(lambda: hub.unsent == 0)
        assert [len(event["data"]["text"]) for event in server.taken if event["topic"] == "large"] == [
            len(LARGE) - 1000
        ]
        hub.close()


def test_rxhub_s_own_ways_refuse_it_with_their_error(hub: Any) -> None:
    with hub.start(), pytest.raises(rxhub.errors.EventError, match="characters; at most"):
        asyncio.run(hub.apublish(Event("large", data={"text": LARGE})))
    assert hub.connected


def test_no_log_record_has_a_whole_event(hub: Any, wait_until: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    big = {"text": "x" * 300_000, "list": ["y" * 1000] * 300}
    ended: list[str] = []

    def fails(event: Any) -> None:
        raise ValueError("a callback")

    hub.subscribe("topic=big", fails, subscriber={"id": "fails", "big": big})
    hub.subscribe("topic=big", lambda event: {"text": LARGE}, priority=101)
    hub.subscribe("topic=big", lambda event: event.stop(), priority=102)
    hub.subscribe("topic=end", lambda event: ended.append("end"))
    hub.publish(Event("big", data=big))
    hub.publish(Event("big", data={"big": big, "object": object(), "set": {"z" * 300_000}}))
    hub.publish(Event("big", data={"nan": float("nan"), "big": big}))
    hub.publish(Event("big", data=big, target="a" * 300_000 + "="))
    hub._handle(Event("big", data=big, target="((" + "a" * 300_000))
    hub.publish(Event("end"))
    wait_until(hub, lambda: ended and hub.unsent == 0)
    for packet in (f"3:::{LARGE}", f"7:::{LARGE}", f"4:::{LARGE}", f"9{LARGE}", f"6:::{LARGE}", f"5:::{LARGE}"):
        _handle(hub, (*packet.split(":", 3), None, None, None)[:4])
    hub._on_event('{"args": [{"data": "' + LARGE + '"}]}')
    hub._on_event('{"args": ["' + LARGE + '"]}')
    hub._on_published(Event("big", data=big), {"success": False, "message": LARGE})
    assert len(caplog.records) > 15
    formatter = logging.Formatter()
    for record in caplog.records:
        assert len(formatter.format(record)) < 10_000, record.msg


def test_what_breaks_the_connection_again_and_again_is_told_briefly(caplog: pytest.LogCaptureFixture) -> None:
    with Server(deadly={"deadly"}) as server:
        hub = OURS.EventHub(server.url, "me", "key")
        hub._auto_reconnect_delay = 0.05
        hub._backoff._longest = hub._backoff._next = 0.05
        hub.connect()
        hub.publish(Event("deadly", data={"text": "x" * 300_000}))
        until(lambda: hub.unsent == 0)
        hub.close()
    (record,) = [record for record in caplog.records if "Dropped event" in record.msg]
    assert "deadly" in record.getMessage() and len(record.getMessage()) < 500
