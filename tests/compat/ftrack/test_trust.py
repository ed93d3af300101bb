"""Custom certificate authorities, and programs that access the fields of events."""

from __future__ import annotations

import copy
import pickle
import ssl
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.compat.ftrack.judged import BOTH, OURS
from tests.transport.socketio.server import Server

TLS = Path(__file__).parents[2] / "data" / "tls"
CERTIFICATE = TLS / "localhost.pem"
# The authority's certificate, and a key with a certificate for localhost that it signed.
AUTHORITY, SIGNED = TLS / "authority.pem", TLS / "signed.pem"
NAMES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "WEBSOCKET_CLIENT_CA_BUNDLE", "SSL_CERT_FILE")


@pytest.fixture
def secure(monkeypatch: pytest.MonkeyPatch) -> Generator[str]:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    with Server(tls=context) as server:
        yield f"https://localhost:{server.port}"


def connect(url: str) -> bool:
    hub = OURS.EventHub(url, "me", "key")
    try:
        hub.connect()
        return hub.connected
    finally:
        hub.close()


@pytest.mark.parametrize("name", NAMES)
def test_an_authority_is_trusted_that_a_variable_names(secure: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OURS.exception.EventHubConnectionError, match="not trusted"):
        connect(secure)
    monkeypatch.setenv(name, str(CERTIFICATE))
    assert connect(secure)


def test_each_step_has_its_variable_and_ssl_cert_file_counts_beside_them(
    secure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = ssl.get_default_verify_paths().openssl_cafile
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    monkeypatch.setenv("WEBSOCKET_CLIENT_CA_BUNDLE", str(CERTIFICATE))
    assert connect(secure)
    if Path(other).is_file():
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", other)
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        assert connect(secure)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("as_directory", [False, True])
def test_a_certificate_is_trusted_that_an_authority_signed(
    name: str, as_directory: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable in NAMES:
        monkeypatch.delenv(variable, raising=False)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(SIGNED)
    # OpenSSL finds an authority in a directory by the hash of its name: `openssl x509 -hash`.
    (tmp_path / "ad2eed13.0").write_bytes(AUTHORITY.read_bytes())
    is_file_alone = name == "SSL_CERT_FILE"
    with Server(tls=context) as server:
        url = f"https://localhost:{server.port}"
        monkeypatch.setenv(name, str(CERTIFICATE))
        with pytest.raises(OURS.exception.EventHubConnectionError, match="not trusted"):
            connect(url)
        monkeypatch.setenv(name, str(tmp_path if as_directory and not is_file_alone else AUTHORITY))
        assert connect(url)


def test_a_bundle_that_is_not_there_is_named(secure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    with pytest.raises(OURS.exception.EventHubConnectionError, match=r"REQUESTS_CA_BUNDLE .*/nowhere\.pem"):
        connect(secure)


def made(side: Any) -> Any:
    class Mine(side.Event):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self._data["mine"] = True
            self.extra = [1]

    return Mine("a", id="1", data={"n": 1})


def test_vars_of_an_event_are_as_with_ftracks() -> None:
    theirs, ours = [vars(made(side)) for side in BOTH]
    assert {**ours, "_data": dict(ours["_data"])} == theirs
    (plain,) = [vars(OURS.Event("a"))["_data"]]
    assert len(plain["id"]) == 32
    event = OURS.Event("a")
    event._data = {"topic": "b", "id": "2"}
    assert dict(event) == {"topic": "b", "id": "2"} and vars(event)["_data"] is event._data
    vars(event)["_data"]["topic"] = "c"
    assert event["topic"] == event.topic == "c"
    event.stop()
    assert vars(event)["_stopped"] is True


def test_an_event_from_the_wire_has_them_too() -> None:
    event = OURS.Event.from_wire({"topic": "a"})
    assert event._data["topic"] == "a" and len(event._data["id"]) == 32
    assert event._data is vars(event)["_data"]


def test_copies_are_of_the_same_class_and_independent() -> None:
    event = made(OURS)
    for twin in (copy.copy(event), copy.deepcopy(event)):
        assert type(twin) is type(event) and dict(twin) == dict(event) and twin.extra == [1]
        twin["topic"] = "other"
        assert event["topic"] == "a"
    plain = pickle.loads(pickle.dumps(OURS.Event("a", data={"n": 1})))
    assert type(plain) is OURS.Event and vars(plain)["_data"]["data"] == {"n": 1}
