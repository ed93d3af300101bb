"""`rxhub doctor` says what is wrong with the environment and the server, and what to do."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from time import time

import pytest
from packaging.specifiers import SpecifierSet

from rxhub.cli.doctor.diagnosis import Finding, Verdict, compare_clocks
from rxhub.cli.doctor.environment import environment
from rxhub.cli.doctor.server import check_server
from rxhub.server import User, Users, running
from rxhub.telemetry.probes import Check, Readiness
from rxhub.worker.endpoint import HttpEndpoint, probe_routes
from tests.cli.terminal import COMMAND

HANDSHAKE = "8f3a:45:60:websocket,xhr-polling"
KEY = "k-4711"


class Handler(BaseHTTPRequestHandler):
    status, body, date, asks_for_key = 200, HANDSHAKE, 0.0, True

    def do_GET(self) -> None:
        assert self.path == "/socket.io/1/"
        given = self.headers.get("ftrack-user"), self.headers.get("ftrack-api-key")
        status = 401 if self.asks_for_key and given != ("jane", KEY) else self.status
        self.send_response_only(status)
        if self.date is not None:
            self.send_header("Date", formatdate(time() + self.date, usegmt=True))
        self.send_header("Location", "https://login.example/")
        self.end_headers()
        self.wfile.write(self.body.encode())

    def log_message(self, format: str, *args: object) -> None: ...


@contextmanager
def serving(**answers: object) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Answers", (Handler,), answers)) as running:
        thread = Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}"
        finally:
            running.shutdown()
            thread.join()


def problems(findings: list[Finding]) -> list[str]:
    assert all(finding.remedy for finding in findings if finding.verdict is Verdict.PROBLEM)
    return [finding.found for finding in findings if finding.verdict is Verdict.PROBLEM]


def asked(url: str, user: str = "jane", key: str = KEY, patience: float = 10) -> list[Finding]:
    findings = list(check_server(url, user, key, patience))
    assert KEY not in " ".join(finding.found + finding.remedy for finding in findings)
    return findings


class TestAServer:
    def test_that_is_well_is_told_to_be(self) -> None:
        with serving() as url:
            found = asked(url)
        assert not problems(found)
        *first, clock = [finding.found for finding in found]
        assert first == [
            f"{url} answers: heartbeat 45 s, close 60 s, websocket,xhr-polling",
            "the key of jane is accepted",
        ]
        assert clock.startswith("the clock of this machine agrees with the server: ")

    @pytest.mark.parametrize(
        ("user", "key", "expected"),
        [
            ("jane", "wrong", "the key of jane is rejected (401)"),
            ("", "", "the server requires a user and a key (401)"),
            ("jane", "", "the server requires a key (401)"),
            ("", "x", "the server requires a user (401)"),
        ],
    )
    def test_refuses_a_wrong_key(self, user: str, key: str, expected: str) -> None:
        with serving() as url:
            assert problems(asked(url, user, key)) == [expected]

    def test_that_asks_for_no_key_proves_none(self) -> None:
        with serving(asks_for_key=False) as url:
            found = asked(url, "", "")
        assert not problems(found)
        assert found[1].found == "no user and key were given, and the server requires none"

    @pytest.mark.parametrize(
        ("answers", "expected"),
        [
            ({"status": 404}, "answers, but is not an event server (404)"),
            ({"status": 503}, "answers with 503"),
            ({"status": 302}, "redirects to https://login.example/"),
            ({"body": "<html>\x1b[2J"}, r"answers, but without a handshake: '<html>\x1b[2J'"),
            ({"body": "x" * 10**6}, "answers, but without a handshake: '" + "x" * 59 + "…'"),
            ({"body": "1:45:60:xhr-polling"}, "does not offer WebSockets"),
        ],
    )
    def test_that_is_something_else_is_told_so(self, answers: dict[str, object], expected: str) -> None:
        with serving(**answers) as url:
            assert problems(asked(url)) == [f"{url} {expected}"]

    @pytest.mark.parametrize(("date", "way"), [(-3600.0, "ahead of"), (3600.0, "behind")])
    def test_with_another_time_shows_a_clock_that_is_off(self, date: float, way: str) -> None:
        with serving(date=date) as url:
            (found,) = problems(asked(url))
        assert found.startswith("the clock of this machine is 3")
        assert found.endswith(f"s {way} the server")

    def test_with_a_slightly_different_time_is_a_note(self) -> None:
        found = compare_clocks(1_000.0, 0.0, 1_004.0, 1_005.0)
        assert found[:2] == (Verdict.NOTE, "the clock of this machine is 4.0 s ahead of the server")
        assert compare_clocks(1_000.0, 1.0, 1_000.0, 1_000.0).verdict is Verdict.OK
        assert compare_clocks(1_000.0, 0.0, 990.0, 1_010.0).found.endswith("+0.000 s, ± 10.000 s")
        assert compare_clocks(1_000.0, 0.0, 980.0, 989.0).verdict is Verdict.PROBLEM

    def test_without_a_time_leaves_the_clock_open(self) -> None:
        with serving(date=None) as url:
            found = asked(url)
        assert not problems(found)
        assert found[-1].verdict is Verdict.NOTE

    def test_that_drips_is_given_up(self) -> None:
        ended = Event()

        def drip() -> None:
            peer, _ = listening.accept()
            with peer:
                try:
                    peer.sendall(b"HTTP/1.1 200 OK\r\n")
                    while not ended.wait(0.02):
                        peer.sendall(b"X")
                except OSError:
                    pass

        with socket.create_server(("127.0.0.1", 0)) as listening:
            thread = Thread(target=drip)
            thread.start()
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            assert problems(asked(url, patience=0.3)) == [f"{url} cannot be reached: no answer within 0.3 s"]
            ended.set()
            thread.join()

    def test_that_speaks_no_tls_or_no_http_is_told_so(self) -> None:
        with serving() as url:
            (found,) = problems(asked(url.replace("http", "https")))
        assert "cannot be reached: TLS failed" in found
        with socket.create_server(("127.0.0.1", 0)) as listening:

            def answer() -> None:
                with listening.accept()[0] as peer:
                    peer.sendall(b"SSH-2.0\r\n\r\n")

            thread = Thread(target=answer)
            thread.start()
            (found,) = problems(asked(f"http://127.0.0.1:{listening.getsockname()[1]}", patience=2))
            thread.join()
        assert "cannot be reached" in found

    @pytest.mark.parametrize(
        "url", ["studio.example", "ftp://x", "http://", "http://[::1", "http://x:port", "http://a b/", "http://x..y/"]
    )
    def test_is_named_by_an_address(self, url: str) -> None:
        (found,) = problems(asked(url))
        assert "is not a URL" in found or "cannot be reached" in found

    def test_where_nobody_listens_cannot_be_reached(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
        assert problems(asked(f"http://127.0.0.1:{port}")) == [
            f"http://127.0.0.1:{port} cannot be reached: no server listens there"
        ]

    @pytest.mark.parametrize("key", ["line\nbreak", "schlüssel", "\r\nX: y"])
    def test_is_sent_no_key_that_breaks_the_request(self, key: str) -> None:
        with serving() as url:
            (found,) = problems(asked(url, key=key))
        assert found.startswith("a header cannot contain the value of ftrack-api-key")

    def test_password_in_an_address_is_not_shown(self) -> None:
        assert "hunter2" not in str(asked("http://jane:hunter2@127.0.0.1:1"))


def test_our_own_server_is_told_to_be_well() -> None:
    with running(users=Users([User.with_key("jane", KEY)])) as one:
        assert not problems(asked(one.url))
        assert problems(asked(one.url, key="wrong")) == ["the key of jane is rejected (401)"]


class TestProbes:
    def test_of_a_server_are_reported_one_by_one(self) -> None:
        with running(users=Users([User.with_key("jane", KEY)])) as one:
            found = [finding.found for finding in asked(one.url)]
        assert "/healthz: the process works" in found
        assert "/readyz: serving" in found

    def test_of_a_worker_are_reported_with_their_reasons(self) -> None:
        checks = Check("running"), Check("connected", "farm:hub is connecting"), Check("loop_lag", "", 0.25)
        endpoint = HttpEndpoint("127.0.0.1", 0, probe_routes(Readiness, lambda: Readiness(checks)))
        url = f"http://127.0.0.1:{endpoint.port}"
        try:
            found = asked(url)
        finally:
            endpoint.close()
        assert [(finding.verdict, finding.found) for finding in found[:-1]] == [
            (Verdict.OK, f"{url} answers: a worker"),
            (Verdict.OK, "/healthz: the process works"),
            (Verdict.OK, "/readyz: running"),
            (Verdict.PROBLEM, "/readyz: connected: farm:hub is connecting"),
            (Verdict.OK, "/readyz: loop_lag (0.25)"),
        ]
        assert problems(found) == ["/readyz: connected: farm:hub is connecting"]

    def test_of_a_worker_that_hangs_are_a_problem(self) -> None:
        lag = Readiness((Check("loop_lag", "the event loop is 70 s late", 70.0),))
        endpoint = HttpEndpoint("127.0.0.1", 0, probe_routes(lambda: lag, Readiness))
        try:
            found = asked(f"http://127.0.0.1:{endpoint.port}")
        finally:
            endpoint.close()
        assert problems(found) == ["/healthz: loop_lag: the event loop is 70 s late"]


class TestVersions:
    @pytest.mark.parametrize(
        ("wanted", "is_problem"),
        [
            (">=1.9", False),
            (">=1.10.0", False),
            (">=1.11", True),
            (">=1,<1.10", True),
            (">=1.10rc1", False),
            ("<2", False),
        ],
    )
    def test_are_compared_by_their_numbers(
        self, wanted: str, is_problem: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        own = Message()
        for name, value in (("Version", "1"), ("Requires-Python", ">=3"), ("Provides-Extra", "more")):
            own[name] = value
        own["Requires-Dist"] = f"thing{wanted}"
        own["Requires-Dist"] = f"other{wanted}; extra == 'more'"
        monkeypatch.setattr("rxhub.cli.doctor.environment.metadata", lambda name: own)
        monkeypatch.setattr("rxhub.cli.doctor.environment.version", lambda name: "1.10")
        found = problems(list(environment()))
        texts = [f"thing 1.10, but rxhub needs {SpecifierSet(wanted)}", "extra more: other 1.10 is not supported"]
        assert found == (texts if is_problem else [])

    def test_that_cannot_be_compared_are_no_problem(self, monkeypatch: pytest.MonkeyPatch) -> None:
        own = Message()
        for name, value in (("Version", "1"), ("Requires-Python", ">=3"), ("Provides-Extra", "more")):
            own[name] = value
        own["Requires-Dist"] = "thing>=1"
        own["Requires-Dist"] = "other>=1; extra == 'more'"
        monkeypatch.setattr("rxhub.cli.doctor.environment.metadata", lambda name: own)
        monkeypatch.setattr("rxhub.cli.doctor.environment.version", lambda name: "4.0.0-unknown")
        monkeypatch.setattr("rxhub.cli.doctor.environment.platform.python_version", lambda: "3.15.0a1+")
        found = list(environment())
        assert problems(found) == []
        assert found[-1].found == "extra more: other 4.0.0-unknown"

    def test_of_a_python_and_of_packages_that_are_missing_are_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        own = Message()
        for name, value in (("Version", "1"), ("Requires-Python", ">=4"), ("Provides-Extra", "more")):
            own[name] = value
        own["Requires-Dist"] = "no-such-thing>=1"
        own["Requires-Dist"] = "no-such-other; extra == 'more'"
        monkeypatch.setattr("rxhub.cli.doctor.environment.metadata", lambda name: own)
        found = list(environment())
        assert problems(found) == ["rxhub needs Python >=4", "no-such-thing is not installed"]
        assert found[-1] == (Verdict.NOTE, "extra more: not installed: no-such-other", "pip install 'rxhub[more]'")

    def test_of_the_environment_are_told(self) -> None:
        found = [finding.found for finding in environment()]
        assert found[0].startswith("Python 3.")
        assert any(text.startswith("reactivex ") for text in found)
        assert any(text.startswith("extra cli (the command rxhub): ") for text in found)


def doctor(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("FTRACK_", "RXHUB_"))}
    return subprocess.run(
        [*COMMAND, "doctor", *arguments],
        env={**clean, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class TestTheCommand:
    def test_ends_with_0_if_all_is_well_and_takes_ftracks_variables(self) -> None:
        with serving() as url:
            ran = doctor(FTRACK_SERVER=url, FTRACK_API_USER="jane", FTRACK_API_KEY=KEY)
        assert (ran.returncode, ran.stderr) == (0, "")
        assert "ok       the key of jane is accepted\n" in ran.stdout
        assert KEY not in ran.stdout

    def test_ends_with_1_after_a_problem_and_says_what_to_do(self) -> None:
        with serving() as url:
            ran = doctor("--server", url, "--user", "jane", "--key", "wrong")
        assert ran.returncode == 1
        assert "problem  the key of jane is rejected (401)\n         Check that the key belongs" in ran.stdout

    def test_without_a_server_looks_at_the_environment_alone(self) -> None:
        ran = doctor()
        assert ran.returncode == 0
        assert (
            "note     no server was checked\n         Use --server or FTRACK_SERVER, --nats or RXHUB_NATS.\n"
            in ran.stdout
        )
