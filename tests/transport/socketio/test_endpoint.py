"""Where an event server is, and what it is to know of who comes."""

from __future__ import annotations

from typing import Any

import pytest

from rxhub import EventHub
from rxhub.transport.registry import TransportConfig
from rxhub.transport.socketio.endpoint import Endpoint


def endpoint_of(url: str, **config: Any) -> Endpoint:
    return Endpoint(TransportConfig(url=url, **config))


def test_addresses() -> None:
    plain = endpoint_of("http://studio:8080")
    assert plain.handshake_url == "http://studio:8080/socket.io/1/"
    assert plain.socket_url("7") == "ws://studio:8080/socket.io/1/websocket/7"
    mounted = endpoint_of("https://[::1]:443/events/")
    assert mounted.handshake_url == "https://[::1]:443/events/socket.io/1/"
    assert mounted.socket_url("7") == "wss://[::1]:443/events/socket.io/1/websocket/7"


def test_the_key_goes_with_the_handshake_alone() -> None:
    endpoint = endpoint_of(
        "https://studio", user="zoë", key="secret", headers={"x-studio": "1"}, cookies={"a": "b", "c": "d"}
    )
    assert endpoint.handshake_headers == {
        "ftrack-user": "zoë",
        "ftrack-api-key": "secret",
        "x-studio": "1",
        "Cookie": "a=b; c=d",
        "User-Agent": "rxhub",
    }
    assert endpoint.socket_headers == {"x-studio": "1", "Cookie": "a=b; c=d", "User-Agent": "rxhub"}


def test_custom_headers_come_first() -> None:
    endpoint = endpoint_of("https://studio", user="me", key="key", headers={"user-agent": "x", "ftrack-user": "you"})
    assert endpoint.handshake_headers == {"user-agent": "x", "ftrack-user": "you", "ftrack-api-key": "key"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"server_url": "http://"}, "hostname"),
        ({"server_url": "http://:80"}, "hostname"),
        ({"server_url": "http://studio:x"}, "port"),
        ({"server_url": "http://studio:99999"}, "port"),
        ({"api_key": "a\r\nb: c"}, "ftrack-api-key has a line break"),
        ({"api_user": "☃"}, "ftrack-user has characters beyond Latin-1"),
        ({"headers": {"a b": "c"}}, "not a valid name"),
        ({"headers": {"a\n": "c"}}, "not a valid name"),
        ({"headers": {"ftrack-user": "a\nb: c"}, "api_user": "me"}, "ftrack-user has a line break"),
        ({"cookies": {"a": "b\n"}}, "Cookie has a line break"),
        ({"outbox": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_sent_is_refused_at_once(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        EventHub(**{"server_url": "http://studio", **arguments})
    assert "b: c" not in str(raised.value)


def test_a_header_that_is_no_text() -> None:
    with pytest.raises(TypeError, match="x needs a string, but int"):
        EventHub("http://studio", headers={"x": 1})  # type: ignore[dict-item]
