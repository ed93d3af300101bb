from __future__ import annotations

import logging
from collections.abc import Generator
from time import monotonic
from typing import Any

import pytest

from rxhub.server import Running, running
from tests.compat.ftrack.judged import OURS
from tests.threads import LIMIT


@pytest.fixture(scope="package")
def server() -> Generator[Running]:
    with running(heartbeat=0.3) as server:
        yield server


@pytest.fixture
def hub(server: Running) -> Generator[Any]:
    """A connected hub of rxhub."""
    hub = OURS.EventHub(server.url, server.api_user, server.api_key)
    hub.connect()
    yield hub
    hub.close()


def _wait_until(hub: Any, condition: Any, seconds: float = LIMIT) -> None:
    """Handle events until a condition holds, for a bounded time."""
    end = monotonic() + seconds
    while not condition() and monotonic() < end:
        hub.wait(0.01)
    assert condition()


@pytest.fixture
def wait_until() -> Any:
    return _wait_until


@pytest.fixture
def silent() -> Generator[None]:
    """Both sides log exceptions of callbacks with a traceback."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
