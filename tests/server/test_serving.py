"""Start and shutdown of servers, embedded and as a process."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from rxhub.errors import HubConnectionError, PlainTextRefused
from rxhub.server import Users, running, serve
from rxhub.server.key_hash import new_key
from tests.server.wire import Wire, answer, frame, opened, packet, request, wire
from tests.threads import elsewhere, until


def test_it_listens_on_this_machine_only_with_a_key_of_its_own() -> None:
    with running() as one, running() as other:
        assert one.url.startswith("http://127.0.0.1:")
        assert one.url != other.url
        assert one.api_key != other.api_key
        assert one.api_key not in repr(one)
    with pytest.raises(OSError, match=r"refused"):
        urllib.request.urlopen(one.url + "/health", timeout=5)


def test_at_the_end_everything_that_was_accepted_is_delivered() -> None:
    count = 300
    got: list[str] = []

    def read(client: Wire) -> None:
        with pytest.raises(ConnectionClosed):
            while True:
                got.append(client.receive())

    with ExitStack() as stack:
        with running(grace=20) as server:
            client = stack.enter_context(wire(server))
            publisher = stack.enter_context(wire(server))
            client.subscribe("topic=a")
            for number in range(count):
                publisher.send(packet("a", "x" * 50_000, number))  # more than sockets hold
            for number in range(count):
                assert answer(publisher.receive()) == (number, {"success": True})
            assert server.stats["messages_waiting"] > 0
            reader = stack.enter_context(elsewhere(read, client))
        reader.join()
    assert len(got) == count


def test_while_it_ends_nobody_is_let_in() -> None:
    with running() as server:
        server._events.is_closing = True
        assert request(server, "/health")[:2] == (503, '{"status":"closing"}')
        assert request(server, "/socket.io/1/")[0] == 503


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(HubConnectionError, match=f"Cannot listen on 127.0.0.1:{port}"), running(port=port):
            pass


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "studio.example"])
def test_keys_do_not_travel_in_plain_text_unless_that_is_wanted(host: str) -> None:
    with pytest.raises(PlainTextRefused, match="certificate"):
        serve(Users(), host=host)


def test_a_heartbeat_leaves_time_for_an_answer() -> None:
    with pytest.raises(ValueError, match="heartbeat"), running(heartbeat=10, heartbeat_timeout=5):
        pass


SCRIPT = """
import sys
from rxhub.server import Users, User, serve
serve(Users([User.with_key("me", sys.argv[1])]), port=0, on_start=lambda url: print(url, flush=True), grace=2)
"""


def test_a_second_ctrl_c_waits_for_nobody() -> None:
    key = new_key()
    script = SCRIPT.replace("grace=2", "grace=600, heartbeat_timeout=600")
    process = subprocess.Popen([sys.executable, "-c", script, key], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with process:
        assert process.stdout is not None
        url = process.stdout.readline().decode().strip()
        server = type("Server", (), {"url": url, "api_user": "me", "api_key": key})()
        with wire(server) as client, opened(server, window=4_096) as stalled:
            stalled.sendall(
                frame(packet("ftrack.meta.subscribe", {"subscriber": {"id": "never"}, "subscription": "topic=a"}))
            )
            for _ in range(400):
                client.do("a", "x" * 20_000)
            process.send_signal(signal.SIGINT)
            until(lambda: request(server, "/health")[0] == 503)
            process.send_signal(signal.SIGINT)
            process.wait(20)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_after_what_is_in_the_queues(number: signal.Signals) -> None:
    key = new_key()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, key], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        server = type("Server", (), {"url": url, "api_user": "me", "api_key": key})()
        with wire(server) as client:
            client.subscribe("topic=a")
            for _ in range(200):
                client.send(packet("a", "x" * 1_000, number=None))
            first = client.receive()
            process.send_signal(number)
            got = [first]
            with pytest.raises(ConnectionClosed):
                while True:
                    got.append(client.receive())
            assert all(text.startswith("5:::") for text in got)
        process.wait(20)
        assert process.returncode in {-number, 0, 1, 130}
        assert "Traceback" not in process.stderr.read() or number == signal.SIGINT  # type: ignore[union-attr]


def test_it_speaks_tls(tmp_path: Path) -> None:
    certificate = tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(tmp_path / "key.pem"), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    script = SCRIPT.replace(
        "port=0", f"port=0, certificate={str(certificate)!r}, private_key={str(tmp_path / 'key.pem')!r}"
    )
    process = subprocess.Popen([sys.executable, "-c", script, new_key()], stdout=subprocess.PIPE, text=True)
    with process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url.startswith("https://")
            context = ssl.create_default_context(cafile=str(certificate))
            with urllib.request.urlopen(url + "/health", timeout=20, context=context) as answered:
                assert answered.status == 200
        finally:
            process.terminate()
