"""Who a command connects as: what is typed takes precedence, and ftrack's key is sent to no NATS server."""

from __future__ import annotations

import os

import pytest
import typer

from rxhub import EventHub
from rxhub.cli.credentials import credentials
from rxhub.server import Running
from rxhub.testing import Nats
from tests.cli.terminal import rxhub

FTRACK = {"FTRACK_API_USER": "ftrack", "FTRACK_API_KEY": "ftrack-key"}
NATS = {"RXHUB_NATS_USER": "nats", "RXHUB_NATS_PASSWORD": "nats-password"}


@pytest.mark.parametrize(
    ("url", "user", "secret", "expected"),
    [
        ("http://host", None, None, ("ftrack", "ftrack-key")),
        ("HTTPS://host", None, None, ("ftrack", "ftrack-key")),
        ("https://host", "", "", ("ftrack", "ftrack-key")),
        ("https://host", "jane", "typed", ("jane", "typed")),
        ("https://host", "ftrack", None, ("ftrack", "ftrack-key")),
        ("https://ftrack@host", None, None, ("ftrack", "ftrack-key")),
        ("https://joe:in%20url@host", None, None, ("joe", "in url")),
        ("https://joe:in-url@host", "joe", None, ("joe", "in-url")),
        ("https://joe:in-url@host", "joe", "in-url", ("joe", "in-url")),
        ("https://joe@host", None, "typed", ("joe", "typed")),
        ("nats://host", None, None, ("nats", "nats-password")),
        ("tls://one,two", None, None, ("nats", "nats-password")),
        ("nats://one,nats://two", "jane", "typed", ("jane", "typed")),
        ("nats://host", "nats", None, ("nats", "nats-password")),
        ("nats://joe:in-url@host", None, None, ("joe", "in-url")),
        ("nats://joe:in-url@one,nats://two", None, None, ("joe", "in-url")),
        ("nats://token@host", None, None, (None, "token")),
        ("nats://token@host", None, "token", (None, "token")),
        ("memory://", None, None, (None, None)),
        ("nonsense", None, None, (None, None)),
    ],
)
def test_the_command_line_comes_before_the_variables_of_the_scheme(
    every_variable: None, url: str, user: str | None, secret: str | None, expected: tuple[str | None, str | None]
) -> None:
    access = credentials(url, user, secret)
    assert access[1:] == expected and "@" not in access.url


@pytest.mark.parametrize(
    ("url", "user", "secret"),
    [
        ("http://joe@host", None, None),
        ("http://host", "joe", None),
        ("http://host", None, "typed"),
        ("nats://host", "joe", None),
        ("nats://host", None, "typed"),
    ],
)
def test_half_of_a_pair_is_not_completed_from_another_source(
    every_variable: None, url: str, user: str | None, secret: str | None
) -> None:
    with pytest.raises(typer.BadParameter, match=r"is not used\. Give both --user and --key, or neither"):
        credentials(url, user, secret)


@pytest.mark.parametrize(
    ("url", "user", "secret"),
    [("http://joe@host", "joe", None), ("nats://host", "joe", None), ("nats://host", None, "typed")],
)
def test_half_of_a_pair_is_taken_if_nothing_could_complete_it(
    no_variable: None, url: str, user: str | None, secret: str | None
) -> None:
    assert credentials(url, user, secret)[1:] == (user, secret)


@pytest.mark.parametrize(
    ("url", "user", "secret", "complaint"),
    [
        ("http://joe:in-url@host", "jane", None, "a different value"),
        ("http://joe:in-url@host", None, "typed", "a different value"),
        ("nats://joe:in-url@host", "jane", "typed", "a different value"),
        ("nats://joe:in-url@one,two", "jane", None, "a different value"),
        ("nats://joe@host", None, "typed", "a name without a password is a token"),
        ("nats://joe@host", "joe", "typed", "a name without a password is a token"),
    ],
)
def test_options_that_contradict_a_typed_url_are_an_error(
    no_variable: None, url: str, user: str | None, secret: str | None, complaint: str
) -> None:
    with pytest.raises(typer.BadParameter, match=complaint) as raised:
        credentials(url, user, secret)
    assert "Give --user and --key with a URL that has neither" in str(raised.value)
    assert "in-url" not in str(raised.value) and "typed" not in str(raised.value)


@pytest.mark.parametrize(
    ("variable", "scheme", "others"), [("FTRACK_SERVER", "https", FTRACK), ("RXHUB_NATS", "nats", NATS)]
)
def test_a_url_in_a_variable_comes_after_the_options_and_before_the_other_variables(
    no_variable: None, monkeypatch: pytest.MonkeyPatch, variable: str, scheme: str, others: dict[str, str]
) -> None:
    url = f"{scheme}://joe:in-url@host"
    for name, value in (others | {variable: url}).items():
        monkeypatch.setenv(name, value)
    assert credentials(url, None, None) == (f"{scheme}://host", "joe", "in-url")
    assert credentials(url, "joe", None) == (f"{scheme}://host", "joe", "in-url")
    assert credentials(url, "jane", "typed") == (f"{scheme}://host", "jane", "typed")
    with pytest.raises(typer.BadParameter, match=f"the URL in {variable}"):
        credentials(url, "jane", None)


