"""One trace through several processes: clients, a server, NATS and a worker."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.propagate import inject

from rxhub import Event, EventHub
from rxhub.testing import Nats
from tests.telemetry.recorded import Recorded, recorded
from tests.threads import LIMIT, until

__all__ = ["recorded"]

_BEGIN = """
import sys
import time
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from rxhub import Event, EventHub
from rxhub.telemetry import instrument

out, url, user, password, stream = sys.argv[1:]
exporter = ConsoleSpanExporter(out=open(out, "a"), formatter=lambda span: span.to_json(indent=None) + "\\n")
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
instrument(provider)
"""

_SERVER = f"""{_BEGIN}
from rxhub.server import Backplane, running

with running(backplane=Backplane(url, user, password, stream), grace=1) as server:
    print(server.url, server.api_user, server.api_key, flush=True)
    sys.stdin.read()
"""

_WORKER = f"""{_BEGIN}
hub = EventHub(url, user, password, stream=stream)
attempts = 0

@hub.on("topic=shot.new")
def note(event):
    pass

@hub.process("topic=shot.new", group="g", since="first", backoff=0.01)
def job(event):
    global attempts
    attempts += 1
    if attempts == 1:
        raise OSError("disk")
    hub.replay("topic=shot.new", since=1).to_list().run()
    hub.publish(Event("shot.done"))

hub.connect()
with hub, hub.start():
    while not hub.subscriptions_synced:
        time.sleep(0.01)
    print("ready", flush=True)
    sys.stdin.read()
"""


@contextmanager
def program(code: str, spans: Path, nats: Nats) -> Iterator[list[str]]:
    """Run a program until the end of the block; the words of its first line."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, str(spans), nats.url, nats.user, nats.password, nats.stream],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        assert words
        yield words
    finally:
        try:
            process.communicate("", timeout=2 * LIMIT)
        finally:
            process.kill()
            process.wait(LIMIT)


def written(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize("how", ["hub", "http"])
def test_spans_of_clients_server_and_worker_form_one_trace(
    tmp_path: Path, nats: Nats, recorded: Recorded, how: str
) -> None:
    at_server, at_worker = tmp_path / "server", tmp_path / "worker"
    done: list[Event] = []
    with ExitStack() as stack:
        url, user, key = stack.enter_context(program(_SERVER, at_server, nats))
        stack.enter_context(program(_WORKER, at_worker, nats))
        client = stack.enter_context(EventHub(url, user, key))
        client.connect()
        client.subscribe("topic=shot.done", done.append)
        stack.enter_context(client.start())
        until(lambda: client.subscriptions_synced)
        with recorded.provider.get_tracer("test").start_as_current_span("outer"):
            if how == "hub":
                client.publish(Event("shot.new"))
            else:
                headers: dict[str, str] = {}
                inject(headers)
                body = {"topic": "shot.new"}
                posted = httpx.post(
                    f"{url}/api/events", json=body, headers=headers, auth=(user, key), timeout=LIMIT, trust_env=False
                )
                assert posted.status_code == 202, posted.text
        until(lambda: done, 2 * LIMIT)
        recorded.ended("outer", "deliver shot.done", "call list.append")
    of_server, of_worker = written(at_server), written(at_worker)
    ours: list[dict[str, Any]] = [json.loads(span.to_json()) for span in recorded.every]
    names = [span["name"] for span in of_worker]
    assert sorted(names) == sorted(
        ["deliver shot.new", "call note", "process shot.new", "process shot.new", "replay", "publish shot.done"]
    )
    assert [span["name"] for span in of_server] == (["POST /api/events"] if how == "http" else [])
    every = {span["context"]["span_id"]: span for span in (*ours, *of_server, *of_worker)}
    (outer,) = [span for span in ours if span["name"] == "outer"]
    assert {span["context"]["trace_id"] for span in every.values()} == {outer["context"]["trace_id"]}
    parents = {(span["name"], every[span["parent_id"]]["name"]) for span in every.values() if span is not outer}
    origin = "publish shot.new" if how == "hub" else "POST /api/events"
    assert parents == {
        (origin, "outer"),
        ("deliver shot.new", origin),
        ("call note", "deliver shot.new"),
        ("process shot.new", origin),
        ("replay", "process shot.new"),
        ("publish shot.done", "process shot.new"),
        ("deliver shot.done", "publish shot.done"),
        ("call list.append", "deliver shot.done"),
    }
    assert trace.get_current_span() is trace.INVALID_SPAN
