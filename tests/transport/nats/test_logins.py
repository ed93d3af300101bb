"""Every kind of login and certificate, on a server that requires it; and what of them is shown."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from rxhub import Event, EventHub
from rxhub.errors import HubConnectionError
from rxhub.server import Backplane
from rxhub.transport.nats import NatsOptions
from tests.threads import LIMIT, until
from tests.transport.nats.identities import Certificates, KeyPair, Operator
from tests.transport.nats.servers import Started, started


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls") / "made")


@pytest.fixture(scope="module")
def operator() -> Operator:
    return Operator()


@pytest.fixture(scope="module")
def operated(operator: Operator) -> Generator[Started]:
    """A server that admits the users of an operator."""
    with started({**operator.settings, "jetstream": {}}) as server:
        yield server


def check(options: NatsOptions | str) -> None:
    """Check that a hub with these options publishes, stores and receives."""
    heard: list[Any] = []
    hub = EventHub(options, "joe")
    with hub, hub.start():
        hub.subscribe("topic=studio.opened", lambda event: heard.append(event.source["user"]["username"]))
        hub.connect()
        hub.publish(Event("studio.opened")).result(LIMIT)
        until(lambda: heard == ["joe"])


def refusal(options: NatsOptions) -> str:
    """The error of a hub that does not connect. It contains no secret of the options, and neither does its cause."""
    hub = EventHub(options)
    with hub, pytest.raises(HubConnectionError) as raised:
        hub.connect()
    return str(raised.value)


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


# Logins


def test_a_credentials_file(operated: Started, operator: Operator, tmp_path: Path) -> None:
    file = written(tmp_path, "joe @ studio.creds", operator.credentials())
    check(NatsOptions(operated.url, credentials=file))
    check(f"{operated.url}?credentials={file}".replace("@", "%40"))
    check(NatsOptions(f"{operated.url}?credentials={str(file).replace('@', '%40')}"))
    file.write_text(operator.credentials().replace("\n", "\r\n"))
    check(NatsOptions(operated.url, credentials=str(file)))


def test_a_jwt_with_its_seed_and_a_bearer_jwt_without(operated: Started, operator: Operator, tmp_path: Path) -> None:
    jwt, seed = operator.user()
    file, key = written(tmp_path, "jwt", jwt + "\n"), written(tmp_path, "key", seed + "\n")
    check(NatsOptions(operated.url, jwt=file, nkey=key))
    assert "Check that the JWT in" in refusal(NatsOptions(operated.url, jwt=file))
    check(NatsOptions(operated.url, jwt=written(tmp_path, "bearer", operator.user(is_bearer=True)[0])))


def test_a_login_that_expires_is_read_again(
    operated: Started, operator: Operator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = written(tmp_path, "joe.creds", operator.credentials(lifetime=2))
    with EventHub(NatsOptions(operated.url, credentials=file)) as hub, hub.start():
        hub.connect()
        file.write_text(operator.credentials())
        until(lambda: "Lost the connection" in caplog.text)
        until(lambda: hub.connected)
        hub.publish(Event("studio.opened")).result(LIMIT)
    assert "eyJ" not in caplog.text


def test_a_login_that_is_not_valid_is_an_error_at_once(tmp_path: Path) -> None:
    operator, revoked = Operator(), tmp_path / "revoked.creds"
    revoked.write_text(operator.credentials())
    operator.revocations[operator.latest_user.public] = int(time.time()) + 60
    expired = written(tmp_path, "expired.creds", operator.credentials(lifetime=-60))
    foreign = written(tmp_path, "foreign.creds", Operator().credentials())
    with started({**operator.settings, "jetstream": {}}) as server:
        for file in (revoked, expired, foreign):
            assert f"the credentials file '{file}' has not expired and was not revoked" in refusal(
                NatsOptions(server.url, credentials=file)
            )


def test_a_hub_reconnects_when_a_revoked_login_was_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    operator, file = Operator(), tmp_path / "joe.creds"
    file.write_text(operator.credentials())
    with started({**operator.settings, "jetstream": {}}) as server:
        hub = EventHub(NatsOptions(server.url, credentials=file))
        hub.connect()
    operator.revocations[operator.latest_user.public] = int(time.time()) + 60
    with hub, started({**operator.settings, "jetstream": {}}, server.port):
        # The refused connection is logged first, then the rejected login.
        until(lambda: "was not revoked" in caplog.text)
        published = hub.publish(Event("studio.opened"))
        file.write_text(operator.credentials())
        published.result(LIMIT)
    assert not re.search("eyJ|SU[A-Z2-7]{20}", caplog.text)


def test_an_nkey(tmp_path: Path) -> None:
    key, other = KeyPair(), KeyPair()
    with started({"authorization": {"users": [{"nkey": key.public}]}, "jetstream": {}}) as server:
        check(NatsOptions(server.url, nkey=written(tmp_path, "key", f"{key.seed}\n")))
        file = written(tmp_path, "other", other.seed)
        assert f"Check that the NKEY in '{file}' is correct" in refusal(NatsOptions(server.url, nkey=file))


def test_a_token() -> None:
    with started({"authorization": {"token": "sesame & co"}, "jetstream": {}}) as server:
        check(NatsOptions(server.url, token="sesame & co"))
        check(server.url.replace("//", "//sesame%20&%20co@"))
        assert "sesame" not in refusal(NatsOptions(server.url, token="sesam"))


def test_a_backplane_takes_the_same_options(operated: Started, operator: Operator, tmp_path: Path) -> None:
    file = written(tmp_path, "joe.creds", operator.credentials())
    assert repr(Backplane(NatsOptions(operated.url, credentials=file))) == f"<Backplane 'events' at {operated.url}>"


# TLS


@pytest.mark.parametrize("scheme", ["nats", "tls"])
def test_an_own_authority_and_a_client_certificate(tls: Certificates, scheme: str) -> None:
    with started({**tls.settings(verify=True), "jetstream": {}}) as server:
        url = server.url.replace("nats", scheme)
        check(NatsOptions(url, ca=tls.ca, certificate=tls.client, private_key=tls.client_key))
        check(f"{url}?ca={tls.ca}&certificate={tls.client}&private_key={tls.client_key}")
        assert "a client certificate: NatsOptions(certificate=FILE)" in refusal(NatsOptions(url, ca=tls.ca))
        assert "Give the certificate authority" in refusal(
            NatsOptions(url, certificate=tls.client, private_key=tls.client_key)
        )


def test_a_client_certificate_as_the_login(tls: Certificates) -> None:
    users = {"users": [{"user": "CN=client"}]}
    with started({**tls.settings(verify_and_map=True), "authorization": users, "jetstream": {}}) as server:
        both = tls.client.with_name("both.pem")
        both.write_text(tls.client.read_text() + tls.client_key.read_text())
        check(NatsOptions(server.url, ca=tls.ca, certificate=both))


def test_tls_first(tls: Certificates, operator: Operator, tmp_path: Path) -> None:
    with started({**tls.settings(), **operator.settings, "jetstream": {}}, tls_first=True) as server:
        file = written(tmp_path, "joe.creds", operator.credentials())
        check(NatsOptions(server.url, ca=tls.ca, tls_first=True, credentials=file))


@pytest.mark.parametrize("kind", ["ca", "certificate"])
def test_a_certificate_requires_encryption_and_no_login_is_sent_without(
    tls: Certificates, operated: Started, operator: Operator, tmp_path: Path, kind: str
) -> None:
    file = written(tmp_path, "joe.creds", operator.credentials())
    given: dict[str, Any] = (
        {"ca": tls.ca} if kind == "ca" else {"certificate": tls.client, "private_key": tls.client_key}
    )
    options = NatsOptions(operated.url, credentials=file, **given)
    assert options.servers == (operated.url.replace("nats:", "tls:"),)
    assert "it does not offer TLS, so nothing was sent" in refusal(options)


def test_a_certificate_of_the_server_that_is_not_valid(tmp_path: Path, tls: Certificates) -> None:
    other = Certificates(tmp_path / "other")
    for certificate, ca, remedy in (
        (tls.sign("elsewhere", "127.0.0.2"), tls.ca, "Connect to a name that is in the certificate"),
        (tls.sign("late", days=-1), tls.ca, "Renew the certificate of the server"),
        (tls.sign("other"), other.ca, f"Check that '{other.ca}' contains the authority"),
        (tls.sign("other"), None, "Give the certificate authority"),
    ):
        files = {"cert_file": str(certificate[0]), "key_file": str(certificate[1])}
        with started({"tls": files, "jetstream": {}}) as server:
            assert remedy in refusal(NatsOptions(server.url, ca=ca))


def test_a_client_certificate_that_the_server_does_not_trust(tmp_path: Path, tls: Certificates) -> None:
    other = Certificates(tmp_path / "other")
    with started({**tls.settings(verify=True), "jetstream": {}}) as server:
        told = refusal(NatsOptions(server.url, ca=tls.ca, certificate=other.client, private_key=other.client_key))
    assert f"may reject the client certificate '{other.client}'" in told


def test_tls_first_must_be_that_of_the_server(tls: Certificates, operated: Started) -> None:
    for url in (operated.url, operated.url.replace("nats:", "tls:")):
        assert "remove tls_first" in refusal(NatsOptions(url, tls_first=True))
    with started({**tls.settings(), "jetstream": {}}, tls_first=True) as server:
        assert "set tls_first" in refusal(NatsOptions(server.url, ca=tls.ca))


def test_a_hub_reconnects_when_the_authority_was_replaced(
    tmp_path: Path, tls: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    other, ca = Certificates(tmp_path / "other"), written(tmp_path, "ca.pem", tls.ca.read_text())
    with started({**tls.settings(), "jetstream": {}}) as server:
        hub = EventHub(NatsOptions(server.url, ca=ca))
        hub.connect()
    with hub, started({**other.settings(), "jetstream": {}}, server.port):
        until(lambda: f"Check that '{ca}' contains the authority" in caplog.text)
        ca.write_text(other.ca.read_text())
        hub.publish(Event("studio.opened")).result(LIMIT)
    assert "eof_received" not in caplog.text


def test_a_login_that_is_rejected_over_tls_logs_nothing_of_asyncio(
    tls: Certificates, operator: Operator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = written(tmp_path, "foreign.creds", Operator().credentials())
    with started({**tls.settings(), **operator.settings, "jetstream": {}}) as server:
        assert "was not revoked" in refusal(NatsOptions(server.url, ca=tls.ca, credentials=file))
    assert "eof_received" not in caplog.text


# Several servers


def test_a_hub_goes_on_at_another_server(operator: Operator, tmp_path: Path, tls: Certificates) -> None:
    """Two servers of one operator that share no stream: each stores what it is sent."""
    settings = {**operator.settings, **tls.settings(), "jetstream": {}}
    with ExitStack() as stack:
        servers = [stack.enter_context(started(settings)) for _ in range(2)]
        file = written(tmp_path, "joe.creds", operator.credentials())
        options = NatsOptions([server.url for server in servers], credentials=file, ca=tls.ca)
        with EventHub(options) as hub, hub.start():
            hub.connect()
            for server in servers:
                # Whichever it has chosen: it is on the other one afterwards, or stays.
                server.process.kill()
                server.process.wait(LIMIT)
                if server is servers[0]:
                    until(lambda: hub.connected)
                    hub.publish(Event("studio.opened")).result(LIMIT)
        assert refusal(options).count("connection refused") == 2


# What is shown


SECRETS = ("hunter2-password", "sesame-token")


@pytest.mark.parametrize(
    "make",
    [
        lambda folder, seed, jwt: NatsOptions("nats://127.0.0.1:1", "joe", "hunter2-password"),
        lambda folder, seed, jwt: NatsOptions("nats://127.0.0.1:1", token="sesame-token"),
        lambda folder, seed, jwt: NatsOptions("nats://joe:hunter2-password@127.0.0.1:1,nats://127.0.0.1:2"),
        lambda folder, seed, jwt: NatsOptions("nats://127.0.0.1:1", nkey=written(folder, "key", seed)),
        lambda folder, seed, jwt: NatsOptions("nats://127.0.0.1:1", nkey=written(folder, "key", seed[:-9])),
        lambda folder, seed, jwt: NatsOptions("nats://127.0.0.1:1", nkey=written(folder, "key", seed.lower())),
        lambda folder, seed, jwt: NatsOptions("nats://127.0.0.1:1", nkey=written(folder, "key", f"SO{seed[2:]}")),
        lambda folder, seed, jwt: NatsOptions("nats://127.0.0.1:1", nkey=seed),
        lambda folder, seed, jwt: NatsOptions("nats://127.0.0.1:1", nkey=seed[:40]),
        lambda folder, seed, jwt: NatsOptions("nats://127.0.0.1:1", jwt=jwt),
        lambda folder, seed, jwt: NatsOptions("nats://127.0.0.1:1", jwt=written(folder, "jwt", f"{jwt}\n{jwt}")),
        lambda folder, seed, jwt: NatsOptions(
            "nats://127.0.0.1:1", credentials=f"-----BEGIN NATS USER JWT-----\n{jwt}"
        ),
        lambda folder, seed, jwt: NatsOptions("nats://127.0.0.1:1", credentials=written(folder, "creds", jwt + seed)),
        lambda folder, seed, jwt: NatsOptions("nats://127.0.0.1:1", certificate=written(folder, "pem", jwt + seed)),
        lambda folder, seed, jwt: NatsOptions("nats://127.0.0.1:1", ca=written(folder, "pem", jwt + seed)),
        lambda folder, seed, jwt: NatsOptions(f"nats://127.0.0.1:1?nkey={seed}"),
    ],
)
def test_no_secret_is_shown(
    make: Callable[[Path, str, str], NatsOptions],
    operator: Operator,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    jwt, seed = operator.user()
    options = make(tmp_path, seed, jwt)
    hub = EventHub(options)
    with hub, pytest.raises(HubConnectionError) as raised:
        hub.connect()
    error: BaseException | None = raised.value
    shown = [
        caplog.text,
        repr(options),
        str(options),
        options.login,
        repr(hub),
        str(hub.describe()),
        hub.get_server_url(),
    ]
    while error is not None:
        shown += [str(error), repr(error)]
        error = error.__cause__ or error.__context__
    for text in shown:
        assert not any(secret in text for secret in (*SECRETS, seed[:20], seed[-20:], jwt[:20], jwt[-20:])), text


@pytest.mark.parametrize(
    "content", ["", "nothing", "-----BEGIN NATS USER JWT-----", "\xff\x00", "-----BEGIN USER NKEY SEED-----\nSUA\n"]
)
def test_a_file_without_a_login_is_an_error_at_once(content: str, tmp_path: Path) -> None:
    file = written(tmp_path, "x", content)
    for kind in ("credentials", "nkey", "jwt"):
        assert f"{file}' does not contain" in refusal(NatsOptions("nats://127.0.0.1:1", **{kind: file}))
    assert "not valid PEM" in refusal(NatsOptions("nats://127.0.0.1:1", ca=file))


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path, tls: Certificates) -> None:
    for kind in ("credentials", "nkey", "jwt", "ca", "certificate"):
        told = refusal(NatsOptions("nats://127.0.0.1:1", **{kind: tmp_path / "x"}))
        assert f"{tmp_path / 'x'}' cannot be read: No such file or directory." in told


def test_an_encrypted_private_key_asks_for_no_password(tmp_path: Path, tls: Certificates) -> None:
    import subprocess

    encrypted = tmp_path / "encrypted.key"
    command = ["openssl", "ec", "-aes256", "-passout", "pass:x", "-in", str(tls.client_key), "-out", str(encrypted)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    told = refusal(NatsOptions("nats://127.0.0.1:1", certificate=tls.client, private_key=encrypted))
    assert "must not be encrypted" in told
