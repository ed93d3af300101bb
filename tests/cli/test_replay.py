"""`rxhub replay` and `rxhub streams` beside a real NATS server."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from rxhub import Event, EventHub
from rxhub.testing import Nats
from tests.cli.terminal import COMMAND, on_a_terminal, rxhub
from tests.threads import LIMIT


def url(nats: Nats) -> str:
    return nats.url.replace("://", f"://{nats.user}:{nats.password}@")


def environment(nats: Nats) -> dict[str, str]:
    return {**os.environ, "RXHUB_NATS": url(nats)}


@contextmanager
def connected(nats: Nats) -> Generator[EventHub]:
    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as hub:
        hub.connect()
        with hub.start():
            yield hub


def publish(hub: EventHub, count: int, topic: str = "studio.shot", start: int = 0) -> None:
    sent = [hub.publish(Event(topic, data={"n": start + n, "é": "\n"})) for n in range(count)]
    for one in sent:
        assert one is not None
        one.result(LIMIT)


@pytest.fixture
def filled(nats: Nats) -> Nats:
    """A stream of ten events, of which five are about shots."""
    with connected(nats) as hub:
        for n in range(5):
            publish(hub, 1, start=n)
            publish(hub, 1, "studio.asset", start=n)
    return nats


def replay(nats: Nats, *arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return rxhub("replay", *arguments, "--stream", nats.stream, env=environment(nats), **options)


def numbers(stdout: bytes) -> list[int]:
    return [json.loads(line)["data"]["n"] for line in stdout.splitlines()]


class TestReplay:
    def test_prints_what_matches_as_json_lines(self, filled: Nats) -> None:
        ran = replay(filled, "topic=studio.shot and data.n>1")
        assert (ran.returncode, ran.stderr) == (0, b"")
        assert numbers(ran.stdout) == [2, 3, 4]
        assert json.loads(ran.stdout.splitlines()[0])["data"]["é"] == "\n"

    def test_its_lines_are_what_filter_reads(self, filled: Nats) -> None:
        stdout = replay(filled, "topic=studio.*").stdout
        assert rxhub("filter", "topic=studio.*", stdin=stdout).stdout == stdout

    def test_begins_and_ends_at_sequences_times_and_spans(self, filled: Nats) -> None:
        assert numbers(replay(filled, "topic=studio.*", "--since", "3", "--until", "6").stdout) == [1, 1, 2, 2]
        assert len(numbers(replay(filled, "topic=studio.*", "--since", "1h").stdout)) == 10
        assert numbers(replay(filled, "topic=studio.*", "--until", "1h").stdout) == []
        assert numbers(replay(filled, "topic=studio.*", "--since", "2099-01-01").stdout) == []

    def test_ends_with_1_if_nothing_was_replayed(self, filled: Nats) -> None:
        ran = replay(filled, "topic=never")
        assert (ran.returncode, ran.stdout) == (1, b"")
        assert f"no event in {filled.stream} matched 'topic=never'" in ran.stderr.decode()

    def test_a_pipe_can_resume_behind_the_position_of_the_last_line(self, filled: Nats) -> None:
        seen: list[int] = []
        since = 1
        for _ in range(5):
            ran = replay(filled, "topic=studio.shot", "--with-position", "--since", str(since))
            line = json.loads(ran.stdout.splitlines()[0])  # the pipe is cut off behind this line
            seen.append(line["data"]["n"])
            since = line["position"]["sequence"] + 1
            assert datetime.fromisoformat(line["position"]["time"]).utcoffset() is not None
        assert seen == [0, 1, 2, 3, 4]
        assert replay(filled, "topic=studio.shot", "--with-position", "--since", str(since)).returncode == 1

    def test_lines_with_a_position_are_what_filter_reads(self, filled: Nats) -> None:
        lines = replay(filled, "topic=studio.*", "--with-position").stdout
        assert rxhub("filter", "topic=studio.shot and position.sequence > 4", "--count", stdin=lines).stdout == b"3\n"

    def test_listen_tells_positions_of_a_stream(self, filled: Nats) -> None:
        options = ["--server", url(filled), "--stream", filled.stream, "--with-position", "-n", "2"]
        command = subprocess.Popen([*COMMAND, "listen", "topic=studio.shot", *options], stdout=subprocess.PIPE)
        with connected(filled) as hub:
            while command.poll() is None:
                publish(hub, 1)
        assert command.stdout is not None
        lines = [json.loads(line) for line in command.stdout]
        command.stdout.close()
        assert len(lines) == 2 and 10 < lines[0]["position"]["sequence"] < lines[1]["position"]["sequence"]

    def test_plays_at_a_speed(self, filled: Nats) -> None:
        assert numbers(replay(filled, "topic=studio.shot", "--speed", "100").stdout) == [0, 1, 2, 3, 4]

    def test_follows_until_ctrl_c(self, filled: Nats) -> None:
        command = subprocess.Popen(
            [*COMMAND, "replay", "topic=studio.shot", "--follow", "--stream", filled.stream],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(filled),
        )
        try:
            assert command.stdout is not None
            seen = [json.loads(command.stdout.readline())["data"]["n"] for _ in range(5)]
            with connected(filled) as hub:
                publish(hub, 2, start=5)
            seen += [json.loads(command.stdout.readline())["data"]["n"] for _ in range(2)]
            assert seen == [0, 1, 2, 3, 4, 5, 6]
            command.send_signal(signal.SIGINT)
            stdout, stderr = command.communicate(timeout=30)
            assert (stdout, stderr, command.returncode) == (b"", b"", 130)
        finally:
            command.kill()
            command.communicate()

    def test_ends_quietly_when_its_reader_goes(self, nats: Nats) -> None:
        with connected(nats) as hub:
            publish(hub, 3_000)
        command = subprocess.Popen(
            [*COMMAND, "replay", "topic=studio.shot", "--stream", nats.stream],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(nats),
        )
        assert command.stdout is not None and command.stderr is not None
        command.stdout.readline()
        command.stdout.close()
        assert (command.wait(30), command.stderr.read()) == (141, b"")
        command.stderr.close()

    def test_shows_a_table_on_a_terminal_with_the_time_at_which_each_event_was_stored(self, filled: Nats) -> None:
        status, seen = on_a_terminal("replay", "topic=studio.shot", "--stream", filled.stream, RXHUB_NATS=url(filled))
        assert status == 0 and "5 events" in seen and "5 of 5 examined" in seen and "studio.shot" in seen
        assert re.search(datetime.now().astimezone().strftime("%Y-"), seen)

    def test_shows_the_whole_time_and_all_columns_beside_a_long_topic(self, nats: Nats) -> None:
        with connected(nats) as hub:
            publish(hub, 1, "studio." + "x" * 200)
        for columns in ("50", "80"):
            status, seen = on_a_terminal(
                "replay", "", "--stream", nats.stream, RXHUB_NATS=url(nats), COLUMNS=columns, TERM="dumb"
            )
            assert status == 0
            heading = next(line for line in seen.splitlines() if "topic" in line).split()
            assert heading[:2] == ["time", "topic"] and len(heading) == 4
            assert re.search(r"\d\d:\d\d:\d\d +studio\.x+…", seen)

    def test_prints_lines_on_a_terminal_if_asked_to(self, filled: Nats) -> None:
        status, seen = on_a_terminal(
            "replay", "topic=studio.shot", "--json", "--stream", filled.stream, RXHUB_NATS=url(filled)
        )
        assert status == 0 and numbers(seen.replace("\r\n", "\n").encode()) == [0, 1, 2, 3, 4]

    def test_shows_how_far_it_is_on_stderr_while_the_lines_go_elsewhere(self, filled: Nats, tmp_path: Path) -> None:
        with (tmp_path / "lines").open("wb") as lines:
            status, seen = on_a_terminal(
                "replay",
                "topic=studio.shot",
                "--stream",
                filled.stream,
                stdout=lines.fileno(),
                RXHUB_NATS=url(filled),
            )
        assert status == 0 and "replay" in seen and "studio.shot" not in seen
        assert numbers((tmp_path / "lines").read_bytes()) == [0, 1, 2, 3, 4]

    def test_makes_no_stream_and_tells_which_there_are(self, filled: Nats) -> None:
        typo = filled._replace(stream=f"{filled.stream}x")
        ran = replay(typo, "topic=*")
        assert ran.returncode == 2 and ran.stdout == b""
        assert f"there is no stream {typo.stream}".encode() in ran.stderr and filled.stream.encode() in ran.stderr
        assert filled.password.encode() not in ran.stderr
        assert typo.stream.encode() not in rxhub("streams", env=environment(filled)).stdout

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["topic==a"], b"topic==a"),
            (["topic=a", "--since", "yesterday"], b"--since"),
            (["topic=a", "--since", "5", "--until", "3"], b"is before the start"),
            (["topic=a", "--until", "5", "--follow"], b"follow"),
            (["topic=a", "--speed", "0"], b"greater than 0"),
            (["topic=a", "--stream", "a.b"], b"--stream"),
            (["topic=a", "--nats", "http://studio.example"], b"--nats"),
            (["topic=a", "--nats", "nats://127.0.0.1:9"], b"refused"),
        ],
    )
    def test_tells_what_is_wrong(self, filled: Nats, arguments: list[str], told: bytes) -> None:
        ran = (
            replay(filled, *arguments)
            if "--stream" not in arguments
            else rxhub("replay", *arguments, env=environment(filled))
        )
        assert ran.returncode == 2 and ran.stdout == b"" and b"Traceback" not in ran.stderr
        assert told in re.sub(rb"\s+", b" ", ran.stderr) or told in ran.stderr

    def test_tells_nats_who_it_is_by_options_and_variables(self, filled: Nats) -> None:
        variables = {"RXHUB_NATS": filled.url, "RXHUB_NATS_USER": filled.user, "RXHUB_NATS_PASSWORD": filled.password}
        for command in (["replay", "topic=studio.shot", "--stream", filled.stream], ["streams"]):
            assert rxhub(*command, env={**os.environ, **variables}).returncode == 0
            who = ["--nats-user", filled.user, "--nats-password", "a wrong one"]
            ran = rxhub(*command, *who, env={**os.environ, **variables})
            assert (
                ran.returncode == 2 and b"Check that the password of" in ran.stderr and b"a wrong one" not in ran.stderr
            )


class TestStreams:
    def test_prints_a_line_of_json_a_stream(self, filled: Nats) -> None:
        ran = rxhub("streams", env=environment(filled))
        assert (ran.returncode, ran.stderr) == (0, b"")
        (found,) = [one for one in map(json.loads, ran.stdout.splitlines()) if one["name"] == filled.stream]
        assert (found["messages"], found["first_sequence"], found["last_sequence"]) == (10, 1, 10)
        assert datetime.fromisoformat(found["first"]) <= datetime.fromisoformat(found["last"])
        assert (found["groups"], found["dead"], found["replicas"]) == ([], 0, 1)

    def test_shows_a_table_on_a_terminal(self, filled: Nats) -> None:
        status, seen = on_a_terminal("streams", RXHUB_NATS=url(filled), COLUMNS="200")
        assert status == 0 and re.search(rf"{filled.stream}\s+10 ", seen) and "replicas" in seen

    def test_adds_one_with_its_limits(self, nats: Nats) -> None:
        limits = ["--max-age", "30d", "--max-bytes", "1.5G", "--replicas", "1"]
        ran = rxhub("streams", "add", nats.stream, *limits, env=environment(nats))
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")
        listed = rxhub("streams", env=environment(nats)).stdout
        (found,) = [one for one in map(json.loads, listed.splitlines()) if one["name"] == nats.stream]
        assert (found["max_age"], found["max_bytes"], found["first"]) == (30 * 86_400.0, 3 * 2**29, None)
        again = rxhub("streams", "add", nats.stream, *limits, env=environment(nats))
        assert (again.returncode, again.stderr) == (0, b"")
        other = rxhub("streams", "add", nats.stream, "--max-age", "1d", env=environment(nats))
        assert other.returncode == 2 and b"exists already, with other limits" in other.stderr
        with connected(nats) as hub:
            publish(hub, 1)

    def test_tells_what_is_wrong(self, nats: Nats) -> None:
        for arguments, told in (
            (["streams", "add", "a.b"], b"NAME"),
            (["streams", "add", nats.stream, "--max-age", "30"], b"--max-age"),
            (["streams", "add", nats.stream, "--max-bytes", "much"], b"--max-bytes"),
            (["streams", "--nats", "nats://127.0.0.1:9"], b"refused"),
        ):
            ran = rxhub(*arguments, env=environment(nats))
            assert ran.returncode == 2 and told in ran.stderr and b"Traceback" not in ran.stderr
        without = {name: value for name, value in os.environ.items() if name != "RXHUB_NATS"}
        ran = rxhub("streams", env=without)
        assert ran.returncode == 2 and b"RXHUB_NATS" in ran.stderr
