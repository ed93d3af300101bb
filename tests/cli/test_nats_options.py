"""Every command that connects to NATS takes each kind of login from options, the URL, variables and a file."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

import pytest
import typer

from rxhub import EventHub
from rxhub.cli.credentials import NATS_OPTIONS, ServerAccess, credentials
from rxhub.cli.nats_options import NO_FILES, NatsFiles
from rxhub.transport.nats import NatsOptions
from tests.cli.terminal import rxhub
from tests.transport.nats.identities import Certificates, Operator
from tests.transport.nats.servers import started

COMMANDS = {
    "publish": ("publish", "studio.hello", "--server", "URL"),
    "listen": ("listen", "topic=none", "--server", "URL", "--timeout", "0"),
    "replay": ("replay", "topic=none", "--nats", "URL"),
    "dead": ("dead", "list", "--nats", "URL"),
    "streams": ("streams", "--nats", "URL"),
    "streams add": ("streams", "add", "events", "--nats", "URL"),
    "streams set": ("streams", "set", "events", "--max-bytes", "10G", "--nats", "URL"),
    "groups": ("groups", "--nats", "URL"),
    "doctor": ("doctor", "--nats", "URL"),
    "doctor of a server": ("doctor", "--server", "URL"),
}


class Studio(NamedTuple):
    """A server with TLS that admits the users of an operator, and the files of one user."""

    url: str
    credentials: Path
    ca: Path
    secret: str


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Generator[Studio]:
    folder = tmp_path_factory.mktemp("studio")
    operator, tls = Operator(), Certificates(folder / "tls")
    text = operator.credentials()
    file = folder / "joe.creds"
    file.write_text(text)
    with started({**operator.settings, **tls.settings(), "jetstream": {}}) as server:
        with EventHub(NatsOptions(server.url, credentials=file, ca=tls.ca)) as hub:
            hub.connect()
        secret = re.search(r"SU[A-Z2-7]{56}", text)
        assert secret is not None
        yield Studio(server.url.replace("nats:", "tls:"), file, tls.ca, secret[0])


def run(*arguments: str, **variables: str) -> None:
    """Run a command that connects, and shows no secret."""
    ran = rxhub(*arguments, env=without_variables() | variables)
    output = (ran.stdout + ran.stderr).decode()
    # Nothing may be found, but the server was asked.
    assert ran.returncode in (0, 1) and "annot connect" not in output and "problem" not in output, output
    assert "eyJ" not in output and "SU" not in output


def without_variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("FTRACK_", "RXHUB_"))}


@pytest.mark.parametrize("command", COMMANDS)
def test_options(studio: Studio, command: str) -> None:
    arguments = [studio.url if each == "URL" else each for each in COMMANDS[command]]
    run(*arguments, "--nats-credentials", str(studio.credentials), "--nats-ca", str(studio.ca))


@pytest.mark.parametrize("command", ["publish", "replay"])
def test_the_url(studio: Studio, command: str) -> None:
    url = f"{studio.url}?credentials={studio.credentials}&ca={studio.ca}"
    run(*[url if each == "URL" else each for each in COMMANDS[command]])


@pytest.mark.parametrize("command", ["publish", "replay"])
def test_variables(studio: Studio, command: str) -> None:
    files = {"RXHUB_NATS_CREDENTIALS": str(studio.credentials), "RXHUB_NATS_CA": str(studio.ca)}
    run(*[studio.url if each == "URL" else each for each in COMMANDS[command]], **files)


@pytest.mark.parametrize("by", ["option", "variable"])
def test_a_file_that_names_the_servers_too(studio: Studio, by: str, tmp_path: Path) -> None:
    file = tmp_path / "nats.toml"
    relative = os.path.relpath(studio.credentials, tmp_path)
    servers = f'servers = ["tls://127.0.0.1:1", "{studio.url}"]'
    file.write_text(f'{servers}\ncredentials = "{relative}"\nca = "{studio.ca}"\n')
    if by == "option":
        run("streams", "--nats-config", str(file))
    else:
        run("replay", "topic=none", RXHUB_NATS_CONFIG=str(file))


# Precedence


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in {*os.environ} - {*without_variables()}:
        monkeypatch.delenv(name)


def files(**given: Path | bool) -> NatsFiles:
    return NatsFiles(**{**NO_FILES.__dict__, **given})


def access(url: str = "nats://h", user: str | None = None, password: str | None = None, **given: Path) -> ServerAccess:
    return credentials(url, user, password, NATS_OPTIONS, files(**given))


def test_a_login_comes_from_the_first_source_and_the_rest_from_the_first_that_has_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    typed, named = tmp_path / "typed.toml", tmp_path / "named.toml"
    tail = f"certificate={tmp_path}/c-named"
    named.write_text('servers = "nats://named"\ntoken = "t-named"\nca = "ca-named"\ncertificate = "c-named"\n')
    monkeypatch.setenv("RXHUB_NATS_CONFIG", str(named))
    assert access("") == (f"tls://named:4222?ca={tmp_path}/ca-named&certificate={tmp_path}/c-named", None, "t-named")
    monkeypatch.setenv("RXHUB_NATS_NKEY", "n-variable")
    monkeypatch.setenv("RXHUB_NATS_CA", "ca-variable")
    assert access() == (f"nats://h?nkey=n-variable&ca=ca-variable&{tail}", None, None)
    monkeypatch.setenv("RXHUB_NATS", "nats://joe:pw@h")
    assert access("nats://joe:pw@h") == (f"nats://h?ca=ca-variable&{tail}", "joe", "pw")
    typed.write_text('servers = "nats://typed"\ncredentials = "k"\n')
    assert access("", config=typed) == (f"nats://typed:4222?credentials={tmp_path}/k&ca=ca-variable&{tail}", None, None)
    assert access("nats://h?jwt=j", config=typed)[0] == f"nats://h?jwt=j&ca=ca-variable&{tail}"
    assert access(nkey=Path("n"), ca=Path("ca"), config=typed)[0] == f"nats://h?nkey=n&ca=ca&{tail}"
    assert access("nats://h", "me", "mine", config=typed)[1:] == ("me", "mine")


def test_the_library_reads_the_same_variables_and_file_in_the_same_order(tmp_path: Path) -> None:
    config = tmp_path / "nats.toml"
    config.write_text('servers = ["nats://one", "nats://two:1"]\nuser = "joe"\npassword = "pw"\ntls_first = true\n')
    variables = {"RXHUB_NATS_CONFIG": str(config)}
    options = NatsOptions.from_environment(variables)
    assert options == NatsOptions("tls://one,two:1", "joe", "pw", tls_first=True) == NatsOptions.load(config)
    assert NatsOptions.from_environment(variables | {"RXHUB_NATS_TOKEN": "t", "RXHUB_NATS_TLS_FIRST": "false"}) == (
        NatsOptions("tls://one,two:1", token="t", tls_first=False)
    )
    variables |= {"RXHUB_NATS": "nats://k@h", "RXHUB_NATS_USER": "", "RXHUB_NATS_PASSWORD": ""}
    assert NatsOptions.from_environment(variables).token == "k"
    assert NatsOptions.from_environment({}) == NatsOptions()


# Errors


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('passwort = "hunter2"', "has the unknown key 'passwort'"),
        ("password = 'hunter2", "is not a valid TOML file"),
        ('user = "joe"\ntoken = "hunter2"', "Several logins were given: user, token"),
        ('user = ["hunter2"]', "The value of user in"),
        ('servers = ["nats://a", 1]\npassword = "hunter2"', "The value of servers in"),
        ('servers = "nats://joe:hunter2@"', "has no host"),
        ('tls_first = "hunter2"', "Use true or false"),
        ("\x00hunter2", "is not a valid TOML file"),
    ],
)
def test_a_mistake_in_a_file_is_reported_without_its_values(text: str, complaint: str, tmp_path: Path) -> None:
    file = tmp_path / "nats.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=complaint) as raised:
        NatsOptions.load(file)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("command", [("streams",), ("replay", "topic=none"), ("serve", "--port", "0"), ("doctor",)])
def test_a_mistake_in_a_file_ends_a_command(command: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "nats.toml"
    file.write_text("password = 'hunter2")
    for options, variables in ([("--nats-config", str(file)), {}], [(), {"RXHUB_NATS_CONFIG": str(file)}]):
        ran = rxhub(*command, *options, env=without_variables() | {"COLUMNS": "300"} | variables)
        assert ran.returncode == 2 and b"is not a valid TOML file" in ran.stderr, ran.stderr
        assert b"hunter2" not in ran.stderr and b"Traceback" not in ran.stderr


def test_several_logins_in_one_place_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(typer.BadParameter, match="has several logins"):
        access("nats://joe:pw@h", credentials=Path("k"))
    with pytest.raises(typer.BadParameter, match="These options are for NATS"):
        access("http://h", credentials=Path("k"))
    with pytest.raises(typer.BadParameter, match="without its certificate"):
        access(private_key=Path("k"))
    monkeypatch.setenv("RXHUB_NATS_USER", "joe")
    monkeypatch.setenv("RXHUB_NATS_PASSWORD", "hunter2")
    monkeypatch.setenv("RXHUB_NATS_CREDENTIALS", "k")
    with pytest.raises(typer.BadParameter, match="Several logins were given: user, credentials") as raised:
        access()
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("command", ["streams", "groups"])
def test_a_missing_file_is_named(command: str) -> None:
    ran = rxhub(command, "--nats-config", "/nowhere/nats.toml", env=without_variables())
    assert (ran.returncode, ran.stderr) == (2, b"rxhub: /nowhere/nats.toml: No such file or directory\n")
