"""Fixtures: a hub on a separate stream, and short timeouts."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from rxhub import EventHub
from rxhub.testing import Nats
from rxhub.transport.nats.processing import group


@pytest.fixture
def hub(nats: Nats) -> Generator[EventHub]:
    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as made:
        made.connect()
        yield made


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages are redelivered after one second, and another process takes over ordering by key after two."""
    monkeypatch.setattr(group, "ACK_WAIT_S", 1.0)
    monkeypatch.setattr(group, "PIN_TIMEOUT_S", 2.0)
