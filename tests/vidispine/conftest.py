from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from rxhub.vidispine import Client
from rxhub.vidispine import client as client_module
from tests.serving import serving
from tests.vidispine.backend import PASSWORD, USERNAME, Backend

__all__ = ["Stage", "backend", "client", "server", "url"]

ROOTS = Path(__file__).parents[1] / "data" / "tls" / "localhost.pem"


class Stage:
    """Serves whichever application stands on it, so that one server does for all tests of a module."""

    def __init__(self) -> None:
        self.url = ""
        self.application: ASGIApp = Backend().app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.application(scope, receive, send)


@pytest.fixture(scope="module")
def server() -> Generator[Stage]:
    stage = Stage()
    with serving(stage) as stage.url:
        yield stage


@pytest.fixture
def backend(server: Stage) -> Backend:
    backend = Backend()
    server.application = backend.app
    return backend


@pytest.fixture
def url(server: Stage, backend: Backend, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(ROOTS))  # reading all of the world's takes longer than most tests
    return server.url


@pytest.fixture
def client(url: str, monkeypatch: pytest.MonkeyPatch) -> Generator[Client]:
    """The configured client of the backend."""
    with Client(url, USERNAME, PASSWORD, timeout=10) as made:
        monkeypatch.setattr(client_module, "_configured", made)
        yield made
