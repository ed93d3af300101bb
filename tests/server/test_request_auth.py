from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from rxhub.server.authentication import Credentials
from rxhub.server.request_auth import (
    address,
    basic,
    credentials,
    is_exposed,
    is_loopback,
    is_origin_allowed,
)


def scope(query: str = "", scheme: str = "http", client: Any = ("127.0.0.1", 1), **headers: str) -> dict[str, Any]:
    return {
        "query_string": query.encode(),
        "scheme": scheme,
        "client": client,
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }


def test_credentials_come_in_headers_or_in_the_query() -> None:
    assert credentials(scope(ftrack_user="Zoë", ftrack_api_key="k")) == Credentials("Zoë", "k")
    assert credentials(scope("t=1&api_user=a%40b&api_key=k%26")) == Credentials("a@b", "k&")
    assert credentials(scope("api_user=a")) is None
    assert credentials(scope(ftrack_user="a")) is None
    assert credentials(scope()) is None
    assert credentials(scope("&".join(f"a{number}=1" for number in range(1_000)))) is None
    assert credentials(scope("\xff=é")) is None


def test_basic_authentication() -> None:
    def header(text: str) -> dict[str, Any]:
        return scope(authorization=f"Basic {b64encode(text.encode()).decode()}")

    assert basic(header("Zoë:k:e:y")) == Credentials("Zoë", "k:e:y")
    assert basic(header("no colon")) is None
    assert basic(scope(authorization="Basic !!")) is None
    assert basic(scope(authorization="Bearer x")) is None
    assert basic(scope()) is None


def test_a_key_is_not_shown() -> None:
    shown = credentials(scope("api_user=a&api_key=secret"))
    assert "secret" not in repr(shown)


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        (None, "studio.example", True),
        ("http://studio.example", "studio.example", True),
        ("https://studio.example", "studio.example", True),
        ("http://studio.example:80", "studio.example", True),
        ("http://STUDIO.example:8765", "studio.example:8765", True),
        ("studio.example:8765", "studio.example:8765", True),
        ("https://tools.example", "studio.example", True),
        ("https://tools.example:444", "studio.example", False),
        ("http://tools.example", "studio.example", False),
        ("http://studio.example:8765", "studio.example:9000", False),
        ("http://evil.example", "studio.example", False),
        ("http://studio.example.evil.example", "studio.example", False),
        ("null", "studio.example", False),
        ("", "studio.example", False),
        ("file://", "studio.example", False),
        ("http://[", "studio.example", False),
    ],
)
def test_a_page_may_connect_to_its_own_server_and_where_it_is_listed(
    origin: str | None, host: str, allowed: bool
) -> None:
    headers = {"host": host} if origin is None else {"host": host, "origin": origin}
    assert is_origin_allowed(scope(**headers), {"https://tools.example"}) is allowed


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.1", False),
        ("studio.example", False),
        ("localhost.evil.example", False),
        ("", False),
    ],
)
def test_loopback(host: str, local: bool) -> None:
    assert is_loopback(host) is local


def test_plain_text_from_another_machine_is_exposed() -> None:
    assert is_exposed(scope(client=("192.168.1.1", 1)))
    assert is_exposed(scope(scheme="ws", client=("192.168.1.1", 1)))
    assert not is_exposed(scope(scheme="https", client=("192.168.1.1", 1)))
    without_scheme = {key: value for key, value in scope(client=("192.168.1.1", 1)).items() if key != "scheme"}
    assert is_exposed(without_scheme)
    assert not is_exposed(scope(client=None))
    assert not is_exposed(scope())


def test_an_address_of_ipv6_is_its_network() -> None:
    assert address(scope()) == "127.0.0.1"
    assert address(scope(client=("2001:db8::1", 1))) == address(scope(client=("2001:db8::ffff", 1)))
    assert address(scope(client=("2001:db8::1", 1))) != address(scope(client=("2001:db8:1::1", 1)))
    assert address(scope(client=("::ffff:192.0.2.1", 1))) == "192.0.2.1"
    assert address(scope(client=None)) == ""
