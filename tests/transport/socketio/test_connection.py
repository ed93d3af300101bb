"""One connection: whatever the server says on it, it goes on."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub import Event, EventHub
from rxhub.errors import ProtocolError
from rxhub.transport.socketio.packet import Code, decode
from tests.threads import LIMIT
from tests.transport.socketio.server import Server
from tests.transport.socketio.test_protocol import wirelike


def ends_nothing(frame: str | bytes) -> bool:
    """Whether it is no goodbye, and no acknowledgement that the hub itself would wait for."""
    try:
        packet = decode(frame)  # type: ignore[arg-type]
    except ProtocolError:
        return True
    return packet.code not in {Code.DISCONNECT, Code.ERROR, Code.ACKNOWLEDGE}


payloads = st.text() | st.sampled_from(
    ["[", "{}", "[]", "null", '{"name":"ftrack.event","args":[{"topic":"a","data":{"x":[1e999]}}]}', "[" * 200]
)
frames = st.one_of(
    st.text(st.characters(codec="utf-8")),
    st.binary(max_size=50),
    wirelike.filter(lambda text: text.isprintable()),
    st.builds("{}:::{}".format, st.sampled_from("1234568"), payloads),
).filter(ends_nothing)


@pytest.fixture(scope="module")
def line() -> Iterator[tuple[Server, EventHub]]:
    logging.disable(logging.WARNING)  # it tells of each odd frame
    with Server() as server, EventHub(server.url) as hub:
        hub.connect()
        yield server, hub
    logging.disable(logging.NOTSET)


@given(frames=st.lists(frames, min_size=1, max_size=5))
def test_no_frame_ends_the_line(line: tuple[Server, EventHub], frames: list[str | bytes]) -> None:
    server, hub = line
    for frame in frames:
        server.say(frame)
    assert hub.publish(Event("a")).result(LIMIT) is None
    assert len(server.requests) == 1
    hub.drain()
