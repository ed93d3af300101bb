from __future__ import annotations

from collections.abc import Generator

import pytest

from rxhub.vidispine import Client
from rxhub.vidispine import client as client_module
from tests.serving import serving
from tests.vidispine.backend import PASSWORD, USERNAME, Backend

__all__ = ["backend", "client", "url"]


@pytest.fixture
def backend() -> Backend:
    return Backend()


@pytest.fixture
def url(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> Generator[str]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(backend.app) as address:
        yield address


@pytest.fixture
def client(url: str, monkeypatch: pytest.MonkeyPatch) -> Generator[Client]:
    """The configured client of the backend."""
    with Client(url, USERNAME, PASSWORD, timeout=10) as made:
        monkeypatch.setattr(client_module, "_configured", made)
        yield made
