"""`rxhub listen` and `rxhub publish` beside a real server."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Generator
from datetime import datetime
from typing import Any

import pytest

from rxhub import Event
from rxhub.server import Running, running
from tests.cli.terminal import COMMAND, on_a_terminal, rxhub
from tests.cli.wire import listening, peer, variables


@pytest.fixture(scope="module")
def server() -> Generator[Running]:
    with running() as server:
        yield server


def lines(stdout: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stdout.splitlines()]


class TestListen:
    def test_prints_what_matches_as_json_lines_until_there_are_enough(self, server: Running) -> None:
        with peer(server) as hub, listening(server, "topic=studio.* and data.n>1", "--count", "2") as command:
            for n in range(5):
                hub.publish(Event("studio.hello", data={"n": n, "é": "\n"}, in_reply_to_event="x"))
            stdout, stderr = command.communicate(timeout=30)
        assert [event["data"] for event in lines(stdout)] == [{"n": n, "é": "\n"} for n in (2, 3)]
        assert lines(stdout)[0]["inReplyToEvent"] == "x" and lines(stdout)[0]["topic"] == "studio.hello"
        assert (stderr, command.returncode) == (b"", 0)

    def test_says_why_there_is_no_sequence_and_what_to_use(self, server: Running) -> None:
        with peer(server) as hub, listening(server, "topic=a", "-n", "1", "--with-position") as command:
            hub.publish(Event("a"))
            stdout, stderr = command.communicate(timeout=30)
        position = lines(stdout)[0]["position"]
        assert position["sequence"] is None and datetime.fromisoformat(position["time"]).utcoffset() is not None
        told = stderr.decode()
        assert told.count("\n") == 1 and "http:// has no positions" in told and "--server nats://host" in told

    def test_its_lines_are_what_filter_reads(self, server: Running) -> None:
        with peer(server) as hub, listening(server, "topic=a", "-n", "1") as command:
            hub.publish(Event("a"))
            stdout, _ = command.communicate(timeout=30)
        assert rxhub("filter", "topic=a", stdin=stdout).stdout == stdout

    def test_ends_with_1_when_the_time_is_up_before_an_event_came(self, server: Running) -> None:
        ran = rxhub("listen", "topic=never", "--timeout", "0.1", env=variables(server))
        assert (ran.returncode, ran.stdout) == (1, b"")
        assert ran.stderr == b"rxhub: no event matched 'topic=never' within 0.1 s\n"

    def test_ends_cleanly_by_ctrl_c(self, server: Running) -> None:
        with listening(server, "topic=a") as command:
            command.send_signal(signal.SIGINT)
            stdout, stderr = command.communicate(timeout=30)
        assert (stdout, stderr, command.returncode) == (b"", b"", 130)

    def test_ends_quietly_when_its_reader_goes(self, server: Running) -> None:
        with peer(server) as hub, listening(server, "topic=a") as command:
            assert command.stdout is not None and command.stderr is not None
            hub.publish(Event("a"))
            command.stdout.readline()
            command.stdout.close()
            hub.publish(Event("a"))
            command.wait(30)
            assert (command.stderr.read(), command.returncode) == (b"", 141)

    def test_tells_who_was_not_let_in(self, server: Running) -> None:
        ran = rxhub("listen", "topic=a", "--user", "jane", "--key", "a wrong one", env=variables(server))
        assert ran.returncode == 2 and ran.stdout == b""
        assert b"Check api_user and api_key" in ran.stderr and b"Traceback" not in ran.stderr
        assert b"a wrong one" not in ran.stderr

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["topic=a", "--server", "http://127.0.0.1:9"], b"refused the connection"),
            (["topic=a", "--server", "studio.example"], b"--server"),
            (["topic==a"], b"topic==a"),
        ],
    )
    def test_tells_what_is_wrong(self, server: Running, arguments: list[str], told: bytes) -> None:
        ran = rxhub("listen", *arguments, env=variables(server))
        assert ran.returncode == 2 and told in ran.stderr and b"Traceback" not in ran.stderr

    def test_shows_a_table_on_a_terminal(self, server: Running) -> None:
        import threading

        stop = threading.Event()

        def publish() -> None:
            with peer(server) as hub:
                while not stop.wait(0.05):
                    hub.publish(Event("studio.table", data={"text": "[bold]\x1b[2J"}))

        publishing = threading.Thread(target=publish)
        publishing.start()
        try:
            status, seen = on_a_terminal("listen", "topic=studio.table", "-n", "3", **variables(server))
        finally:
            stop.set()
            publishing.join()
        plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen)
        assert status == 0
        assert "studio.table" in plain and "3 events" in plain and "[bold]" in plain and server.api_user in plain


class TestPublish:
    @pytest.mark.parametrize(
        ("data", "stdin", "sent"),
        [([], b"", {}), (['{"n":1}'], b"", {"n": 1}), (["-"], b'{"n":\n2}', {"n": 2}), (["[1]"], b"", [1])],
    )
    def test_publishes_its_data(self, server: Running, data: list[str], stdin: bytes, sent: Any) -> None:
        with listening(server, "topic=studio.hello", "-n", "1") as command:
            ran = rxhub("publish", "studio.hello", *data, stdin=stdin, env=variables(server))
            stdout, _ = command.communicate(timeout=30)
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")
        assert lines(stdout)[0]["data"] == sent
        assert lines(stdout)[0]["source"]["user"] == {"username": server.api_user}

    def test_prints_replies(self, server: Running) -> None:
        with peer(server) as hub:
            for n in (1, 2):
                hub.subscribe("topic=studio.ask", lambda event, n=n: {"answer": n * event.data["n"]})
            hub.publish(Event("x")).result(10)
            ran = rxhub("publish", "studio.ask", '{"n": 10}', "--wait", "20", "-n", "2", env=variables(server))
        assert sorted(ran.stdout.splitlines()) == [b'{"answer":10}', b'{"answer":20}']
        assert (ran.returncode, ran.stderr) == (0, b"")

    def test_ends_with_1_if_nobody_replies(self, server: Running) -> None:
        ran = rxhub("publish", "nobody", "--wait", "0.1", env=variables(server))
        assert (ran.returncode, ran.stdout) == (1, b"")
        assert ran.stderr.startswith(b"rxhub: no reply within 0.1 s")

    def test_tells_how_many_replies_came(self, server: Running) -> None:
        with peer(server) as hub:
            hub.subscribe("topic=studio.ask", lambda event: 1)
            hub.publish(Event("x")).result(10)
            ran = rxhub("publish", "studio.ask", "--wait", "1", "-n", "2", env=variables(server))
        assert (ran.returncode, ran.stdout) == (1, b"1\n")
        assert b"1 of 2 replies within 1 s" in ran.stderr

    @pytest.mark.parametrize("topic", ["", " ", "\t\n"])
    def test_a_topic_is_needed(self, server: Running, topic: str) -> None:
        ran = rxhub("publish", topic, env=variables(server))
        assert ran.returncode == 2 and b"topic is empty" in ran.stderr

    @pytest.mark.parametrize("data", ["{", "", "{'a':1}", "NaN", "[" * 100_000])
    def test_refuses_what_is_no_json(self, server: Running, data: str) -> None:
        ran = rxhub("publish", "a", "-", stdin=data.encode(), env=variables(server))
        assert ran.returncode == 2 and ran.stderr.startswith(b"rxhub: the data is not JSON")

    def test_a_server_is_needed(self) -> None:
        ran = subprocess.run([*COMMAND, "publish", "a"], capture_output=True, env={}, timeout=60, check=False)
        assert ran.returncode == 2 and b"FTRACK_SERVER" in ran.stderr


def test_the_demo_plays_by_way_of_a_server() -> None:
    ran = rxhub("demo", "--plain", "--wire")
    assert ran.returncode == 0 and b"160 of 160 events played" in ran.stdout
    assert re.search(rb"launch +\S+ replied to 9 of 9", ran.stdout)
