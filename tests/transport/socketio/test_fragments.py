"""A server that sends messages in fragments."""

from __future__ import annotations

import pytest

from rxhub import Event, EventHub
from tests.threads import LIMIT, until
from tests.transport.socketio.server import Server


@pytest.mark.parametrize("content", [b"", b"x"])
def test_a_message_of_endless_fragments_is_not_collected_for_ever(
    content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with Server() as server, EventHub(server.url) as hub:
        hub.connect()
        fragment = bytes([0x00, len(content)]) + content
        server.call(
            lambda: [client.socket.transport.write(b"\x01\x00" + fragment * 20_000) for client in server.clients]
        )
        until(lambda: "more than 4096 fragments" in caplog.text)
        until(lambda: len(server.requests) == 2)  # it gives the connection up, and connects again
        assert hub.publish(Event("a")).result(LIMIT) is None


def test_a_message_of_many_fragments_is_read() -> None:
    with Server() as server, EventHub(server.url) as hub:
        hub.connect()
        got: list[Event] = []
        hub.subscribe("topic=fragmented", got.append)
        assert hub.publish(Event("a")).result(LIMIT) is None
        text = b'5:::{"name":"ftrack.event","args":[{"topic":"fragmented"}]}'
        fragments = (
            b"\x01\x00" + b"".join(bytes([0x00, 1, letter]) for letter in text) + b"\x00\x01 " * 3_000 + b"\x80\x00"
        )
        server.call(lambda: [client.socket.transport.write(fragments) for client in server.clients])
        with hub.start():
            until(lambda: got)
        assert len(server.requests) == 1
