"""What tests share: little to wait for, and a cluster."""

from __future__ import annotations

import gc
import signal
from collections.abc import Generator, Iterator
from functools import partial

import pytest
from hypothesis import given
from hypothesis.strategies import none

from tests.nats_server import Cluster, nats_cluster

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As in what a shell starts in the background; programs that the tests interrupt would ignore it too.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def hypothesis_ready() -> None:
    """Run Hypothesis once: it registers a random generator, and warns if only frozen objects refer to it."""

    @given(none())
    def run(_: None) -> None: ...

    run()


@pytest.fixture(scope="module", autouse=True)
def old_objects(hypothesis_ready: None) -> None:
    """Freeze the million objects that exist before a module, so that its tests' collections do not visit them."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def back_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hubs come back sooner than would be good for a server that many have lost."""
    from rxhub.transport.socketio import client

    monkeypatch.setattr(client, "Backoff", partial(client.Backoff, 0.05, 1.0))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Workers hand reports on as UTF-8, and what a test logs may have a lone surrogate in it, which UTF-8 lacks."""
    report = yield
    report.sections = [(name, _sendable(text)) for name, text in report.sections]
    if report.longrepr is not None and _sendable(shown := str(report.longrepr)) != shown:
        report.longrepr = _sendable(shown)
    return report


def _sendable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


@pytest.fixture(scope="session", autouse=True)
def quick_hashes() -> Iterator[None]:
    """A hash of a key takes a tenth of a second on purpose, and each server of a test has a key."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rxhub.server.key_hash._N", 2)
        patch.setattr("rxhub.server.key_hash._P", 1)
        yield


@pytest.fixture(scope="session")
def cluster_of_the_session() -> Generator[Cluster]:
    with nats_cluster() as made:
        yield made


@pytest.fixture
def cluster(cluster_of_the_session: Cluster) -> Cluster:
    """Three NATS nodes, all of them running and ready at the beginning of each test."""
    cluster_of_the_session.heal()
    return cluster_of_the_session
