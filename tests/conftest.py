"""The cluster that tests of faults share."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.nats_server import Cluster, nats_cluster


@pytest.fixture(scope="session")
def cluster_of_the_session() -> Generator[Cluster]:
    with nats_cluster() as made:
        yield made


@pytest.fixture
def cluster(cluster_of_the_session: Cluster) -> Cluster:
    """Three NATS nodes, all of them running and ready at the beginning of each test."""
    cluster_of_the_session.heal()
    return cluster_of_the_session
