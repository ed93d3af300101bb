"""Connections that send nothing, too little or too much are closed, and do not exclude others."""

from __future__ import annotations

import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Event
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest

from rxhub.server import Limits, Running, running
from rxhub.server.key_hash import new_key
from rxhub.server.limits import limits_for_descriptors, raise_soft_limit
from tests.server.wire import credentials, raw, request, wire
from tests.threads import elsewhere, until

QUICK = Limits(request_timeout=0.3)
UPGRADE = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"


def is_closed(connection: socket.socket) -> bool:
    """Whether the server has closed the connection. Reads what it has sent."""
    try:
        while connection.recv(65_536):
            pass
    except ConnectionError:
        pass
    return True


def is_well(connection: socket.socket) -> bool:
    """Whether the health check succeeds."""
    answered = b""
    while not answered.endswith(b"}") and (piece := connection.recv(65_536)):
        answered += piece
    return answered.endswith(b'{"status":"ok"}')


@pytest.fixture(scope="module")
def quick() -> Iterator[Running]:
    with running(limits=QUICK, grace=1) as server:
        yield server


@pytest.mark.parametrize(
    "begun",
    [
        "",
        "G",
        "GET /hea",
        "GET /health HTTP/1.1\r\nHost: x\r\nX: ",
        "POST /socket.io/1/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf of it",
        "POST /nothing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf ",
        "GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n",
        f"GET /socket.io/1/websocket/x HTTP/1.1\r\nHost: x\r\n{UPGRADE}Sec-WebSocket-Key: ",
        "\r\n\r\n",
        "\x16\x03\x01\x02\x00",  # TLS
    ],
)
def test_a_request_that_is_not_complete_in_time_ends_the_connection(quick: Running, begun: str) -> None:
    with raw(quick) as connection:
        connection.sendall(begun.encode("latin-1"))
        assert is_closed(connection)


@pytest.mark.parametrize(
    "begun", ["GET /health HTTP/1.1\r\nX: ", "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n"]
)
def test_a_request_that_comes_byte_by_byte_does_not_prolong_it(quick: Running, begun: str) -> None:
    before = quick.stats["requests_timed_out"]
    with raw(quick) as connection:
        connection.sendall(begun.encode())

        def drip() -> None:
            with suppress(OSError):
                while True:
                    connection.sendall(b"x")
                    Event().wait(0.005)

        with elsewhere(drip):
            assert is_closed(connection)
            connection.close()
    assert quick.stats["requests_timed_out"] > before


def test_a_connection_that_is_kept_alive_has_the_same_time_for_its_next_request(quick: Running) -> None:
    asks = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    with raw(quick) as connection:
        for _ in range(3):
            connection.sendall(asks)
            assert is_well(connection)
        connection.sendall(asks[:10])
        assert is_closed(connection)


