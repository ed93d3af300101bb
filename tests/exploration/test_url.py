"""`read_events` streams http(s) URLs, within limits."""

from __future__ import annotations

import gzip
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rxhub import read_events
from rxhub.exploration import UnreadableInput, url

EVENTS = Path(__file__).parents[1] / "data" / "events.jsonl"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/events.jsonl.gz":
            self.answer(gzip.compress(EVENTS.read_bytes()))
        elif path == "/moved":
            self.redirect("/events.jsonl.gz")
        elif path == "/to-file":
            self.redirect(f"file://{EVENTS}")
        elif path == "/cut":
            self.answer(EVENTS.read_bytes()[:5_000], length=10_000)
        elif path == "/silent":
            self.answer(b'{"topic":"a"}\n', length=100, wait=True)
        else:
            self.send_error(404)

    def answer(self, body: bytes, length: int | None = None, wait: bool = False) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        if wait:
            released.wait(20)
        self.close_connection = True

    def redirect(self, target: str) -> None:
        self.send_response(302)
        self.send_header("Location", target)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


released = threading.Event()


@contextmanager
def serving() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        released.set()
        server.shutdown()
        thread.join()
        server.server_close()
        released.clear()


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "*")
    with serving() as found:
        yield found


def test_a_compressed_document_is_streamed_each_time(address: str) -> None:
    events = read_events(f"{address}/events.jsonl.gz")
    assert sum(1 for _ in events) == sum(1 for _ in events) == 1_000
    assert sum(1 for _ in read_events(f"{address}/moved")) == 1_000
    assert "head()" in events._repr_mimebundle_()["text/plain"]


def test_an_error_of_the_server_names_the_url_without_secrets(address: str) -> None:
    with pytest.raises(OSError, match="404") as caught:
        list(read_events(f"{address}/none?token=hunter2"))
    assert "hunter2" not in str(caught.value) and "/none" in str(caught.value)


def test_a_redirect_to_a_file_is_refused(address: str) -> None:
    with pytest.raises(OSError, match="302"):
        list(read_events(f"{address}/to-file"))


def test_a_document_that_ends_early_is_an_error(address: str) -> None:
    with pytest.raises(OSError, match="before the end"):
        list(read_events(f"{address}/cut"))


def test_a_silent_server_is_an_error(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(url, "TIMEOUT_S", 0.3)
    with pytest.raises(OSError, match=r"silent for 0.3 s"):
        list(read_events(f"{address}/silent"))


def test_a_document_beyond_the_limit_is_an_error(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(url, "MAX_URL_BYTES", 1_000)
    with pytest.raises(UnreadableInput, match="Download it"):
        list(read_events(f"{address}/events.jsonl.gz"))


def test_a_server_that_is_not_there_is_an_error() -> None:
    with pytest.raises(OSError, match=r"Cannot read http://127.0.0.1:9/x"):
        list(read_events("http://127.0.0.1:9/x"))


@pytest.mark.parametrize(
    "address", ["file:///etc/passwd", "ftp://host/x", "http://user:hunter2@host/x", "https://", "http://[x/"]
)
def test_other_urls_are_refused_at_once(address: str) -> None:
    with pytest.raises(ValueError, match="Cannot read events from") as caught:
        read_events(address)
    assert "hunter2" not in str(caught.value)
