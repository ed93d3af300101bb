"""Who a command connects as: what is typed takes precedence, and ftrack's key is sent to no NATS server."""

from __future__ import annotations

import os

import pytest

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
        ("https://host", "jane", None, ("jane", "ftrack-key")),
        ("https://host", "jane", "typed", ("jane", "typed")),
        ("https://joe:in%20url@host", None, None, ("joe", "in url")),
        ("https://joe:in-url@host", "jane", "typed", ("jane", "typed")),
        ("nats://host", None, None, ("nats", "nats-password")),
        ("tls://one,two", None, None, ("nats", "nats-password")),
        ("nats://one,nats://two", "jane", "typed", ("jane", "typed")),
        ("nats://host", "jane", None, ("jane", "nats-password")),
        ("nats://joe:in-url@host", None, None, (None, None)),
        ("nats://joe:in-url@host", "jane", "typed", ("jane", "typed")),
        ("nats://token@host", None, None, (None, None)),
        ("memory://", None, None, (None, None)),
        ("nonsense", None, None, (None, None)),
    ],
)
def test_options_come_before_the_url_and_the_url_before_the_variables_of_its_scheme(
    monkeypatch: pytest.MonkeyPatch,
    url: str,
    user: str | None,
    secret: str | None,
    expected: tuple[str | None, str | None],
) -> None:
    for name, value in (FTRACK | NATS).items():
        monkeypatch.setenv(name, value)
    assert credentials(url, user, secret) == expected


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTRACK_API_USER", "")
    monkeypatch.delenv("FTRACK_API_KEY", raising=False)
    assert credentials("http://host", None, None) == (None, None)


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
    server = stream.url.replace("://", "://somebody:else@")
    options = ["--server", server, "--user", stream.user, "--key", stream.password, "--stream", stream.stream]
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
