"""Authentication, origins, problem details and CORS, which all endpoints share."""

from __future__ import annotations

import asyncio
import socket
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from rxhub.server import Backplane, Limits, Running, Topics, User, Users, application, running
from rxhub.server.key_hash import Hash, hashed

LIMITED = User("zoë", Hash(hashed("a:key")), publish=Topics(["studio.*"]), subscribe=Topics(["studio.*", "log"]))
CREDENTIALS = "zoë:a:key"


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(users=Users([LIMITED]), limits=Limits(failures=0.01), grace=1) as server:
        yield server


def get(server: Running, path: str = "/api/user", **headers: str) -> httpx.Response:
    encoded = {name.replace("_", "-"): value.encode() for name, value in headers.items()}
    return httpx.get(server.url + path, headers=encoded, trust_env=False)


def is_problem(response: httpx.Response, status: int) -> bool:
    return (
        response.status_code == response.json()["status"] == status
        and response.headers["content-type"] == "application/problem+json"
        and bool(response.json()["title"])
    )


@pytest.mark.parametrize(
    "authorization",
    [f"Bearer {CREDENTIALS}", f"bearer {CREDENTIALS}", f"Basic {b64encode(CREDENTIALS.encode()).decode()}"],
)
def test_a_user_and_key_authenticate(server: Running, authorization: str) -> None:
    response = get(server, authorization=authorization)
    assert response.json() == {"name": "zoë", "publish": ["studio.*"], "subscribe": ["studio.*", "log"]}
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer zoë"},
        {"authorization": "Bearer zoë:wrong"},
        {"authorization": "Bearer nobody:a:key"},
        {"authorization": "Basic !!"},
        {"authorization": "Digest zoë:a:key"},
        {"ftrack_user": "zoë", "ftrack_api_key": "a:key"},
    ],
)
def test_other_credentials_are_rejected(server: Running, headers: dict[str, str]) -> None:
    response = get(server, **headers)
    assert is_problem(response, 401)
    assert response.headers["www-authenticate"] == 'Bearer realm="rxhub"'
    assert "nobody" not in response.text


def test_a_key_in_the_query_does_not_authenticate(server: Running) -> None:
    assert is_problem(get(server, f"/api/user?api_user={server.api_user}&api_key={server.api_key}"), 401)


def test_wrong_keys_are_limited(server: Running) -> None:
    assert any(is_problem(get(server, authorization=f"Bearer guesser:{n}"), 429) for n in range(30))
    assert get(server, authorization=f"Bearer {CREDENTIALS}").status_code == 200


@pytest.mark.parametrize("query", ["a=1", "authorization=Bearer", "%ff=1", "&".join("a" * 99)])
def test_unknown_parameters_are_rejected(server: Running, query: str) -> None:
    assert is_problem(get(server, f"/api/user?{query}", authorization=f"Bearer {CREDENTIALS}"), 400)


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/nothing", "/api/user/", "/api//user", "/api/user%3Fa"])
def test_unknown_paths_are_problems(server: Running, path: str) -> None:
    if path != "/api":
        assert is_problem(get(server, path), 404)
    assert get(server, path).status_code == 404


def test_other_methods_are_problems(server: Running) -> None:
    response = httpx.put(f"{server.url}/api/user", trust_env=False)
    assert is_problem(response, 405)
    assert "GET" in response.headers["allow"]


def test_pages_of_other_origins_are_rejected(server: Running) -> None:
    response = get(server, authorization=f"Bearer {CREDENTIALS}", origin="https://evil.example")
    assert is_problem(response, 403)
    assert "access-control-allow-origin" not in response.headers
    assert get(server, authorization=f"Bearer {CREDENTIALS}", origin=server.url).status_code == 200


def requests(*requests: tuple[str, str, dict[str, str]], **options: Any) -> list[httpx.Response]:
    """The responses to requests from another machine."""
    app = application(Users([LIMITED]), origins=["https://studio.example"], **options)
    transport = httpx.ASGITransport(app, client=("192.0.2.1", 1))

    async def main() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=transport, base_url="https://hub.example") as http:
            return [
                await http.request(method, url, headers={name: value.encode() for name, value in headers.items()})
                for method, url, headers in requests
            ]

    return asyncio.run(main())


def test_pages_of_allowed_origins_may_read_responses() -> None:
    origin = {"origin": "https://studio.example"}
    preflight, *others = requests(
        (
            "OPTIONS",
            "/api/user",
            origin | {"access-control-request-method": "GET", "access-control-request-headers": "authorization"},
        ),
        ("GET", "/api/user", origin),
        ("GET", "/api/nothing", origin),
        ("GET", "/api/user", origin | {"authorization": f"Bearer {CREDENTIALS}"}),
    )
    assert preflight.status_code == 200
    assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
    assert [response.status_code for response in others] == [401, 404, 200]
    for response in others:
        assert response.headers["access-control-allow-origin"] == "https://studio.example"
        assert response.headers["access-control-allow-credentials"] == "true"
        assert response.headers["vary"] == "Origin"


def test_plain_text_from_other_machines_is_rejected() -> None:
    (response,) = requests(("GET", "http://hub.example/api/user", {}))
    assert is_problem(response, 403)
    assert "https" in response.json()["detail"]
    (response,) = requests(("GET", "http://hub.example/api/user", {}), plain_text=True)
    assert is_problem(response, 401)


def test_an_unreachable_backplane_is_a_problem() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        backplane = Backplane(f"nats://127.0.0.1:{taken.getsockname()[1]}")
        (response,) = requests(
            ("GET", "/api/user", {"authorization": f"Bearer {CREDENTIALS}"}),
            backplane=backplane,
        )
    assert is_problem(response, 503)
    assert response.headers["retry-after"] == "5"
