"""Socket.IO 0.9 without I/O: packets, the handshake, and what each end may say when."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxhub.errors import ProtocolError, RxHubError
from rxhub.transport.socketio import protocol
from rxhub.transport.socketio.packet import (
    CONNECTED,
    DISCONNECTED,
    HEARTBEAT,
    MAX_PACKET,
    Code,
    Packet,
    acknowledgement,
    decode,
    encode,
    event,
    refusal,
)
from rxhub.transport.socketio.protocol import ClientSession, Handshake, ServerSession, SessionState

ids = st.integers(0, 10**16 - 1)
paths = st.text(st.characters(exclude_characters=":"), max_size=20)
packets = st.one_of(
    st.builds(Packet, st.sampled_from(Code).filter(lambda code: code != 6), path=paths, data=st.text()),
    st.builds(Packet, st.sampled_from([Code.MESSAGE, Code.JSON, Code.EVENT]), ids, st.booleans(), paths, st.text()),
    st.builds(Packet, st.just(Code.ACKNOWLEDGE), ids, st.just(False), paths, st.text()),
)
wirelike = st.from_regex(re.compile(r"[0-9]{0,2}(:[0-9+]{0,3}){0,2}:?.{0,20}"), fullmatch=True)

# Socket.IO 0.9's own expression (lib/parser.js), and what it says of an acknowledgement's data.
SOCKET_IO = re.compile(r"([^:]+):([0-9]+)?(\+)?:([^:]+)?:?([\s\S]*)?")
ACKNOWLEDGED = re.compile(r"([0-9]+)(\+)?([\s\S]*)")


@given(packets)
def test_what_was_written_is_read(packet: Packet) -> None:
    assert decode(encode(packet)) == packet


@given(packets)
def test_socket_io_reads_the_same(packet: Packet) -> None:
    text = encode(packet)
    code, number, plus, path, data = SOCKET_IO.fullmatch(text).groups()  # type: ignore[union-attr]
    assert (int(code), path or "") == (packet.code, packet.path)
    if packet.code is Code.ACKNOWLEDGE:
        assert not number and not plus
        number, _, data = ACKNOWLEDGED.fullmatch(data).groups()  # type: ignore[union-attr]
    else:
        assert bool(plus) == packet.wants_data
    assert (None if number is None else int(number), data or "") == (packet.id, packet.data)


@given(st.one_of(st.text(), wirelike))
def test_any_text_is_a_packet_or_refused(text: str) -> None:
    try:
        packet = decode(text)
    except ProtocolError as refused:
        assert isinstance(refused, RxHubError) and isinstance(refused, ValueError) and str(refused)
    else:
        assert decode(encode(packet)) == packet


@pytest.mark.parametrize(
    ("text", "packet"),
    [
        ("0", DISCONNECTED),
        ("0::", DISCONNECTED),
        ("1::", CONNECTED),
        ("1::/chat?x=1", Packet(Code.CONNECT, path="/chat?x=1")),
        ("2::", HEARTBEAT),
        ("2:::", HEARTBEAT),
        ("3:::a:b::c", Packet(Code.MESSAGE, data="a:b::c")),
        ("5:1+::{}", Packet(Code.EVENT, 1, True, data="{}")),
        ("5:12::{}", Packet(Code.EVENT, 12, False, data="{}")),
        ("6:::1", Packet(Code.ACKNOWLEDGE, 1)),
        ("6:::1+[]", Packet(Code.ACKNOWLEDGE, 1, data="[]")),
        ('6:::4+[{"a":"1+1:2"}]', Packet(Code.ACKNOWLEDGE, 4, data='[{"a":"1+1:2"}]')),
        ("7:::1+0", Packet(Code.ERROR, data="1+0")),
        ("8::", Packet(Code.NOOP)),
        ("5", Packet(Code.EVENT)),
        ("6:::1++", Packet(Code.ACKNOWLEDGE, 1, data="+")),
    ],
)
def test_packets_as_they_are_seen_on_the_wire(text: str, packet: Packet) -> None:
    assert decode(text) == packet


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "::", "9::", "10::", "05:::", "x::", "٥:::", "-1::", " 2::",
        "2:", "5:1+", "2:x", "5:+::{}", "5:1++::{}", "5:x::{}", "5:-1::{}", "5: 1::{}", "5:١+::{}", "5:²::{}",
        "5:12345678901234567::{}", "2:1::", "1:1+::", "6::", "6:::", "6:1::1", "6:::x", "6:::+[]", "6:::1+",
        f"5::{'p' * 300}:x",
    ],
)  # fmt: skip
def test_malformed_packets(text: str) -> None:
    with pytest.raises(ProtocolError, match="packet|expected|colon"):
        decode(text)


def test_what_is_no_text_or_too_long() -> None:
    with pytest.raises(ProtocolError, match="bytes was received"):
        decode(b"2::")  # type: ignore[arg-type]
    with pytest.raises(ProtocolError, match="at most 4194304"):
        decode("3:::" + "x" * MAX_PACKET)
    with pytest.raises(ProtocolError) as shown:
        decode("x" * 1000)
    assert len(str(shown.value)) < 200


@pytest.mark.parametrize(
    "packet",
    [
        Packet(Code.EVENT, path="a:b"),
        Packet(Code.EVENT, path="a" * 300),
        Packet(Code.EVENT, -1),
        Packet(Code.EVENT, 10**16),
        Packet(Code.EVENT, None, True),
        Packet(Code.HEARTBEAT, 1),
        Packet(Code.ACKNOWLEDGE),
        Packet(Code.ACKNOWLEDGE, 1, True),
    ],
)
def test_packets_that_no_text_denotes(packet: Packet) -> None:
    with pytest.raises(ProtocolError):
        encode(packet)


def test_the_packets_of_ftrack() -> None:
    assert encode(event('{"topic":"a"}')) == '5:::{"name":"ftrack.event","args":[{"topic":"a"}]}'
    assert encode(event('{"topic":"a"}', 1)) == '5:1+::{"name":"ftrack.event","args":[{"topic":"a"}]}'
    assert encode(acknowledgement(1)) == '6:::1+[{"success":true}]'
    assert encode(Packet(Code.ERROR, data="1+0")) == "7:::1+0"
    assert encode(Packet(Code.ERROR, data="2")) == "7:::2"


@given(st.text())
def test_a_refusal_carries_its_message(message: str) -> None:
    assert json.loads(refusal(1, message).data) == [{"success": False, "message": message}]


def test_a_refusal_can_always_be_sent() -> None:
    encode(refusal(1, "\ud800")).encode()


# The handshake


@given(
    st.builds(
        Handshake,
        st.from_regex(r"[A-Za-z0-9_~.-]{1,256}", fullmatch=True),
        st.none() | st.integers(1, 999_999),
        st.none() | st.integers(1, 999_999),
        st.lists(st.sampled_from(["websocket", "xhr-polling", "flashsocket"]), min_size=1).map(tuple),
    )
)
def test_a_handshake_that_was_written_is_read(handshake: Handshake) -> None:
    assert Handshake.parse(handshake.format()) == handshake


def test_handshakes_as_they_are_seen() -> None:
    assert Handshake.parse("1487340551:60:60:websocket,xhr-polling") == Handshake(
        "1487340551", 60, 60, ("websocket", "xhr-polling")
    )
    assert Handshake.parse("a::60:websocket").heartbeat is None
    assert Handshake("a").format() == "a:60:60:websocket"


@pytest.mark.parametrize(
    "line",
    ["", "a", "a:b:c:d", "a:60:60", "a:60:60:", ":60:60:websocket", "a/b:60:60:websocket", "a b:60:60:websocket",
     "a:60:60:websocket\n", "a:0:60:websocket", "a:60:60:websocket,", "<html>", "a:9999999:1:websocket", "x" * 5000],
)  # fmt: skip
def test_what_is_no_handshake(line: str) -> None:
    with pytest.raises(ProtocolError, match="address of an event server"):
        Handshake.parse(line)


def test_a_handshake_that_no_line_denotes() -> None:
    for handshake in (Handshake("a:b"), Handshake(""), Handshake("a", 0), Handshake("a", transports=())):
        with pytest.raises(ProtocolError):
            handshake.format()


# Sessions


def opened() -> tuple[ClientSession, ServerSession]:
    client, server = ClientSession(), ServerSession()
    client.receive(server.open())
    return client, server


def test_a_conversation() -> None:
    client, server = opened()
    assert client.state is server.state is SessionState.OPEN

    number, text = client.emit('{"topic":"a:b"}')
    received = server.receive(text)
    assert (number, received.id, server.owed) == (1, 1, {1})
    assert json.loads(received.data)["args"] == [{"topic": "a:b"}]
    assert client.receive(server.accept(1)) == acknowledgement(1) and server.owed == set()

    number, text = client.emit("{}")
    server.receive(text)
    assert client.receive(server.refuse(number, "no")).data == '[{"success":false,"message":"no"}]'

    asked = client.receive(server.send(HEARTBEAT))
    assert client.answer(asked) == "2::" and server.receive("2::") == server.receive("2:::") == HEARTBEAT
    assert client.answer(client.receive(server.send(event("{}")))) == ""

    client.receive(server.send(DISCONNECTED))
    assert client.state is server.state is SessionState.CLOSED
    with pytest.raises(ProtocolError, match="closed"):
        client.emit("{}")
    with pytest.raises(ProtocolError, match="closed"):
        server.receive("2::")


def test_a_client_is_let_in_before_it_speaks() -> None:
    client, server = ClientSession(), ServerSession()
    with pytest.raises(ProtocolError, match="opening"):
        client.emit("{}")
    with pytest.raises(ProtocolError, match="opening"):
        server.receive("2::")
    assert client.answer(client.receive("2::")) == "" and client.state is SessionState.OPENING
    with pytest.raises(ProtocolError, match="EVENT packet was received while the session was opening"):
        client.receive("5:::{}")
    client.receive(server.send(Packet(Code.ERROR, data="1+0")))
    assert client.state is server.state is SessionState.CLOSED


@pytest.mark.parametrize(
    "packet",
    [
        Packet(Code.NOOP),
        Packet(Code.MESSAGE, data="x"),
        Packet(Code.JSON, data="{}"),
        CONNECTED,
        event("{}", 1),
        Packet(Code.EVENT, path="/chat"),
        Packet(Code.ACKNOWLEDGE, 1),
        Packet(Code.ACKNOWLEDGE, 1, data="[]"),
        acknowledgement(2),
    ],
)
def test_a_server_sends_nothing_that_a_client_suffers_from(packet: Packet) -> None:
    _, server = opened()
    server.receive("5:1+::{}")
    with pytest.raises(ProtocolError):
        server.send(packet)
    assert server.state is SessionState.OPEN and server.accept(1)


@pytest.mark.parametrize("text", ["7:::1", "5:1::{}", "5::/chat:{}", "nonsense"])
def test_a_server_does_not_take_everything(text: str) -> None:
    _, server = opened()
    server.receive("5:1+::{}")
    with pytest.raises(ProtocolError):
        server.receive(text)


def test_an_id_without_plus_is_acknowledged_as_well() -> None:
    _, server = opened()
    server.receive("3:7::hello")
    assert server.accept(7) == '6:::7+[{"success":true}]'
    server.receive("3:7::again")


def test_a_client_takes_whatever_a_server_may_say() -> None:
    client, _ = opened()
    for text in ("1::", "3:::x", "4:::{}", "5:::{}", "6:::1", "7:::", "8::"):
        assert client.answer(client.receive(text)) == ""
    client.receive("0")
    assert client.state is SessionState.CLOSED


def test_a_lost_connection_says_no_more() -> None:
    client, server = opened()
    for session in (client, server):
        session.lost()
        with pytest.raises(ProtocolError):
            session.receive("2::")


@given(st.lists(st.one_of(packets.map(encode), wirelike)))
def test_whatever_comes_an_end_stays_in_its_table(texts: list[str]) -> None:
    for session in opened():
        for text in texts:
            before = session.state
            try:
                session.receive(text)
            except ProtocolError:
                assert session.state is before
            assert (before, session.state) in {
                (SessionState.OPEN, SessionState.OPEN),
                (SessionState.OPEN, SessionState.CLOSED),
                (SessionState.CLOSED, SessionState.CLOSED),
            }


def test_nothing_is_hidden() -> None:
    assert all(hasattr(protocol, name) for name in protocol.__all__)
