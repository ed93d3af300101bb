"""The entry point of the group `pytest11`: fixtures for hubs, recordings, marbles, servers and streams.

The entry point has the name of this module, so that pytest loads it once even if `pytest_plugins` or `-p` names it.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from rxhub.embedded import PrivateServer
    from rxhub.server import Running
    from rxhub.testing import Marbles, Nats, Recording, VirtualHub

__all__ = ["hub", "marbles", "nats", "nats_of_the_session", "pytest_pyfunc_call", "recorder", "server"]


@pytest.fixture
def hub() -> Generator[VirtualHub]:
    """A hub on virtual time, closed after the test: `hub.publish(…)`, then `hub.advance(seconds)`."""
    from rxhub.testing import virtual_hub

    with virtual_hub() as made:
        yield made


@pytest.fixture
def recorder(hub: VirtualHub) -> Generator[Recording]:
    """A recording of all events of the fixture `hub`."""
    from rxhub.testing import record

    with record(hub) as recording:
        yield recording


@pytest.fixture
def marbles(hub: VirtualHub) -> Marbles:
    """Marble diagrams on the fixture `hub`; they run when the test function has returned."""
    from rxhub.testing import Marbles

    return Marbles(hub)


@pytest.fixture
def server() -> Generator[Running]:
    """A server for this test: `EventHub(server.url, server.api_user, server.api_key)`. Needs `rxhub[server]`."""
    from rxhub.server import running

    with running() as made:
        yield made


@pytest.fixture(scope="session")
def nats_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Generator[PrivateServer]:
    """The NATS server of the fixture `nats`, started on first use."""
    from rxhub.embedded import store

    with store(tmp_path_factory.mktemp("nats")) as made:
        yield made


@pytest.fixture
def nats(nats_of_the_session: PrivateServer) -> Nats:
    """A NATS server with JetStream, and a unique stream name. Needs `rxhub[embedded]`."""
    from rxhub.testing import Nats

    return Nats.on(nats_of_the_session)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
    """Run the diagrams inside the test, so that failures are not errors of its teardown."""
    result = yield
    used: Any = pyfuncitem.funcargs.get("marbles")
    # A test can define another fixture of this name.
    if type(used).__module__ == "rxhub.testing.marbles":
        used.run()
    return result
