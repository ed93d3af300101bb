"""No command hands a terminal what another program wants it to obey."""

from __future__ import annotations

import json
import re
import threading

import pytest

from rxhub import Event, EventHub
from rxhub.server import Running
from rxhub.testing import Nats
from tests.cli.terminal import on_a_terminal, rxhub
from tests.cli.wire import peer, variables
from tests.threads import LIMIT

HOSTILE = "studio.\x9b31m\u202e\u200b\x1b]0;x\x07\x7f\u2028"
# What rich and Python write themselves: escape sequences of colours, cursor and modes.
OWN = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|\t")


def check(seen: str) -> None:
    assert OWN.sub("", seen).isprintable(), [c for c in OWN.sub("", seen) if not c.isprintable()]


def test_filter_prints_the_same_json(tmp_path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"topic": "studio.a",\r"data": {"\u202e": "\x7f\u009b\u200b"}}\n')
    status, seen = on_a_terminal("filter", "topic=studio.*", path)
    assert status == 0
    check(seen)
    assert json.loads(seen) == json.loads(path.read_text())
    assert rxhub("filter", "topic=studio.*", path).stdout == path.read_bytes()  # a pipe gets it unchanged


@pytest.mark.parametrize(
    "arguments",
    [
        ["filter", 'topic="\x9b\u202e" and and'],
        ["filter", "topic=a", "no\x9b\u202esuch.jsonl"],
        ["explain", 'data.x="\x9b\u202e"'],
        ["explain", 'data.x="\x9b\u202e"', "event.json"],
        ["listen", "--no\u202esuch"],
        ["no\u202e\u200bsuch"],
        ["streams", "no\u202esuch"],
        ["listen", "topic=a", "more\u202e"],
        ["filter", "topic=a", "--\u202e=\u200b"],
        ["user", "list", "--users", "users\u202e.toml"],
        ["doctor", "--server", "http://\x9b\u202e"],
        ["publish", "a", "--server", "nats://\x9b\u202e:1"],
        ["listen", 'topic="\x9b\u202e" and and', "--server", "http://127.0.0.1:1"],
    ],
    ids=repr,
)
def test_messages_and_trees_are_printable(tmp_path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "event.json").write_text(json.dumps({"topic": "a", "data": {"x": HOSTILE}}, ensure_ascii=False))
    check(on_a_terminal(*arguments)[1])


def test_listen_and_publish_are_printable(server: Running) -> None:
    stop = threading.Event()

    def publish() -> None:
        with peer(server) as hub:
            hub.subscribe("topic=ask", lambda event: {"answer": HOSTILE})
            while not stop.wait(0.05):
                hub.publish(Event(HOSTILE, data={HOSTILE: HOSTILE}))

    publishing = threading.Thread(target=publish)
    publishing.start()
    try:
        status, seen = on_a_terminal("listen", "topic=studio.*", "-n", "2", **variables(server))
        assert status == 0
        check(seen)
        status, seen = on_a_terminal("publish", "ask", "--wait", "20", **variables(server))
        check(seen)
        assert (status, json.loads(seen)) == (0, {"answer": HOSTILE})
    finally:
        stop.set()
        publishing.join()


def test_replay_and_listen_of_a_stream_are_printable(nats: Nats) -> None:
    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as hub, hub.start():
        hub.connect()
        sent = hub.publish(Event(HOSTILE, data={HOSTILE: HOSTILE}))
        assert sent is not None
        sent.result(LIMIT)
    url = nats.url.replace("://", f"://{nats.user}:{nats.password}@")
    for options in ([], ["--json"]):
        status, seen = on_a_terminal("replay", "topic=studio.*", "--stream", nats.stream, *options, RXHUB_NATS=url)
        assert status == 0
        check(seen)
    assert json.loads(seen)["topic"] == HOSTILE


@pytest.mark.parametrize(("columns", "whole"), [("120", True), ("60", True), ("40", False)])
def test_a_topic_is_shown_whole_while_there_is_space(server: Running, columns: str, whole: bool) -> None:
    topic = "studio.pipeline.render.finished.with.name"
    stop = threading.Event()

    def publish() -> None:
        with peer(server) as hub:
            while not stop.wait(0.05):
                hub.publish(Event(topic, data={"a": "b" * 200}))

    publishing = threading.Thread(target=publish)
    publishing.start()
    try:
        environment = {**variables(server), "COLUMNS": columns}
        status, seen = on_a_terminal("listen", "topic=studio.*", "-n", "1", **environment)
    finally:
        stop.set()
        publishing.join()
    assert status == 0
    assert (topic in seen) is whole
