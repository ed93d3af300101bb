"""The client's address and scheme from headers of trusted proxies."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from rxhub.server import Users, application, serve
from rxhub.server.forwarded import ForwardedHeaders, trusted_networks
from tests.cli.terminal import COMMAND, rxhub
from tests.server.wire import request


def seen(
    peer: Any, *headers: tuple[str, str], trusted: tuple[str, ...] = ("10.0.0.1", "10.1.0.0/16"), kind: str = "http"
) -> tuple[Any, str]:
    """The client and the scheme that the application receives."""
    scope = {
        "type": kind,
        "client": peer,
        "scheme": "ws" if kind == "websocket" else "http",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }

    async def app(scope: Any, receive: Any, send: Any) -> None:
        pass

    asyncio.run(ForwardedHeaders(app, trusted_networks(trusted))(scope, None, None))  # type: ignore[arg-type]
    return scope["client"] and scope["client"][0], scope["scheme"]  # type: ignore[index, return-value]


FOR, PROTO = "x-forwarded-for", "x-forwarded-proto"


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.2", "testclient"])
def test_nobody_is_believed_who_is_not_named(peer: str) -> None:
    assert seen((peer, 1), (FOR, "192.0.2.1"), (PROTO, "https")) == (peer, "http")
    assert seen((peer, 1), (FOR, "192.0.2.1"), (PROTO, "https"), trusted=()) == (peer, "http")


@pytest.mark.parametrize(
    ("headers", "client"),
    [
        ([(FOR, "192.0.2.1")], "192.0.2.1"),
        ([(FOR, "192.0.2.1:5000")], "192.0.2.1"),
        ([(FOR, "[2001:db8::1]:5000")], "2001:db8::1"),
        ([(FOR, "2001:db8::1")], "2001:db8::1"),
        ([(FOR, "::ffff:192.0.2.1")], "192.0.2.1"),
        ([(FOR, "198.51.100.1, 192.0.2.1")], "192.0.2.1"),  # the left one is the client's own claim
        ([(FOR, "198.51.100.1"), (FOR, "192.0.2.1")], "192.0.2.1"),
        ([(FOR, "192.0.2.1, 10.1.2.3")], "192.0.2.1"),
        ([(FOR, "10.1.2.3, 10.1.2.4")], "10.1.2.3"),
        ([(FOR, "198.51.100.1, unknown, 10.1.2.3")], "10.1.2.3"),
        ([(FOR, "unknown")], "10.0.0.1"),
        ([(FOR, "")], "10.0.0.1"),
        ([(FOR, "\xff, ,")], "10.0.0.1"),
        ([], "10.0.0.1"),
    ],
)
def test_the_client_is_the_last_address_that_is_no_trusted_proxy(headers: list[tuple[str, str]], client: str) -> None:
    assert seen(("10.0.0.1", 1), *headers)[0] == client
    assert seen(("::ffff:10.0.0.1", 1), *headers)[0] in {client, "::ffff:10.0.0.1"}


@pytest.mark.parametrize(
    ("kind", "value", "scheme"),
    [
        ("http", "https", "https"),
        ("http", "HTTPS", "https"),
        ("http", "wss", "https"),
        ("http", "http", "http"),
        ("websocket", "https", "wss"),
        ("websocket", "http", "ws"),
        ("http", "gopher", "http"),
        ("http", "https, http", "http"),
    ],
)
def test_the_scheme_is_what_a_trusted_proxy_says(kind: str, value: str, scheme: str) -> None:
    assert seen(("10.0.0.1", 1), (PROTO, value), kind=kind)[1] == scheme


def test_a_unix_socket_has_no_address_to_trust() -> None:
    assert seen(None, (FOR, "192.0.2.1")) == (None, "http")


@pytest.mark.parametrize(
    "wrong", ["*", "", "localhost", "10.0.0.1/8", "10.0.0.256", "0.0.0.0/0", "::/0", "::ffff:0:0/96"]
)
def test_a_trusted_proxy_is_an_address_or_a_network_and_not_everybody(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"proxy|every address"):
        trusted_networks([wrong])
    with pytest.raises(ValueError, match=r"proxy|every address"):
        application(Users(), trusted_proxies=[wrong])
    with pytest.raises(ValueError, match=r"proxy|every address"):
        serve(Users(), trusted_proxies=[wrong])
    with pytest.raises(TypeError, match="list of addresses"):
        trusted_networks("127.0.0.1")


def test_a_mapped_address_is_that_of_ipv4() -> None:
    assert seen(("10.0.0.1", 1), (FOR, "192.0.2.1"), trusted=("::ffff:10.0.0.1",))[0] == "192.0.2.1"
    assert seen(("::ffff:10.0.0.1", 1), (FOR, "192.0.2.1"), trusted=("10.0.0.1",))[0] == "192.0.2.1"


def test_a_proxy_on_this_machine_that_is_not_named_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        pass

    async def ask() -> None:
        middleware = ForwardedHeaders(app)
        for _ in range(3):
            headers = [(FOR.encode(), b"192.0.2.1")]
            await middleware({"type": "http", "client": ("127.0.0.1", 1), "headers": headers}, None, None)  # type: ignore[arg-type]

    with caplog.at_level(logging.WARNING, logger="rxhub.server"):
        asyncio.run(ask())
    assert len(caplog.records) == 1
    assert "--trusted-proxy 127.0.0.1" in caplog.text


@contextmanager
def served(*options: str) -> Iterator[Any]:
    command = [*COMMAND, "serve", "--port", "0", *options]
    environment = {**os.environ, "FORWARDED_ALLOW_IPS": "*"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    with process:
        assert process.stdout is not None
        try:
            yield SimpleNamespace(url=process.stdout.readline().strip().partition("=")[2])
        finally:
            process.terminate()


def guess(server: Any, address: str) -> int:
    headers = {"ftrack-user": "rxhub", "ftrack-api-key": "wrong", FOR: address, PROTO: "https"}
    status = request(server, "/socket.io/1/", headers)[0]
    assert status in {401, 429}
    return status


def is_held_off(server: Any, addresses: Iterable[str]) -> bool:
    return any(guess(server, address) == 429 for address in addresses)


def test_guesses_are_counted_by_the_right_address() -> None:
    many = [f"192.0.2.{number}" for number in range(1, 61)]
    with served() as server:
        assert is_held_off(server, many), "a client chooses its address"
    with served("--trusted-proxy", "127.0.0.1") as server:
        assert not is_held_off(server, many[:15]), "clients of a trusted proxy are counted together"
        assert is_held_off(server, ["198.51.100.1"] * 60)
        assert guess(server, "198.51.100.2") == 401
        # What a client puts before the proxy's own entry changes nothing.
        assert is_held_off(server, [f"203.0.113.{number}, 198.51.100.1" for number in range(60)])


def test_the_command_says_what_a_trusted_proxy_is() -> None:
    ended = rxhub("serve", "--trusted-proxy", "proxy.studio.example")
    assert ended.returncode == 2
    assert b"10.0.0.0/24" in ended.stderr.replace(b"\n", b" ")
