"""A hub that publishes jobs."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from rxhub import EventHub
from rxhub.testing import Nats


@pytest.fixture
def hub(nats: Nats) -> Generator[EventHub]:
    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as made:
        made.connect()
        yield made
