"""A TLS socket that two threads use at once."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Lock, Thread
from time import sleep
from typing import Any

import pytest

from rxhub.compat.ftrack.tls_socket import TlsSocket
from tests.threads import until

TLS = Path(__file__).parents[2] / "data" / "tls"


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(2**16):
        writer.write(data)
        await writer.drain()
    writer.close()


@pytest.fixture(scope="module")
def port() -> Generator[int]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(TLS / "localhost.pem")
    loop, ready, stopped, ports = asyncio.new_event_loop(), Event(), asyncio.Event(), list[int]()

    async def serve() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=context)
        ports.append(server.sockets[0].getsockname()[1])
        ready.set()
        await stopped.wait()
        server.close()

    thread = Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(10)
    yield ports[0]
    loop.call_soon_threadsafe(stopped.set)
    thread.join(10)
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def connected(port: int, kind: type[ssl.SSLSocket]) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=TLS / "localhost.pem")
    context.sslsocket_class = kind
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), 10), server_hostname="localhost")


class Watched:
    """OpenSSL's connection, which notes whether two threads are in it."""

    def __init__(self, connection: Any) -> None:
        self._connection, self._lock, self.overlapped = connection, Lock(), False

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._connection, name)
        if name not in ("read", "write"):
            return attribute

        def call(*arguments: Any) -> Any:
            is_free = self._lock.acquire(blocking=False)
            self.overlapped |= not is_free
            try:
                sleep(0.001)
                return attribute(*arguments)
            finally:
                if is_free:
                    self._lock.release()

        return call


@pytest.mark.parametrize("kind", [ssl.SSLSocket, TlsSocket])
def test_only_one_thread_at_a_time_is_in_openssl(port: int, kind: Any) -> None:
    with connected(port, kind) as connection, ThreadPoolExecutor(1) as threads:
        connection._sslobj = watched = Watched(connection._sslobj)
        data, received = bytes(range(250)) * 2000, bytearray()

        def receive() -> bytes:
            while len(received) < len(data) and (part := connection.recv(2**16)):
                received.extend(part)
            return bytes(received)

        receiving = threads.submit(receive)
        connection.sendall(data)
        assert receiving.result(10) == data
        assert watched.overlapped is (kind is ssl.SSLSocket)


def test_a_thread_that_waits_neither_keeps_others_out_nor_outlives_the_connection(port: int) -> None:
    connection = connected(port, TlsSocket)
    connection.settimeout(None)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(connection.recv)
        until(waiting.running)
        connection.sendall(b"x")
        assert waiting.result(10) == b"x"
        waiting = threads.submit(connection.recv)
        until(waiting.running)
        connection.close()
        try:
            assert waiting.result(10) == b""
        except OSError:  # it was closed before the call
            pass


def test_a_timeout_ends_waiting(port: int) -> None:
    with connected(port, TlsSocket) as connection:
        connection.settimeout(0.01)
        with pytest.raises(TimeoutError):
            connection.recv()
        connection.settimeout(10)
        connection.sendall(b"x")
        assert connection.recv() == b"x"
