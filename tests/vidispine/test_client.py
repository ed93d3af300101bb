"""Requests to Vidispine, to a real server."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import Response

from rxhub.vidispine import Client, NotConfigured, NotFound, RequestFailed, Unreachable, configure
from rxhub.vidispine import client as client_module
from rxhub.vidispine.client import configured, path
from tests.vidispine.backend import PASSWORD, USERNAME, Backend, drip, flood

segments = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: text not in (".", ".."))


@given(st.lists(segments, min_size=1, max_size=4))
def test_a_path_has_as_many_segments_as_were_given_and_each_reads_the_same(parts: list[str]) -> None:
    made = path(*parts)
    assert [unquote(each) for each in made.split("/")[1:]] == parts
    assert made.isascii() and not set(made) & set(" ?#;\\")


@pytest.mark.parametrize("segment", ["", ".", ".."])
def test_a_segment_that_leads_elsewhere_is_refused(segment: str) -> None:
    with pytest.raises(ValueError, match="is not a valid id or name"):
        path("item", segment, "metadata")


def test_an_id_is_text() -> None:
    with pytest.raises(TypeError, match="An id or name must be a string"):
        path("item", None)  # type: ignore[arg-type]


def test_an_id_arrives_as_the_one_segment_that_it_is(client: Client, backend: Backend) -> None:
    with pytest.raises(NotFound):
        client.get(path("item", "../user/admin?x=1#y;z %2F"))
    assert backend.asked == ["GET /API/item/..%2Fuser%2Fadmin%3Fx%3D1%23y%3Bz%20%252F"]


def test_json_is_decoded_text_is_text_and_nothing_is_none(client: Client, backend: Backend) -> None:
    assert client.get("/item/VX-1") == {"id": "VX-1", "metadata": {"title": ["One"]}}
    backend.answers += [Response("VX-7", media_type="text/plain"), Response()]
    assert client.get("/token") == "VX-7"
    assert client.get("/nothing") is None


def test_the_prefix_is_added_once(url: str) -> None:
    with Client(f"{url}/API/", USERNAME, PASSWORD) as client:
        assert client.get("/item/VX-1")["id"] == "VX-1"


def test_a_request_can_be_made_in_a_users_name(client: Client, backend: Backend) -> None:
    client.get("/item/VX-1", runas="john")
    client.get("/item/VX-1")
    assert [each.headers.get("runas") for each in backend.requests] == ["john", None]
    with pytest.raises(ValueError, match="cannot be sent in the header RunAs"):
        client.get("/item/VX-1", runas="john\r\nX-Evil: 1")


def test_an_error_tells_method_path_status_and_what_was_said(client: Client) -> None:
    with pytest.raises(NotFound) as raised:
        client.get("/item/VX-9")
    error = raised.value
    assert (error.method, error.path, error.status) == ("GET", "/API/item/VX-9", 404)
    assert str(error) == (
        'Vidispine answered GET /API/item/VX-9 with status 404: {"notFound":{"type":"item","id":"VX-9"}}'
    )


def test_an_error_shows_an_excerpt_only(client: Client, backend: Backend) -> None:
    backend.answers.append(Response("x" * 100_000, 500))
    with pytest.raises(RequestFailed) as raised:
        client.get("/item/VX-1")
    assert raised.value.body == "x" * 500


def test_a_redirection_is_an_error_so_that_no_password_goes_elsewhere(client: Client, backend: Backend) -> None:
    backend.answers.append(Response(status_code=302, headers={"Location": "http://evil.invalid/"}))
    with pytest.raises(RequestFailed, match="with status 302 and an empty body"):
        client.get("/item/VX-1")


@pytest.mark.parametrize("body", [b'{"id":', b"[" * 100_000, b"\xff\xfe", b"NaN"])
def test_an_answer_that_is_no_json_is_an_error(client: Client, backend: Backend, body: bytes) -> None:
    backend.answers.append(Response(body, media_type="application/json"))
    with pytest.raises(RequestFailed, match="status 200 and invalid JSON"):
        client.get("/item/VX-1")


def test_an_answer_without_end_is_not_kept(client: Client, backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MAX_BODY_BYTES", 3 * 1024 * 1024)
    backend.answers.append(flood())
    with pytest.raises(RequestFailed, match="a response larger than 3145728 bytes"):
        client.get("/item/VX-1")


def test_an_answer_that_drips_is_given_up(url: str, backend: Backend) -> None:
    backend.answers.append(drip())
    with (
        Client(url, USERNAME, PASSWORD, timeout=0.3) as client,
        pytest.raises(Unreachable, match=r"was incomplete after 0\.3 s|timed out"),
    ):
        client.get("/item/VX-1")


def test_a_server_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with (
        Client(url, USERNAME, PASSWORD, timeout=5) as client,
        pytest.raises(Unreachable, match=rf"GET /API/item/VX-1 got no response from {url}"),
    ):
        client.get("/item/VX-1")


def test_a_server_that_accepts_and_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with Client(url, USERNAME, PASSWORD, timeout=0.3) as client, pytest.raises(Unreachable, match="timed out"):
            client.get("/item/VX-1")


def shown(error: BaseException) -> Iterator[str]:
    """All that a traceback would print of an error and its causes."""
    seen: BaseException | None = error
    while seen is not None:
        yield from (str(seen), repr(seen), repr(seen.args), repr(vars(seen)))
        seen = seen.__cause__ or seen.__context__


def test_the_password_is_shown_nowhere(client: Client, backend: Backend, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    repeated = f'wrong: {PASSWORD} / s3cret&amp;&lt;of&gt;the&quot;account / s3cret&<of>the\\"account'
    backend.answers.append(Response(repeated, 403))
    with pytest.raises(RequestFailed) as raised:
        client.get("/item/VX-1")
    assert raised.value.body == "wrong: *** / *** / ***"
    assert not [text for text in (*shown(raised.value), repr(client), caplog.text) if "s3cret" in text]


@pytest.mark.parametrize(
    "address",
    [
        "localhost:8080",
        "ftp://host",
        "http://",
        "http://host?x=1",
        "http://host#x",
        "",
        "//host",
        "http://host:port",
        "http://host:99999",
        "http://[::1",
        "http://ho st\n",
        None,
    ],
)
def test_what_is_no_address_is_refused(address: Any) -> None:
    with pytest.raises(ValueError, match="is not a valid URL of Vidispine"):
        Client(address, USERNAME, PASSWORD)


def test_an_address_with_credentials_is_refused_without_showing_them() -> None:
    with pytest.raises(ValueError, match="on host contains credentials") as raised:
        Client("http://me:hunter2@host", USERNAME, PASSWORD)
    assert "hunter2" not in str(raised.value)
    with pytest.raises(ValueError, match="What was given is not a valid URL") as raised:
        Client("http://me:hunter2@host:port", USERNAME, PASSWORD)
    assert "hunter2" not in "".join(shown(raised.value))


def test_a_user_name_that_authentication_cannot_carry_is_refused() -> None:
    with pytest.raises(ValueError, match="contains a colon"):
        Client("http://host", "a:b", PASSWORD)


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_configured", None)
    for name in ("VIDISPINE_URL", "VIDISPINE_USERNAME", "VIDISPINE_PASSWORD"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("nobody")
def test_who_configured_nothing_is_told_what_to_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDISPINE_URL", "http://host")
    with pytest.raises(NotConfigured, match=r"configure\(url, username, password\)") as raised:
        configured()
    assert "missing: VIDISPINE_USERNAME, VIDISPINE_PASSWORD" in str(raised.value)


@pytest.mark.usefixtures("nobody")
def test_the_environment_names_a_vidispine_and_configure_another(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("URL", "http://host"), ("USERNAME", "me"), ("PASSWORD", "p")):
        monkeypatch.setenv(f"VIDISPINE_{name}", value)
    first = configured()
    assert repr(first) == "Client('http://host', username='me')"
    assert configured() is first
    with configure("http://other", "you", "q") as second, first:
        assert configured() is second