def test_an_empty_variable_counts_as_unset(no_variable: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTRACK_API_USER", "")
    assert credentials("http://host", None, None) == ("http://host", None, None)


@pytest.fixture
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in {*os.environ} - {*without_variables()}:
        monkeypatch.delenv(name)


@pytest.fixture
def every_variable(no_variable: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (FTRACK | NATS).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def stream(nats: Nats) -> Nats:
    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as hub:
        hub.connect()
    return nats


def typed(nats: Nats) -> str:
    return nats.url.replace("://", f"://{nats.user}:{nats.password}@")


@pytest.mark.parametrize("command", ["publish", "listen", "doctor", "replay", "streams", "dead", "streams add"])
@pytest.mark.parametrize("variables", [FTRACK, NATS, FTRACK | NATS], ids=["ftrack", "nats", "both"])
def test_a_typed_password_reaches_nats_whatever_the_environment_says(
    stream: Nats, command: str, variables: dict[str, str]
) -> None:
    server, name = typed(stream), stream.stream
    arguments = {
        "publish": ["studio.hello", "--server", server, "--stream", name],
        "listen": ["topic=none", "--server", server, "--stream", name, "--timeout", "0"],
        "doctor": ["--server", server, "--nats", server, "--stream", name],
        "replay": ["topic=none", "--nats", server, "--stream", name],
        "streams": ["--nats", server],
        "dead": ["list", "--nats", server, "--stream", name],
        "streams add": [name, "--nats", server],
    }[command]
    ran = rxhub(*command.split(), *arguments, env=without_variables() | variables)
    assert b"refused" not in ran.stdout + ran.stderr and b"let us in" not in ran.stdout + ran.stderr
    assert ran.returncode in (0, 1), ran.stderr


@pytest.mark.parametrize("variables", [{}, NATS], ids=["without", "with others"])
def test_options_reach_nats(stream: Nats, variables: dict[str, str]) -> None:
    options = ["--server", stream.url, "--user", stream.user, "--key", stream.password, "--stream", stream.stream]
    ran = rxhub("publish", "studio.hello", *options, env=without_variables() | FTRACK | variables)
    assert ran.returncode == 0, ran.stderr


def test_the_variables_of_nats_reach_nats_beside_those_of_ftrack(stream: Nats) -> None:
    own = {"RXHUB_NATS_USER": stream.user, "RXHUB_NATS_PASSWORD": stream.password}
    environment = without_variables() | FTRACK | own
    ran = rxhub("publish", "studio.hello", "--server", stream.url, "--stream", stream.stream, env=environment)
    assert ran.returncode == 0, ran.stderr


def test_a_url_with_a_user_reaches_an_event_server(server: Running) -> None:
    where = server.url.replace("://", f"://{server.api_user}:{server.api_key}@")
    ran = rxhub("publish", "studio.hello", "--server", where, env=without_variables() | FTRACK | NATS)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("command", ["publish", "listen", "doctor", "bridge", "replay", "streams", "dead", "serve"])
def test_no_command_sends_a_typed_user_with_another_users_key(command: str) -> None:
    web, nats = "http://joe@127.0.0.1:1", "nats://127.0.0.1:1"
    arguments = {
        "publish": ["studio.hello", "--server", web],
        "listen": ["topic=none", "--server", web],
        "doctor": ["--nats", nats, "--nats-user", "joe"],
        "bridge": [web, nats],
        "replay": ["topic=none", "--nats", nats, "--nats-user", "joe"],
        "streams": ["--nats", nats, "--nats-user", "joe"],
        "dead": ["list", "--nats", nats, "--nats-user", "joe"],
        "serve": ["--nats", nats, "--nats-user", "joe", "--port", "0"],
    }[command]
    ran = rxhub(*command.split(), *arguments, env=without_variables() | FTRACK | NATS | {"COLUMNS": "300"})
    assert ran.returncode == 2 and b"is not used" in ran.stderr, ran.stderr


def test_the_library_reads_no_variables(monkeypatch: pytest.MonkeyPatch, server: Running) -> None:
    monkeypatch.setenv("FTRACK_SERVER", server.url)
    monkeypatch.setenv("FTRACK_API_USER", server.api_user)
    monkeypatch.setenv("FTRACK_API_KEY", server.api_key)
    with EventHub() as hub:
        assert hub.get_server_url().startswith("memory://")
    with EventHub(server.url) as hub, pytest.raises(ConnectionError):
        hub.connect()


def without_variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("FTRACK_", "RXHUB_"))}
