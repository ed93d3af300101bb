"""The services of deploy/compose.yaml lose nothing when they restart under load.

The program `tests.deploy.rolling_restart` restarts all of them, with more clients, and with the grace period of NATS.
"""

from __future__ import annotations

import pytest

from tests.deploy.rolling_restart import restart_under_load, started
from tests.deploy.services import TLS


@pytest.mark.filterwarnings("ignore:ssl.PROTOCOL_TLS is deprecated:DeprecationWarning")  # ftrack's websocket-client
@pytest.mark.timeout(300)
def test_acknowledged_stored_and_handled_events_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "WEBSOCKET_CLIENT_CA_BUNDLE"):
        monkeypatch.setenv(name, str(TLS))
    with started(fast=True) as stack:
        report = restart_under_load(stack, ("rxhub-1", "nats-1", "worker-1"), publishers=2)
    report.check()
    report.check_order()