@pytest.mark.parametrize("headers", ["", "Sec-WebSocket-Key: x\r\n", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"])
def test_an_upgrade_that_fails_ends_the_connection(quick: Running, headers: str) -> None:
    with raw(quick) as connection:
        target = "/socket.io/1/websocket/nobodys"
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n{UPGRADE}{headers}\r\n".encode())
        assert is_closed(connection)
    until(lambda: quick.stats["sockets_open"] == 0)


@pytest.mark.parametrize("end", [b"", b"0\r\n\r\n"])
def test_a_large_request_is_not_kept(quick: Running, end: bytes) -> None:
    before = quick.stats["requests_refused"]
    with raw(quick) as connection:
        connection.sendall(b"POST /socket.io/1/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        with suppress(OSError):
            for _ in range(64):
                connection.sendall(b"10000\r\n" + bytes(0x10000) + b"\r\n")
            connection.sendall(end)
        assert is_closed(connection)
    until(lambda: quick.stats["requests_refused"] == before + 1)


def test_tiny_chunks_end_the_connection(quick: Running) -> None:
    before = quick.stats["requests_refused"]
    with raw(quick) as connection:
        head = b"POST /socket.io/1/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        with suppress(OSError):
            connection.sendall(head + b"1\r\nx\r\n" * 10_000)
        assert is_closed(connection)
    until(lambda: quick.stats["requests_refused"] == before + 1)


def test_clients_stay_longer_than_the_time_for_a_request(quick: Running) -> None:
    with wire(quick) as client:
        began = monotonic()
        until(lambda: monotonic() - began > 3 * QUICK.request_timeout)
        assert client.do("a") == {"success": True}
    until(lambda: quick.stats["sockets_open"] == quick.stats["connections"] == 0)


def test_whoever_has_waited_longest_makes_room() -> None:
    with running(limits=Limits(pending=5, request_timeout=600), grace=1) as server, ExitStack() as stack:
        waiting = []
        for number in range(5):
            waiting.append(stack.enter_context(raw(server)))
            until(lambda number=number: server.stats["sockets_waiting"] == number + 1)
        with wire(server) as client:
            assert client.do("a") == {"success": True}
            assert is_closed(waiting[0])
            for connection in waiting[2:]:  # the handshake and the WebSocket took one place or two
                connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
                assert is_well(connection)
            assert 1 <= server.stats["connections_rejected"] <= 2
            assert "rxhub_server_connections_rejected_total " in request(server, "/metrics", credentials(server))[1]


SCRIPT = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]), int(sys.argv[3])))
from rxhub.server import Users, User, serve
serve(Users([User.with_key("me", sys.argv[1])]), port=0, grace=1, on_start=lambda url: print(url, flush=True))
"""


@contextmanager
def limited(tmp_path: Path, soft: int, hard: int, script: str = SCRIPT) -> Iterator[Any]:
    """A server in a process with a limit of open files."""
    key = new_key()
    log = tmp_path / "stderr"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", script, key, str(soft), str(hard)], stdout=subprocess.PIPE, stderr=stderr, text=True
        )
    with process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            yield SimpleNamespace(url=url, api_user="me", api_key=key, process=process, log=log)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)


def hold(server: Any, count: int, said: bytes) -> list[socket.socket]:
    held = []
    for _ in range(count):
        connection = raw(server)
        connection.setblocking(False)
        with suppress(OSError):
            connection.send(said)
        held.append(connection)
    return held


def processor_time(process: subprocess.Popen[str]) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture
def many_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    raise_soft_limit()
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("many_files")
def test_strangers_do_not_keep_others_out_when_descriptors_run_out(tmp_path: Path) -> None:
    with limited(tmp_path, 256, 256) as server, wire(server) as client:
        began, used = monotonic(), processor_time(server.process)
        held: list[socket.socket] = []
        try:
            for _ in range(6):
                held += hold(server, 306, b"GET /hea")
                assert request(server, "/health")[0] == 200
                assert client.do("a") == {"success": True}
                with wire(server) as other:
                    assert other.do("b") == {"success": True}
            assert processor_time(server.process) - used < 0.7 * (monotonic() - began) + 2
            status, body, _ = request(server, "/metrics", credentials(server))
            assert status == 200
            assert "rxhub_server_connections_rejected_total 0" not in body
        finally:
            for connection in held:
                connection.close()
    logged = server.log.read_text()
    assert len(logged) < 10_000, logged[:2_000]
    assert "Traceback" not in logged.partition("KeyboardInterrupt")[0] or "accept" not in logged
    assert "LimitNOFILE" in logged


def test_it_goes_on_when_the_process_has_no_descriptor_left(tmp_path: Path) -> None:
    script = SCRIPT.replace(
        "lambda url: print(url, flush=True)",
        "lambda url: (print(url, flush=True), rob())",
    ).replace(
        "serve(Users",
        """
