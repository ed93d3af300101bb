"""The JavaScript clients, installed once into pytest's cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.npm import install


@pytest.fixture(scope="session")
def installed(request: pytest.FixtureRequest) -> Path:
    return install("clients", Path(request.config.cache.mkdir("clients")))  # type: ignore[union-attr]
