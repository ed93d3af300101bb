"""One connection: who lets us in, what is told of who does not, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from signal import SIGCONT
from typing import Any

import pytest
from nats.errors import ConnectionClosedError

from rxhub.errors import HubConnectionError, StreamError
from rxhub.testing import Nats
from rxhub.transport.nats import connection as module
from rxhub.transport.nats.connection import NatsConnection
from rxhub.transport.nats.options import NatsOptions
from tests.proxy import Proxy
from tests.threads import LIMIT, suspend
from tests.transport.nats.identities import KeyPair, Operator
from tests.transport.nats.servers import speaking, started

CERTIFICATE = Path(__file__).parents[2] / "data" / "tls" / "localhost.pem"
INFO = b'INFO {"server_id":"x","version":"2.15.1","max_payload":1000,"headers":true}\r\n'


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CONNECT_TIMEOUT_S", 0.5)
    monkeypatch.setattr(module, "_PING_INTERVAL_S", 0.1)
    monkeypatch.setattr(module, "_CLOSED_POLL_S", 0.02)


async def opened(at: Nats, url: str = "") -> NatsConnection:
    return await NatsConnection.open(url or at.url, NatsOptions((at.url,), at.user, at.password), "test")


def refusal(url: str, user: str | None = None, password: str | None = None, **login: Any) -> str:
    """What is told when this server is tried."""

    async def attempt() -> str:
        async with asyncio.timeout(LIMIT):
            with pytest.raises(HubConnectionError) as raised:
                await NatsConnection.open(url, NatsOptions((url,), user, password, **login), "test")
        assert len(asyncio.all_tasks()) == 1, "an attempt leaves nothing behind"
        return str(raised.value)

    return asyncio.run(attempt())


def test_asking_jetstream(nats: Nats) -> None:
    async def ask() -> None:
        line = await opened(nats)
        assert (await line.js_request("INFO"))["streams"] >= 0 and line.max_payload > 1_000 and not line.is_encrypted
        with pytest.raises(StreamError, match="stream not found") as raised:
            await line.js_request(f"STREAM.INFO.{nats.stream}")
        assert raised.value.number == 10059
        await line.close()
        assert line.is_closed and await line.closed == "it was closed"
        with pytest.raises(HubConnectionError):
            await line.js_request("INFO")
        await line.close()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(ask())


# Who does not let us in


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    told = refusal(f"nats://127.0.0.1:{port}")
    assert f"nats://127.0.0.1:{port}" in told and "refused" in told and "nats-server -js" in told


def test_no_such_host() -> None:
    assert "Cannot connect to NATS at nats://nowhere.invalid:4222" in refusal("nats://nowhere.invalid:4222")


@pytest.mark.parametrize(
    ("user", "password", "remedy"),
    [
        (None, None, "EventHub(url, user, password)"),
        ("tests", None, "EventHub(url, user, password)"),
        ("tests", "wrong", "Check that the password of tests is correct"),
        ("nobody", "x", "Check that the password of nobody is correct"),
        (None, "token", "Check that the token is correct"),
    ],
)
def test_a_wrong_password(nats: Nats, user: str | None, password: str | None, remedy: str) -> None:
    told = refusal(nats.url, user, password)
    assert "authorization violation" in told.lower() and remedy in told
    assert "wrong" not in told


def test_a_token() -> None:
    with started({"authorization": {"token": "a token"}}) as server:

        async def enter() -> None:
            line = await NatsConnection.open(
                server.url, NatsOptions(f"nats://a%20token@127.0.0.1:{server.port}"), "test"
            )
            await line.close()

        asyncio.run(enter())
        assert "uthorization" in refusal(server.url, None, "another")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (b"", "did not complete"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "INFO"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "INFO"),
        (b"\x00" * 100_000, "not that of a NATS server"),
        (b"x" * 100_000 + b"\r\n", "not that of a NATS server"),
        (b"INFO\r\n", "not that of a NATS server"),
        (b"INFO []\r\n", "not that of a NATS server"),
        (b'INFO {"a":\r\n', "json"),
        (b"INFO \xff\r\n", "json"),
        (INFO, "did not complete"),
        (INFO + b"-ERR 'no'\r\n", "no"),
        (INFO + b"SOMETHING\r\n", "protocol error"),
    ],
)
def test_what_is_no_nats_server(words: bytes, told: str) -> None:
    with speaking(words) as url:
        assert told in refusal(url)


def test_what_hangs_up_at_once() -> None:
    with speaking(lambda line: line.close()) as url:
        assert "Cannot connect to NATS at " in refusal(url)


def test_an_attempt_that_is_given_up_leaves_nothing_behind() -> None:
    async def attempt(url: str) -> None:
        task = asyncio.create_task(NatsConnection.open(url, NatsOptions((url,)), "test"))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) == 1

    with speaking() as url:
        asyncio.run(attempt(url))


# Encryption


def test_with_tls_nobody_else_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    tls = {"cert_file": str(CERTIFICATE), "key_file": str(CERTIFICATE)}
    with started({"tls": tls, "authorization": {"user": "me", "password": "secret"}}) as server:

        async def enter(scheme: str) -> None:
            url = f"{scheme}://localhost:{server.port}"
            line = await NatsConnection.open(url, NatsOptions((url,), "me", "secret"), "test")
            assert line.is_encrypted
            await line.close()

        asyncio.run(enter("tls"))
        asyncio.run(enter("nats"))
        monkeypatch.delenv("SSL_CERT_FILE")
        assert "CERTIFICATE_VERIFY_FAILED" in refusal(f"tls://localhost:{server.port}", "me", "secret")


@pytest.mark.parametrize("login", ["token", "password", "nkey", "credentials"])
def test_a_server_without_tls_receives_no_login(login: str, tmp_path: Path) -> None:
    """Not even the signature of an NKEY: who is in between could log in to the real server with it."""
    heard = bytearray()
    ended = threading.Event()

    def listen(line: socket.socket) -> None:
        line.settimeout(LIMIT)
        line.sendall(INFO.replace(b"}", b',"auth_required":true,"nonce":"once"}'))
        while data := line.recv(1000):
            heard.extend(data)
        ended.set()

    file = tmp_path / "file"
    file.write_text(KeyPair().seed if login == "nkey" else Operator().credentials())
    given: dict[str, Any] = {
        "token": {"token": "secret"},
        "password": {"user": "me", "password": "secret"},
        "nkey": {"nkey": file},
        "credentials": {"credentials": file},
    }[login]
    with speaking(listen) as url:
        told = refusal(url.replace("nats:", "tls:"), **given)
        assert ended.wait(LIMIT)
    assert "does not offer TLS" in told and not heard


# The end


def reason(act: Callable[[NatsConnection, Any], Any], at: Nats, url: str = "", peer: Any = None) -> str:
    """By what a line ended after something was done to it, with much to say to the server all the time."""

    async def run() -> str:
        line = await opened(at, url)
        came: list[bytes] = []

        async def talk() -> None:
            while True:
                await line.client.publish("nobody", b"x" * 10_000)
                await asyncio.sleep(0)

        def hear(subject: str, reply: str, data: bytes, headers: bytes) -> None:
            came.append(data)

        await line.subscribe("nobody", hear)
        talking = asyncio.create_task(talk())
        async with asyncio.timeout(LIMIT):
            while not came:
                await asyncio.sleep(0.01)
            act(line, peer)
            told = await line.closed
        await line.close()
        await asyncio.wait([talking], timeout=LIMIT)
        assert talking.exception() is not None
        assert len(asyncio.all_tasks()) == 1
        return told

    return asyncio.run(run())


def test_a_reset_is_noticed(nats: Nats) -> None:
    with Proxy(int(nats.url.rpartition(":")[2])) as proxy:
        assert reason(lambda _, proxy: proxy.reset(), nats, proxy.url.replace("http", "nats"), proxy)


def test_a_black_hole_is_noticed(nats: Nats) -> None:
    with Proxy(int(nats.url.rpartition(":")[2])) as proxy:
        told = reason(
            lambda _, proxy: setattr(proxy, "black_hole", True), nats, proxy.url.replace("http", "nats"), proxy
        )
        assert "stale" in told
        proxy.black_hole = False


def test_a_half_open_line_is_noticed(nats: Nats) -> None:
    with Proxy(int(nats.url.rpartition(":")[2])) as proxy:
        assert reason(lambda _, proxy: proxy.half_open(), nats, proxy.url.replace("http", "nats"), proxy)


def test_a_server_that_is_held_up_and_goes_on() -> None:
    with started({"authorization": {"user": "me", "password": "secret"}}) as server:
        at = Nats(server.url, "me", "secret", "unused")
        assert "stale" in reason(lambda _, peer: suspend(peer.process.pid), at, "", server)
        server.process.send_signal(SIGCONT)


def test_a_server_that_is_killed() -> None:
    with started({"authorization": {"user": "me", "password": "secret"}}) as server:
        at = Nats(server.url, "me", "secret", "unused")
        assert reason(lambda _, peer: peer.process.kill(), at, "", server)


def test_closing_takes_no_longer_than_its_patience_though_nobody_reads(nats: Nats) -> None:
    async def run(proxy: Proxy) -> None:
        line = await opened(nats, proxy.url.replace("http", "nats"))
        proxy.black_hole = True

        async def talk() -> None:
            with pytest.raises(ConnectionClosedError):
                while True:
                    await line.client.publish("nobody", b"x" * 100_000)
                    await asyncio.sleep(0)

        talking = asyncio.create_task(talk())
        await asyncio.sleep(0.05)
        async with asyncio.timeout(LIMIT):
            await line.close()
            await talking
        assert len(asyncio.all_tasks()) == 1

    with Proxy(int(nats.url.rpartition(":")[2])) as proxy:
        asyncio.run(run(proxy))
        proxy.black_hole = False


def test_what_was_said_before_closing_is_heard(nats: Nats) -> None:
    async def run() -> None:
        listener, speaker = await opened(nats), await opened(nats)
        heard = asyncio.Event()

        def hear(*_: object) -> None:
            heard.set()

        await listener.subscribe(f"{nats.stream}.word", hear)
        await listener.js_request("INFO")
        await speaker.client.publish(f"{nats.stream}.word", b"farewell")
        await speaker.close()
        async with asyncio.timeout(LIMIT):
            await heard.wait()
        await listener.close()

    asyncio.run(run())


# What is forbidden


def test_what_we_may_not_ask_is_told_as_such() -> None:
    users = [{"user": "me", "password": "secret", "permissions": {"publish": {"deny": ["$JS.API.>", "Studio.>"]}}}]
    with started({"authorization": {"users": users}, "jetstream": {}}) as server:

        async def run() -> None:
            line = await opened(Nats(server.url, "me", "secret", ""))
            with pytest.raises(HubConnectionError, match="permissions violation"):
                await line.js_request("INFO", timeout=0.5)
            denied: list[str] = []
            line.on_denied = denied.append
            await line.client.publish("Studio.a", b"")
            async with asyncio.timeout(LIMIT):
                while not denied:
                    await asyncio.sleep(0.01)
            assert denied == ["studio.a"] and not line.is_closed
            await line.close()

        asyncio.run(run())


def test_without_jetstream_nobody_answers() -> None:
    with started({}) as server:

        async def run() -> None:
            line = await NatsConnection.open(server.url, NatsOptions((server.url,)), "test")
            with pytest.raises(HubConnectionError, match="JetStream is not enabled"):
                await line.js_request("INFO")
            await line.close()

        asyncio.run(run())


def test_an_answer_that_is_none_of_jetstreams() -> None:
    with started({}) as server:

        async def run() -> None:
            line, other = [await NatsConnection.open(server.url, NatsOptions((server.url,)), "test") for _ in range(2)]

            async def answer(msg: Any) -> None:
                await other.client.publish(msg.reply, b"\xff[")

            await other.client.subscribe("$JS.API.>", cb=answer)
            await other.flush()
            with pytest.raises(HubConnectionError, match="responder is not JetStream"):
                await line.js_request("INFO")
            await line.close()
            await other.close()

        asyncio.run(run())


def test_a_mistake_in_what_takes_is_logged_and_the_next_message_comes(
    nats: Nats, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        line = await opened(nats)
        came: asyncio.Queue[bytes] = asyncio.Queue()

        def take(subject: str, reply: str, data: bytes, headers: bytes) -> None:
            came.put_nowait(data)
            if data == b"bad":
                raise KeyError("a mistake")

        await line.subscribe(f"{nats.stream}.a", take)
        for word in (b"bad", b"good"):
            await line.client.publish(f"{nats.stream}.a", word)
        async with asyncio.timeout(LIMIT):
            assert [await came.get(), await came.get()] == [b"bad", b"good"]
        await line.close()

    with caplog.at_level(logging.ERROR):
        asyncio.run(run())
    assert "Internal error: 'a mistake'" in caplog.text
