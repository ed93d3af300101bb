"""Sessions of the console: signing in and out, cookies, and requests that other pages cause."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from rxhub.redaction import secrets
from rxhub.server import Running, User, Users, UsersFile, application, running
from rxhub.server.asgi import create_app
from rxhub.server.authentication import Credentials
from rxhub.server.event_server import EventServer
from rxhub.server.options import AccessOptions
from rxhub.web.sessions import SESSION_SECONDS, ConsoleSessions


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(users=Users([User.with_key("zoë", "a key")]), grace=1) as server:
        yield server


@pytest.fixture
def browser(server: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        yield client


def sign_in(client: httpx.Client, user: str = "zoë", key: str = "a key") -> httpx.Response:
    return client.post("/api/session", json={"user": user, "key": key})


def test_a_session_replaces_the_key(browser: httpx.Client) -> None:
    assert browser.get("/api/session").status_code == 401
    response = sign_in(browser)
    assert response.status_code == 200 and response.headers["cache-control"] == "no-store"
    assert response.json() == browser.get("/api/session").json()
    assert response.json()["user"] == "zoë" and response.json()["publish"] == ["*"]
    assert set(response.json()["secret_names"]["names"]) == set(secrets)
    assert browser.get("/api/user").json()["name"] == "zoë"
    cookie = response.headers["set-cookie"]
    assert cookie.startswith(f"rxhub-{browser.base_url.port}=")
    assert cookie.endswith(f"; Max-Age={SESSION_SECONDS}; Path=/; HttpOnly; SameSite=Strict")


def test_a_session_ends_when_its_user_signs_out(browser: httpx.Client) -> None:
    token = sign_in(browser).json()["csrf_token"]
    cookies = dict(browser.cookies)
    response = browser.delete("/api/session", headers={"x-csrf-token": token})
    assert response.status_code == 204 and not browser.cookies
    for name, value in cookies.items():
        browser.cookies.set(name, value)
    assert browser.get("/api/user").status_code == 401


@pytest.mark.parametrize("token", [None, "", "wrong", "é"])
def test_a_request_that_changes_something_needs_the_token_of_the_page(browser: httpx.Client, token: str | None) -> None:
    sign_in(browser)
    headers = {} if token is None else {"x-csrf-token": token.encode()}
    response = browser.delete("/api/session", headers=headers)  # type: ignore[arg-type]
    assert response.status_code == 403 and "X-CSRF-Token" in response.json()["detail"]


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_request_that_another_page_causes_has_no_session(browser: httpx.Client, site: str) -> None:
    sign_in(browser)
    assert browser.get("/api/user", headers={"sec-fetch-site": site}).status_code == 403
    assert browser.get("/api/user", headers={"sec-fetch-site": "same-origin"}).status_code == 200
    assert browser.get("/api/user", headers={"origin": "https://evil.example"}).status_code == 403


def test_pages_of_other_origins_cannot_sign_in(browser: httpx.Client) -> None:
    as_form = browser.post(
        "/api/session", content='{"user":"zoë","key":"a key"}', headers={"content-type": "text/plain"}
    )
    assert as_form.status_code == 415
    elsewhere = browser.post("/api/session", json={"user": "zoë", "key": "a key"}, headers={"origin": "http://evil"})
    assert elsewhere.status_code == 403 and "set-cookie" not in elsewhere.headers


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b'{"user": 1}', 400),
        (b'{"other": ""}', 400),
        (b'{"user": "\xff"}', 400),
        (b"{}", 401),
        (b'{"user": "zo\xc3\xab", "key": "wrong"}', 401),
        (b'{"user": "\\ud800", "key": "\\ud800"}', 400),
        (b'{"token": "guessed"}', 401),
        (b" " * 10_000, 413),
    ],
)
def test_an_invalid_sign_in_is_a_problem(browser: httpx.Client, body: bytes, status: int) -> None:
    response = browser.post("/api/session", content=body, headers={"content-type": "application/json"})
    assert response.status_code == status == response.json()["status"]
    assert "set-cookie" not in response.headers


def change(text: str, at: int) -> str:
    return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]


def test_a_changed_cookie_is_not_a_session(browser: httpx.Client) -> None:
    sign_in(browser)
    ((name, value),) = dict(browser.cookies).items()
    for at in range(0, len(value) - 1, 11):
        assert (
            httpx.get(
                str(browser.base_url.join("/api/user")), cookies={name: change(value, at)}, trust_env=False
            ).status_code
            == 401
        )
    for odd in ("", ".", "...", "a.b.c.d", "é", f"{value}.", f".{value}", "9" * 5000):
        headers = {"cookie": f"{name}={odd}".encode("latin-1")}
        assert httpx.get(str(browser.base_url.join("/api/user")), headers=headers, trust_env=False).status_code == 401


def test_a_sign_in_link_works_once() -> None:
    users = Users([User.with_key("rxhub", "key")])
    app = create_app(EventServer(users), AccessOptions(sign_in=Credentials("rxhub", "of the link")))
    from starlette.testclient import TestClient

    with TestClient(app, base_url="https://studio.example") as client:
        response = client.post("/api/session", json={"token": "of the link"})
        assert response.json()["user"] == "rxhub"
        assert response.headers["set-cookie"].startswith("__Secure-rxhub=")
        assert response.headers["set-cookie"].endswith("; Secure")
        assert client.get("/api/user").status_code == 200
        assert client.post("/api/session", json={"token": "of the link"}).status_code == 401


def test_an_application_below_a_path_keeps_its_cookie_there() -> None:
    from starlette.applications import Starlette
    from starlette.routing import Mount
    from starlette.testclient import TestClient

    outer = Starlette(routes=[Mount("/hub", application(Users([User.with_key("jane", "key")])))])
    with TestClient(outer, base_url="https://testserver") as client:
        response = client.post("/hub/api/session", json={"user": "jane", "key": "key"})
        assert "; Path=/hub/;" in response.headers["set-cookie"]
        assert client.get("/hub/api/user").status_code == 200


def test_sessions_survive_a_restart_with_a_users_file(tmp_path: Path) -> None:
    path = tmp_path / "users.toml"
    UsersFile(path).add("jane")
    users = UsersFile(path)
    jane = users.get("jane")
    assert jane is not None
    session = ConsoleSessions(users).create(jane)
    (secret,) = tmp_path.glob(".users.toml.sessions")
    assert secret.stat().st_mode & 0o777 == 0o600
    assert ConsoleSessions(UsersFile(path))._check(session.cookie) is not None
    users.remove("jane")
    assert ConsoleSessions(users)._check(session.cookie) is None
    users.add("jane")
    assert ConsoleSessions(users)._check(session.cookie) is None, "another key"


def test_a_session_ends_after_a_day() -> None:
    jane = User.with_key("jane", "key")
    now = 1e9
    sessions = ConsoleSessions(Users([jane]), clock=lambda: now)
    cookie = sessions.create(jane).cookie
    assert sessions._check(cookie) is not None
    now += SESSION_SECONDS
    assert sessions._check(cookie) is None
