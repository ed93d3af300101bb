"""What tests of the HTTP interface and of the console share: a browser, and a hub on the store of the server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from rxhub import EventHub
from rxhub.testing import Nats
from tests.web.browser import chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def hub(nats: Nats) -> Iterator[EventHub]:
    with EventHub(nats.url, nats.user, nats.password, stream=nats.stream) as hub:
        hub.connect()
        yield hub
