"""`/healthz` and `/readyz` of a server."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import urlsplit

from rxhub.server import Backplane, Running, running
from rxhub.testing import Nats
from tests.proxy import Proxy
from tests.server.wire import request
from tests.threads import until


def probe(server: Running, path: str) -> tuple[int, dict[str, Any]]:
    status, body, headers = request(server, path)
    assert headers["content-type"] == "application/json"
    return status, json.loads(body)


def failed(server: Running) -> dict[str, str]:
    """The reasons of the failed checks, by name."""
    status, body = probe(server, "/readyz")
    reasons = {name: check["reason"] for name, check in body["checks"].items() if not check["ok"]}
    assert status == (503 if reasons else 200)
    return reasons


def test_a_server_is_alive_and_ready_without_credentials() -> None:
    with running() as server:
        assert probe(server, "/healthz") == (200, {"status": "ok"})
        until(lambda: failed(server) == {})
        assert probe(server, "/readyz/")[1]["checks"].keys() == {"serving", "loop_lag"}
        assert "loop_lag_seconds" in server.stats


def test_a_server_that_shuts_down_is_alive_and_not_ready() -> None:
    with running() as server:
        server._events.is_closing = True
        assert probe(server, "/healthz")[0] == 200
        status, body = probe(server, "/readyz")
        assert (status, body["status"]) == (503, "failed")
        assert "shutting down" in body["reason"]


def test_a_blocked_loop_is_reported_afterwards() -> None:
    with running() as server:
        loop = server._events.loop_lag
        assert loop is not None
        loop._loop.call_soon_threadsafe(time.sleep, 1.6)
        until(lambda: "late" in failed(server).get("loop_lag", ""))
        until(lambda: failed(server) == {})


def test_a_server_without_nats_is_not_ready_and_says_why(nats: Nats) -> None:
    port = urlsplit(nats.url).port
    assert port is not None
    with Proxy(port) as proxy:
        url = f"nats://127.0.0.1:{proxy.port}"
        with running(grace=1, backplane=Backplane(url, nats.user, nats.password, nats.stream)) as server:
            until(lambda: failed(server) == {})
            assert probe(server, "/readyz")[1]["checks"]["store_writable"] == {"ok": True}
            proxy.black_hole = True
            proxy.reset()
            until(lambda: "not connected to NATS" in failed(server).get("connected", ""))
            assert probe(server, "/healthz")[0] == 200
            proxy.black_hole = False
            until(lambda: failed(server) == {})