import os, threading
def rob():
    def take():
        taken, given_back = [], threading.Event()
        threading.Thread(target=lambda: (sys.stdin.readline(), given_back.set()), daemon=True).start()
        while not given_back.wait(0.05):
            try:
                while True:
                    taken.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                pass
        for descriptor in taken:
            os.close(descriptor)
    threading.Thread(target=take, daemon=True).start()
serve(Users""",
    )
    key = new_key()
    with (tmp_path / "stderr").open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", script, key, "128", "128"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    with process:
        try:
            assert process.stdout is not None and process.stdin is not None
            server: Any = SimpleNamespace(url=process.stdout.readline().strip(), api_user="me", api_key=key)

            def is_rejected() -> bool:
                try:
                    return request(server, "/health")[0] != 200
                except OSError:
                    return True

            until(is_rejected)
            process.stdin.write("\n")
            process.stdin.flush()
            until(lambda: not is_rejected())
            with wire(server) as client:
                assert client.do("a") == {"success": True}
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)
    logged = (tmp_path / "stderr").read_text()
    assert logged.count("Rejecting connections") == 1
    assert len(logged) < 5_000, logged


def test_the_soft_limit_is_raised_to_the_hard_limit(tmp_path: Path) -> None:
    with limited(tmp_path, 64, 4_096) as server:
        found = Path(f"/proc/{server.process.pid}/limits").read_text()
        (line,) = [line for line in found.splitlines() if line.startswith("Max open files")]
        assert line.split()[3:5] == ["4096", "4096"]


def test_limits_fit_the_descriptors() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        found = limits_for_descriptors(Limits())
        assert 20 <= found.pending <= 64
        assert found.connections + found.pending < 256
        few = Limits(connections=10, pending=5)
        assert limits_for_descriptors(few) == few
        assert replace(found, connections=10_000, pending=1_000) == Limits()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path.with_name("key")), "-out", str(path)),
        ],
        check=True,
        capture_output=True,
    )
    path.write_text(path.read_text() + path.with_name("key").read_text())
    return path


def hello(context: ssl.SSLContext) -> bytes:
    """The first message of a TLS handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


@pytest.mark.usefixtures("many_files")
def test_tls_handshakes_that_never_finish(tmp_path: Path, certificate: Path) -> None:
    options = f"port=0, certificate={str(certificate)!r}, "
    script = SCRIPT.replace("port=0, ", options)
    context = ssl.create_default_context(cafile=str(certificate))

    def health(server: Any) -> bool:
        with raw(server) as plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            return is_well(connection)

    with limited(tmp_path, 256, 256, script) as server:
        held: list[socket.socket] = []
        try:
            for said in (b"", hello(context)[:50], hello(context), b"GET / HTTP/1.1\r\n\r\n"):
                held += hold(server, 150, said)
                assert health(server)
            for connection in held:
                connection.setblocking(True)
                assert is_closed(connection)
            assert health(server)
        finally:
            for connection in held:
                connection.close()
    logged = server.log.read_text()
    assert len(logged) < 10_000, logged[:2_000]


def test_requests_that_are_no_http_fill_no_log(quick: Running, caplog: pytest.LogCaptureFixture) -> None:
    before = quick.stats["requests_refused"]
    for _ in range(300):
        with raw(quick) as connection:
            connection.sendall(b"nonsense\r\n\r\n")
            assert is_closed(connection)
    assert quick.stats["requests_refused"] - before == 300
    assert len(caplog.records) < 10


def test_refused_websockets_fill_no_log(caplog: pytest.LogCaptureFixture) -> None:
    with running(grace=1) as server:
        for _ in range(300):
            with raw(server) as connection:
                head = f"GET /socket.io/1/websocket/x HTTP/1.1\r\nHost: x\r\n{UPGRADE}"
                connection.sendall(f"{head}Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode())
                assert is_closed(connection)
    refused = [record for record in caplog.records if "Rejected a WebSocket from" in record.getMessage()]
    assert 0 < len(refused) < 250
