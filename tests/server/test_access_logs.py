"""uvicorn logs no keys of requests that an outer application answers itself."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from rxhub.server import running
from tests.server.test_key_removal import KEY, UPGRADE, host, sent, server
from tests.server.wire import raw
from tests.threads import until

__all__ = ["host", "server"]

QUERIES = [
    f"api_user=me&api_key={KEY}",
    f"EIO=4&transport=polling&api%5Fkey={KEY}",
    f"%61pi%255Fkey={KEY}",
    f"a=1;API-KEY={KEY}&api_key={KEY}",
    f"api_user=me%26api_key%3D{KEY}",
    f"auth=%7B%22apiKey%22%3A%22{KEY}%22%7D",
]
TARGETS = [
    "http://x/socket.io/1/?{}",
    "HTTP://x:8080/socket.io/?{}",
    "http://x?{}",
    "http://x/below/socket.io/1/#{}",
    "http://x/socket.io/1/;{}",
    "//x/socket.io/1/?{}",
    "/page/nothing?{}",
    "*?{}",
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("query", QUERIES)
def test_a_key_is_in_no_log_whoever_answers(
    server: Any, target: str, query: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        for method, version in (("GET", "1.1"), ("POST", "1.0"), ("OPTIONS", "1.1")):
            caplog.clear()
            answered = sent(server, f"{method} {target.format(query)} HTTP/{version}")
            until(lambda: any(record.name.startswith("uvicorn") for record in caplog.records))
            assert KEY not in caplog.text
            assert KEY not in answered


@pytest.mark.parametrize("target", TARGETS)
def test_nor_is_that_of_a_websocket(server: Any, target: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        for query in QUERIES:
            caplog.clear()
            with raw(server) as connection:
                request = [f"GET {target.format(query)} HTTP/1.1", "Host: x", *UPGRADE, "", ""]
                connection.sendall("\r\n".join(request).encode())
                assert KEY.encode() not in connection.recv(4_096)
            until(lambda: any(record.name.startswith("uvicorn") for record in caplog.records))
            assert KEY not in caplog.text


def test_a_handshake_in_absolute_form_hides_its_query_without_a_name(
    server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        sent(server, f"GET http://x/socket.io/1/?{KEY} HTTP/1.1")
        until(lambda: any(record.name == "uvicorn.access" for record in caplog.records))
    assert KEY not in caplog.text and "socket.io" in caplog.text


def test_other_requests_are_logged_as_they_are(server: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        sent(server, "GET /page?user=me&page=%25&tokens=3 HTTP/1.1")
        sent(server, f"GET /socket.io/1/?api_user=me&api_key={KEY} HTTP/1.1")
        until(lambda: len([record for record in caplog.records if record.name == "uvicorn.access"]) == 2)
    first, second = (record.getMessage() for record in caplog.records if record.name == "uvicorn.access")
    assert "/page?user=me&page=%25&tokens=3 HTTP/1.1" in first
    assert "/socket.io/1/?api_user=me&api_key=*** HTTP/1.1" in second


def test_a_server_logs_no_requests_and_lets_others_log_theirs(server: Any, caplog: pytest.LogCaptureFixture) -> None:
    with running() as ours, caplog.at_level(logging.INFO):
        for served in (ours, server):
            sent(served, "GET /health HTTP/1.1")
        until(lambda: any(record.name == "uvicorn.access" for record in caplog.records))
    assert sum(record.name == "uvicorn.access" for record in caplog.records) == 1
