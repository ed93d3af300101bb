"""The checks of a worker's `/readyz`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rxhub.hub import EventHub
from rxhub.telemetry.probes import Check, LoopLag, Readiness
from rxhub.transport.connection_state import ConnectionState
from rxhub.worker.loading import NamedHub

__all__ = ["MAX_LIVE_LAG_S", "liveness", "readiness"]

MAX_LIVE_LAG_S = 60.0
"""The network loop of a worker that is this late has hung: the worker is not alive."""


def readiness(phase: str, hubs: Sequence[NamedHub], lag: LoopLag | None) -> Readiness:
    """Whether the hubs receive events; `phase` is what the worker does instead of running, or empty."""
    checks = [
        Check("running", phase),
        Check("connected", "; ".join(f"{name} is {_state(hub)}" for name, hub in hubs if not hub.connected)),
        Check("subscribed", "; ".join(_unsubscribed(hubs))),
        Check("group_joined", "; ".join(_not_joined(hubs))),
    ]
    if lag is not None:
        checks.append(lag.check())
    return Readiness(tuple(checks))


def liveness(lag: LoopLag | None) -> Readiness:
    """Whether the process works at all."""
    return Readiness(() if lag is None else (lag.check(limit=MAX_LIVE_LAG_S),))


def _unsubscribed(hubs: Iterable[NamedHub]) -> Iterator[str]:
    for name, hub in hubs:
        if hub.connected and not hub.subscriptions_synced:
            yield f"the server does not know all subscriptions of {name} yet"
        elif not hub.is_running:
            yield f"{name} is not handled"


def _not_joined(hubs: Iterable[NamedHub]) -> Iterator[str]:
    for name, hub in hubs:
        for processing in hub.processings:
            if not processing.is_connected:
                yield f"the group {processing.group} of {name} has no connection to NATS"


def _state(hub: EventHub) -> ConnectionState:
    states: list[ConnectionState] = []
    hub.state.subscribe(states.append).dispose()
    return states[-1]
