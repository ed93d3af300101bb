"""A hub on a stream of its own, and short times for what waits for somebody who is gone."""

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
    """What nobody vouches for comes again after a second, and who orders by key is followed after two."""
    monkeypatch.setattr(group, "ACK_WAIT_S", 1.0)
    monkeypatch.setattr(group, "PIN_TIMEOUT_S", 2.0)
