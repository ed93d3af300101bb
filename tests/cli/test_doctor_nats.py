"""`rxhub doctor` on NATS: what is wrong with the servers, with JetStream and with the stream, and what to do."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from rxhub import Event, EventHub
from rxhub.cli.credentials import ServerAccess
from rxhub.cli.doctor import nats as doctor_nats
from rxhub.cli.doctor.diagnosis import Finding, Verdict
from rxhub.cli.doctor.nats import check_nats, check_sequences
from rxhub.testing import Nats
from tests.cli.terminal import COMMAND, DATA
from tests.threads import LIMIT
from tests.transport.nats.servers import Admin, Started, speaking, started

PASSWORD = "hunter2"
CERTIFICATE = DATA / "tls" / "localhost.pem"
OPTIONS = "--these and --those"
CLOCK = "the clock of this machine agrees with the server"
NO_TIME = "the server sends no time, so the clocks cannot be compared"


def asked(url: str, user: str | None = None, password: str | None = None, stream: str = "events") -> list[Finding]:
    findings = list(check_nats(ServerAccess(url, user, password), OPTIONS, stream))
    assert PASSWORD not in " ".join(finding.found + finding.remedy for finding in findings)
    return findings


def told(findings: list[Finding]) -> list[str]:
    return [finding.found for finding in findings]


def the_problem(findings: list[Finding]) -> Finding:
    (problem,) = [finding for finding in findings if finding.verdict is Verdict.PROBLEM]
    assert problem.remedy
    return problem


def nobody() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"nats://127.0.0.1:{free.getsockname()[1]}"


def user(name: str = "jane", **permissions: Any) -> dict[str, Any]:
    return {"user": name, "password": PASSWORD, **permissions}


@pytest.fixture(scope="module")
def well() -> Iterator[Started]:
    """A server on which everything is well, and Jane may do all."""
    with started({"jetstream": {}, "authorization": {"users": [user()]}}) as server:
        yield server


class TestASystemThatIsWell:
    def test_is_told_to_be_with_the_state_of_the_stream(self, nats: Nats) -> None:
        with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as hub, hub.start():
            hub.connect()
            hub.publish(Event("one")).result(LIMIT)
        server, letting, jetstream, stream, sequences, clock = asked(nats.url, nats.user, nats.password, nats.stream)
        assert {each.verdict for each in (server, letting, jetstream, stream, sequences, clock)} == {Verdict.OK}
        assert server.found.startswith(f"{nats.url} answers: nats-server 2.")
        assert server.found.endswith(", without TLS")
        assert letting.found == f"the password of {nats.user} is accepted"
        assert jetstream.found == "JetStream is enabled and answers"
        assert stream.found.startswith(f"the stream {nats.stream} exists: 1 events, ")
        assert "Not checked: whether its disk can be written to" in stream.remedy
        assert stream.found.endswith("; replicas: 1")
        assert sequences.found == (
            f"the sequence numbers 1 to 1 of the stream {nats.stream} match: 1 messages and 0 deleted"
        )
        assert clock.found.startswith(CLOCK)

    def test_takes_user_and_password_in_its_address(self, well: Started) -> None:
        found = asked(f"nats://jane:{PASSWORD}@127.0.0.1:{well.port}")
        assert "the password of jane is accepted" in told(found)

    def test_may_make_the_stream_and_is_not_made_to(self, well: Started) -> None:
        found = asked(well.url, "jane", PASSWORD)
        *_, stream, clock = found
        assert stream.verdict is Verdict.NOTE
        assert stream.found == "there is no stream events yet; it can be created"
        assert "`rxhub streams add events`" in stream.remedy
        assert clock.found == NO_TIME
        with Admin(well.url, "jane", PASSWORD) as admin:
            assert admin.ask("STREAM.NAMES")["total"] == 0

    def test_names_the_streams_that_are_there_instead(self, nats: Nats) -> None:
        with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as hub:
            hub.connect()
        found = asked(nats.url, nats.user, nats.password, f"{nats.stream}-other")
        assert nats.stream in found[-2].remedy.partition("Existing streams: ")[2]

    def test_that_asks_for_no_password_proves_none(self) -> None:
        with started({"jetstream": {}}) as server:
            assert "no user and password were given, and the server requires none" in told(asked(server.url))
            assert "the server requires no login, so the password of jane was not checked" in told(
                asked(server.url, "jane", PASSWORD)
            )


class TestAServer:
    def test_where_nobody_listens_cannot_be_reached(self) -> None:
        url = nobody()
        problem = the_problem(asked(url))
        assert problem.found == f"{url} cannot be reached: no server listens there"
        assert "`nats-server -js` starts one" in problem.remedy

    def test_of_an_unknown_name_cannot_be_reached(self) -> None:
        problem = the_problem(asked("nats://nowhere.invalid"))
        assert problem.found == "nats://nowhere.invalid:4222 cannot be reached: the host name is unknown"

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", "the answer is not NATS"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "the answer is not NATS"),
            (b"\x00\x1b[2J" * 100_000, "the answer is not NATS"),
            (b"", "it accepts connections, but did not complete the NATS handshake within 3 s"),
        ],
    )
    def test_that_is_something_else_is_told_so(self, words: bytes, expected: str) -> None:
        with speaking(words) as url:
            problem = the_problem(asked(url))
        assert problem.found.startswith(f"{url} cannot be reached: {expected}")
        assert "port" in problem.remedy

    def test_that_hangs_up_is_told_so(self) -> None:
        with speaking(lambda line: line.close()) as url:
            assert f"{url} cannot be reached: " in the_problem(asked(url)).found

    @pytest.mark.parametrize(
        ("name", "password", "expected", "remedy"),
        [
            (
                "jane",
                "wrong",
                "the password of 'jane' is wrong, or the user does not exist",
                "Check that both belong to this NATS system",
            ),
            (None, None, "the server requires a login", OPTIONS),
            ("jane", None, "the server requires a password for 'jane'", OPTIONS),
            (None, "wrong", "the token is wrong", OPTIONS),
        ],
    )
    def test_refuses_who_has_not_the_right_password(
        self, well: Started, name: str | None, password: str | None, expected: str, remedy: str
    ) -> None:
        problem = the_problem(asked(well.url, name, password))
        assert problem.found == f"{well.url} answers, but rejects the connection: {expected}"
        assert remedy in problem.remedy

    def test_without_tls_is_told_so_before_it_hears_a_password(self, well: Started) -> None:
        problem = the_problem(asked(well.url.replace("nats", "tls"), "jane", PASSWORD))
        assert "the server does not offer TLS; no credentials were sent" in problem.found

    def test_with_a_certificate_of_nobody_known_is_told_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        with started({"tls": {"cert_file": str(CERTIFICATE), "key_file": str(CERTIFICATE)}, "jetstream": {}}) as server:
            problem = the_problem(asked(f"tls://localhost:{server.port}"))
            monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
            well, *_ = asked(f"tls://localhost:{server.port}")
        assert "its certificate is not trusted: " in problem.found
        assert "RXHUB_NATS_CA" in problem.remedy
        assert well.found.endswith(", with TLS")

    @pytest.mark.parametrize("url", ["nats://", "nats://a/b", "nats://one,tls://[", "nats://h:port"])
    def test_is_named_by_an_address(self, url: str) -> None:
        assert "nats://one,two,three" in the_problem(asked(url)).remedy

    def test_of_several_that_is_away_is_named_and_the_others_are_asked(self, well: Started) -> None:
        away = nobody()
        found = asked(f"{away},{well.url}", "jane", PASSWORD)
        problem = the_problem(found)
        assert problem.found == f"{away} cannot be reached: no server listens there"
        assert problem.remedy.endswith("Meanwhile, hubs use the other servers.")
        assert "JetStream is enabled and answers" in told(found)

    def test_of_several_that_are_all_away_is_told_of_each(self) -> None:
        found = asked(f"{nobody()},{nobody()}")
        assert [finding.verdict for finding in found] == [Verdict.PROBLEM] * 2
        assert not any("meanwhile" in finding.remedy for finding in found)


class TestJetStream:
    def test_that_is_switched_off_is_a_problem(self) -> None:
        with started({}) as server:
            problem = the_problem(asked(server.url))
        assert problem.found == "JetStream is not enabled, or has no leader"
        assert "-js" in problem.remedy

    def test_that_the_account_lacks_is_a_problem(self) -> None:
        with started({"jetstream": {}, "accounts": {"A": {"users": [user()]}}}) as server:
            problem = the_problem(asked(server.url, "jane", PASSWORD))
        assert problem.found == "JetStream is not enabled for the account of this user"

    def test_of_an_account_that_may_have_no_more_streams(self) -> None:
        account = {"jetstream": {"max_streams": 0}, "users": [user()]}
        with started({"jetstream": {}, "accounts": {"A": account}}) as server:
            problem = the_problem(asked(server.url, "jane", PASSWORD))
        assert problem.found.startswith("there is no stream events, and its account has reached its limit of 0 streams")

    def test_that_a_user_may_not_ask_or_not_make_a_stream(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(doctor_nats, "_TIMEOUT_S", 0.5)
        users = [
            user("stranger", permissions={"publish": ["nothing"]}),
            user("reader", permissions={"publish": ["$JS.API.STREAM.INFO.*"]}),
        ]
        with started({"jetstream": {}, "authorization": {"users": users}}) as server:
            stranger = the_problem(asked(server.url, "stranger", PASSWORD))
            reader = the_problem(asked(server.url, "reader", PASSWORD))
        assert stranger.found == "this user has no permission to read the stream events"
        assert reader.found == "there is no stream events, and this user has no permission to create it"


class TestAStream:
    def test_that_rxhub_has_not_made_is_a_problem(self, well: Started) -> None:
        with Admin(well.url, "jane", PASSWORD) as admin:
            admin.ask("STREAM.CREATE.strange", {"name": "strange", "subjects": ["strange.>"], "retention": "workqueue"})
            admin.ask("STREAM.CREATE.other", {"name": "other", "subjects": ["other"]})
        assert "confirms nothing" in the_problem(asked(well.url, "jane", PASSWORD, "strange")).found
        problem = the_problem(asked(well.url, "jane", PASSWORD, "other"))
        assert problem.found.startswith("The stream other was not made by rxhub: it does not store other.event.>")

    @pytest.mark.parametrize("name", ["", "a b", "x.y", "events-dead"])
    def test_has_a_name_that_streams_may_have(self, name: str) -> None:
        assert "--stream" in the_problem(asked("nats://127.0.0.1:1", stream=name)).remedy

    @pytest.mark.parametrize(("hours", "way"), [(1, "ahead of"), (-1, "behind")])
    def test_tells_by_its_time_whether_the_clock_is_off(
        self, nats: Nats, monkeypatch: pytest.MonkeyPatch, hours: int, way: str
    ) -> None:
        with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as hub:
            hub.connect()
        here = doctor_nats.time
        monkeypatch.setattr(doctor_nats, "time", lambda: here() + 3600 * hours)
        problem = the_problem(asked(nats.url, nats.user, nats.password, nats.stream))
        assert problem.found.startswith("the clock of this machine is 3")
        assert problem.found.endswith(f" s {way} the server")


class TestSequenceNumbers:
    @pytest.mark.parametrize("deleted", [(), (1,), (3,), (2, 3), (1, 2, 3, 4)])
    def test_of_a_stream_match_whatever_was_deleted(self, well: Started, deleted: tuple[int, ...]) -> None:
        with Admin(well.url, "jane", PASSWORD) as admin:
            admin.ask("STREAM.CREATE.numbers", {"name": "numbers", "subjects": ["numbers"]})
            try:
                assert list(check_sequences("numbers", admin.ask("STREAM.INFO.numbers")["state"])) == []
                for _ in range(4):
                    admin.store("numbers", b"")
                for number in deleted:
                    admin.ask("STREAM.MSG.DELETE.numbers", {"seq": number})
                state = admin.ask("STREAM.INFO.numbers")["state"]
            finally:
                admin.ask("STREAM.DELETE.numbers")
        found = list(check_sequences("numbers", state))
        assert [finding.verdict for finding in found] == [Verdict.OK][: 4 - len(deleted)]
        wrong = list(check_sequences("numbers", {**state, "messages": state["messages"] + 1}))
        assert the_problem(wrong).found.startswith(f"the stream numbers reports {5 - len(deleted)} messages and ")

    def test_name_the_messages_that_the_disk_has_lost(self) -> None:
        state = {"messages": 3, "first_seq": 1, "last_seq": 5, "num_deleted": 2, "lost": {"msgs": [2, 3], "bytes": 80}}
        problem, ok = check_sequences("events", state)
        assert problem.found == "the stream events has lost 2 messages: NATS could not read them from its disk"
        assert ok.verdict is Verdict.OK


def doctor(*arguments: str, without: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("FTRACK_", "RXHUB_"))}
    code = f"import sys; sys.modules[{without!r}] = None; from rxhub.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code] if without else COMMAND
    return subprocess.run(
        [*command, "doctor", *arguments],
        env={**clean, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


VARIABLES = [
    ("FTRACK_SERVER", "RXHUB_NATS_USER", "RXHUB_NATS_PASSWORD"),
    ("RXHUB_NATS", "RXHUB_NATS_USER", "RXHUB_NATS_PASSWORD"),
]


class TestTheCommand:
    @pytest.mark.parametrize("names", VARIABLES)
    def test_takes_the_variables_of_the_other_commands(self, well: Started, names: tuple[str, str, str]) -> None:
        ran = doctor(**dict(zip(names, (well.url, "jane", PASSWORD), strict=True)))
        assert (ran.returncode, ran.stderr) == (0, "")
        assert "ok       the password of jane is accepted\n" in ran.stdout
        assert "no server was checked" not in ran.stdout
        assert PASSWORD not in ran.stdout

    def test_sends_no_key_of_ftrack_to_nats(self, well: Started) -> None:
        ran = doctor(FTRACK_SERVER=well.url, FTRACK_API_USER="jane", FTRACK_API_KEY=PASSWORD)
        assert ran.returncode == 1
        assert "rejects the connection: the server requires a login\n" in ran.stdout
        assert PASSWORD not in ran.stdout

    @pytest.mark.parametrize("options", [("--server", "--user", "--key"), ("--nats", "--nats-user", "--nats-password")])
    def test_names_its_own_options_where_nothing_was_given(self, well: Started, options: tuple[str, ...]) -> None:
        ran = doctor(options[0], well.url)
        assert ran.returncode == 1
        assert "rejects the connection: the server requires a login\n" in ran.stdout
        assert f"Use {options[1]} and {options[2]}" in ran.stdout
        assert doctor(options[0], well.url, options[1], "jane", options[2], PASSWORD).returncode == 0

    def test_looks_at_both_kinds_of_server_in_one_go(self, well: Started) -> None:
        ran = doctor("--server", "http://127.0.0.1:1", "--nats", f"nats://jane:{PASSWORD}@127.0.0.1:{well.port}")
        assert ran.returncode == 1
        assert "http://127.0.0.1:1 cannot be reached" in ran.stdout
        assert "ok       JetStream is enabled and answers\n" in ran.stdout

    def test_says_what_to_install_where_the_client_of_nats_is_missing(self) -> None:
        ran = doctor("--nats", "nats://127.0.0.1:1", without="nats")
        assert (ran.returncode, ran.stderr) == (1, "")
        assert "nats-py is not installed\n         pip install 'rxhub[nats]'\n" in ran.stdout
